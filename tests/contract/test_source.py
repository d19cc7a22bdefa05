"""What every source must keep. A new source adds an engine and a class at the end."""

import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import SourceError
from offsets.position import Offset
from schema.event import NEW_KEY, OLD_KEY, DeadLetter
from tests.contract.engines import Engine, MysqlEngine, PostgresEngine, Reading, Shop, folded, rows_of
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, until


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Shop:
    return Shop(engine, tmp_path)


def identities(read: Reading) -> list[tuple[Any, ...]]:
    """What is the same whenever an event is read again."""
    return [(event.topic, event.key, event.id) for event in read.events]


class SourceSuite:
    """Each engine's class gives the fixture `engine`."""

    # -- what a change becomes

    def test_a_change_is_create_update_or_delete_and_a_delete_is_followed_by_a_tombstone(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v varchar(20))")
        with shop.reading(snapshot="never") as read:
            shop.engine.execute("insert into t values (1, 'a')")
            shop.engine.execute("update t set v = 'b'")
            shop.engine.execute("delete from t")
            values = read.read_until(4)
            assert read.ops() == ["c", "u", "d", None]
            assert [value["after"] for value in values[:3]] == [{"id": 1, "v": "a"}, {"id": 1, "v": "b"}, None]
            assert values[2]["before"]["id"] == 1
            assert [read.key(event) for event in read.events] == [{"id": 1}] * 4
            assert {event.topic for event in read.events} == {shop.topic("t")}
            assert {event.table for event in read.events} == {f"{shop.engine.schema}.t"}

    def test_a_key_change_is_delete_tombstone_create(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v varchar(20))")
        with shop.reading(snapshot="never") as read:
            shop.engine.execute("insert into t values (1, 'a')")
            shop.engine.execute("update t set id = 2")
            values = read.read_until(4)
            assert read.ops() == ["c", "d", None, "c"]
            assert [read.key(event)["id"] for event in read.events] == [1, 1, 1, 2]
            assert values[3]["after"] == {"id": 2, "v": "a"}
            created, deleted, tombstone, again = read.events
            assert created.headers == ()
            assert deleted.headers == tombstone.headers == ((NEW_KEY, again.key),)
            assert again.headers == ((OLD_KEY, deleted.key),)

    def test_a_table_without_a_key_gives_events_without_one(self, shop: Shop) -> None:
        shop.engine.execute("create table t (v varchar(20))")
        with shop.reading(snapshot="never") as read:
            shop.engine.execute("insert into t values ('a')")
            read.read_until(1)
            assert read.afters() == [{"v": "a"}]
            assert read.events[0].key is None

    def test_a_truncate_goes_to_a_topic_of_its_own(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            shop.engine.execute("insert into t values (1)")
            shop.engine.execute("truncate table t")
            shop.engine.execute("insert into t values (2)")
            read.read_until(3)
            assert read.ops() == ["c", "t", "c"]
            assert [event.topic for event in read.events] == [
                shop.topic("t"),
                shop.topic("t.truncate"),
                shop.topic("t"),
            ]
            assert read.events[1].key is None

    def test_tables_that_no_pattern_names_give_no_events(self, shop: Shop) -> None:
        for name in ("wanted", "audit_one", "other"):
            shop.engine.execute(f"create table {name} (id int primary key)")
            shop.engine.execute(f"insert into {name} values (1)")
        schema = shop.engine.schema
        with shop.reading(tables=[f"{schema}.*", f"!{schema}.audit_*", f"!{schema}.other"]) as read:
            read.catch_up()
            for name in ("audit_one", "other", "wanted"):
                shop.engine.execute(f"insert into {name} values (2)")
            read.read_until(2)
            assert {event.topic for event in read.events} == {shop.topic("wanted")}

    # -- transactions

    def test_rolled_back_transactions_and_savepoints_never_appear(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read, closing(shop.engine.session()) as session:
            session.run("begin")
            session.run("insert into t values (1)")
            session.run("rollback")
            session.run("begin")
            session.run("insert into t values (2)")
            session.run("savepoint a")
            session.run("insert into t values (3)")
            session.run("savepoint b")
            session.run("update t set id = 4 where id = 2")
            session.run("rollback to savepoint a")
            session.run("insert into t values (5)")
            session.run("commit")
            shop.engine.execute("insert into t values (6)")
            read.read_until(3)
            assert [after["id"] for after in read.afters()] == [2, 5, 6]

    def test_transactions_come_in_the_order_of_their_commits(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with (
            shop.reading(snapshot="never") as read,
            closing(shop.engine.session()) as first,
            closing(shop.engine.session()) as second,
        ):
            first.run("begin")
            first.run("insert into t values (1)")
            second.run("begin")
            second.run("insert into t values (2)")
            first.run("insert into t values (3)")
            second.run("commit")
            shop.engine.execute("insert into t values (4)")
            first.run("commit")
            read.read_until(4)
            assert [after["id"] for after in read.afters()] == [2, 4, 1, 3]
            ids = [event.id for event in read.events]
            assert ids == sorted(set(ids))

    def test_a_transaction_over_several_tables_keeps_its_order(self, shop: Shop) -> None:
        for name in ("a", "b"):
            shop.engine.execute(f"create table {name} (id int primary key, v int)")
        with shop.reading(snapshot="never") as read, closing(shop.engine.session()) as session:
            session.run("begin")
            session.run("insert into a values (1, 0)")
            session.run("insert into b values (1, 0), (2, 0)")
            session.run("update a set v = 1")
            session.run("delete from b where id = 2")
            session.run("commit")
            read.read_until(6)
            assert read.ops() == ["c", "c", "c", "u", "d", None]
            assert [event.topic for event in read.events] == [shop.topic(name) for name in "abbabb"]
            assert len({event.id[0] for event in read.events}) == 1
            ids = [event.id for event in read.events]
            assert ids == sorted(set(ids))

    def test_a_commit_that_comes_alone_gives_what_came_before_it_a_position_at_once(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for source in ("connectors.postgres.source", "connectors.mysql.source"):
            monkeypatch.setattr(f"{source}.BATCH_BYTES", 1)
            monkeypatch.setattr(f"{source}.IDLE_CHECKPOINT_S", 10_000.0)
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
            shop.insert("t", [(1,), (2,)])
            read.read_until(2)
            assert read.batches[-1].position is None
            until(lambda: read.batches[-1].position or (read.read() and False), "the position behind the transaction")

    def test_a_position_comes_only_with_whole_transactions(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v text)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
            shop.insert("t", [(n, f"{n} " * 2000) for n in range(300)])
            read.read_until(300)
            until(lambda: read.batches[-1].position or (read.read() and False), "the position behind the transaction")
            inside = [batch for batch in read.batches if batch.events]
            assert len(inside) > 3
            (order,) = {event.id[0] for event in read.events}
            assert all(batch.position is None or batch.position.order <= order for batch in inside[:-1])
            assert read.offset.position.order > order

    def test_a_position_covers_every_event_up_to_the_end_of_its_batch(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v text)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
            for n in range(20):  # one in three is larger than a batch, the others share batches with its beginning
                shop.insert("t", [(100 * n + i, f"{n} " * 2000) for i in range(90 if n % 3 == 1 else 3)])
            read.read_until(7 * 90 + 13 * 3)
            until(lambda: read.batches[-1].position or (read.read() and False), "the position behind the last")
        ends = [nth for nth, batch in enumerate(read.batches) if batch.position is not None]
        assert sum(not batch.position for batch in read.batches) > 3
        for end in ends:
            before = {event.id[0] for batch in read.batches[: end + 1] for event in batch.events}
            assert before.isdisjoint(event.id[0] for batch in read.batches[end + 1 :] for event in batch.events)

    def test_whatever_offset_a_connector_resumes_behind_nothing_is_lost_and_ids_stay(self, shop: Shop) -> None:
        for name in ("a", "b"):
            shop.engine.execute(f"create table {name} (id int primary key, v text)")
        with shop.reading(snapshot="never") as read, closing(shop.engine.session()) as session:
            read.catch_up()
            for n in range(8):
                session.run("begin")
                session.run(f"insert into a values ({n}, 'a'), ({n + 100}, 'a')")
                session.run(f"insert into b values ({n}, 'b')")
                if n % 3 == 2:
                    session.run(f"update a set id = id + 1000 where id = {n}")
                    session.run(f"delete from b where id = {n - 1}")
                session.run("commit")
                if n % 2:
                    read.read_until(len(read.events) + 1)
            read.read_until(34)
            whole = identities(read)
        behind = accumulate(len(batch.events) for batch in read.batches)
        counts = {batch.position: count for batch, count in zip(read.batches, behind, strict=True)}
        assert len(counts) >= 4
        for position, count in counts.items():
            if position is not None:
                with shop.reading(Offset(position, {}), snapshot="never") as again:
                    again.read_until(len(whole) - count)
                    assert identities(again) == whole[count:]

    # -- the shape of a table

    def test_an_alter_between_two_rows_switches_between_them(self, shop: Shop) -> None:
        """In one transaction where the database can; elsewhere an ALTER commits."""
        shop.engine.execute("create table t (id int primary key, v varchar(20), gone int)")
        with shop.reading(snapshot="never") as read, closing(shop.engine.session()) as session:
            session.run("begin")
            session.run("insert into t values (1, 'a', 1)")
            session.run("alter table t add column more numeric(6,2)")
            session.run("insert into t values (2, 'b', 2, 1.5)")
            session.run("alter table t drop column gone")
            session.run("alter table t rename column v to w")
            session.run("insert into t values (3, 'c', 2.5)")
            session.run("commit")
            read.read_until(3)
            assert read.afters() == [
                {"id": 1, "v": "a", "gone": 1},
                {"id": 2, "v": "b", "gone": 2, "more": "1.50"},
                {"id": 3, "w": "c", "more": "2.50"},
            ]
            subject = f"{shop.topic('t')}-value"
            assert [version.version for version in read.registry.versions(subject)] == [1, 2, 3]

    def test_rows_from_before_an_alter_are_read_with_their_own_columns_after_a_restart(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, a int, b varchar(20))")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
            shop.engine.execute("insert into t values (0, 0, 'known')")
            read.read_until(1)
        shop.engine.execute("insert into t values (1, 10, 'old')")
        shop.engine.execute("alter table t drop column a")
        shop.engine.execute("alter table t add column c int")
        shop.engine.execute("insert into t values (2, 'new', 20)")
        with shop.reading(read.offset, snapshot="never") as again:
            again.read_until(2)
            assert again.afters() == [{"id": 1, "a": 10, "b": "old"}, {"id": 2, "b": "new", "c": 20}]

    def test_a_table_that_was_dropped_is_delivered_up_to_its_end(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v varchar(20) not null)")
        shop.engine.execute("create table other (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
        shop.engine.execute("insert into t values (1, 'a')")
        shop.engine.execute("drop table t")
        shop.engine.execute("insert into other values (1)")
        with shop.reading(read.offset, snapshot="never") as again:
            again.read_until(2)
            assert again.afters() == [{"id": 1, "v": "a"}, {"id": 1}]
            assert again.key(again.events[0]) == {"id": 1}

    def test_a_table_that_is_created_later_is_picked_up_with_its_rows(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(tables=[f"{shop.engine.schema}.*"]) as read:
            read.catch_up()
            shop.engine.execute("create table later (id int primary key)")
            shop.engine.execute("insert into later values (1), (2)")
            until(lambda: {1, 2} <= ids_of(read) or (read.read() and False), "the first rows")
            shop.engine.execute("insert into later values (3)")
            until(lambda: ids_of(read) == {1, 2, 3} or (read.read() and False), "the row that was inserted then")
            assert {event.topic for event in read.events} == {shop.topic("later")}

    # -- the snapshot

    def test_existing_rows_come_first_as_reads_in_key_order(self, shop: Shop) -> None:
        shop.engine.execute("create table t (a int, b varchar(5), v varchar(20), primary key (b, a))")
        shop.insert("t", [(n, "abc"[n % 3], f"v{n}") for n in range(9)])
        with shop.reading() as read:
            values = read.catch_up()
            assert {value["op"] for value in values} == {"r"}
            found = [(value["after"]["b"], value["after"]["a"]) for value in values]
            assert found == shop.engine.execute("select b, a from t order by b, a")

    @pytest.mark.usefixtures("small_chunks")
    def test_a_snapshot_beside_writers_never_holds_an_older_form_of_a_row_than_the_stream(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key, v int, big text)")
        shop.insert("t", [(n, 0, f"{n} " * 500) for n in range(1000)])
        seed = random.randrange(1 << 30)
        print(f"seed {seed}")
        dice = random.Random(seed)
        with shop.reading() as read, closing(shop.engine.session()) as writer:
            while not read.source.caught_up():
                write(writer, dice)
                read.read(0.001)
            shop.engine.execute("insert into t values (9999, 0, 'end')")
            until(lambda: (read.read() and False) or read.key(read.events[-1]) == {"id": 9999}, "the end")
            assert folded(read) == rows_of(shop.engine, "t", "id", "v", "big")
            newest: dict[int, int] = {}
            for event, value in zip(read.events, read.values(), strict=True):
                if value is None or value["op"] == "d":
                    newest.pop(read.key(event)["id"], None)
                    continue
                row = value["after"]
                assert row["v"] >= newest.get(row["id"], -1)
                newest[row["id"]] = row["v"]

    @pytest.mark.usefixtures("small_chunks")
    def test_a_snapshot_that_was_killed_resumes_at_its_chunk(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        shop.insert("t", [(n,) for n in range(500)])
        with shop.reading() as read:
            until(lambda: (read.progress and len(read.events) >= 120) or (read.read() and False), "two chunks")
            offset = read.offset
            last = len(read.events)
        assert last < 500
        with shop.reading(offset) as again:
            again.catch_up()
            ids = [again.key(event)["id"] for event in again.events]
            assert ids == list(range(500 - len(ids), 500))
            assert 500 - len(ids) in range(last - 50, last + 1)
        with shop.reading(again.offset) as third:
            assert third.catch_up() == []

    def test_a_table_without_a_key_is_copied_and_its_changes_come_once(self, shop: Shop) -> None:
        shop.engine.execute("create table t (v int)")
        shop.insert("t", [(n,) for n in range(3000)])
        with shop.reading() as read, closing(shop.engine.session()) as writer:
            n = 2999
            while not read.source.caught_up():
                n += 1
                writer.run("insert into t values (%s)", n)
                read.read(0.001)
            writer.run("insert into t values (-1)")
            until(lambda: (read.read() and False) or read.value(read.events[-1])["after"]["v"] == -1, "the end")
            assert Counter(after["v"] for after in read.afters()) == Counter(range(-1, n + 1))

    def test_each_copied_row_that_no_event_can_hold_is_put_aside_under_a_name_of_its_own(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        """By which a letter is told from its repetition, whichever run it comes from."""
        kind, value = engine.unrepresentable
        engine.execute(f"create table t (id int primary key, v {kind})")
        for id_ in (1, 3):
            engine.execute(f"insert into t values ({id_}, {value})")
        engine.execute("insert into t values (2, null)")
        letters: list[DeadLetter] = []
        shop = Shop(engine, tmp_path, letters.append)
        with shop.reading() as read:
            read.catch_up()
            assert read.afters() == [{"id": 2, "v": None}]
        with shop.reading(read.offset) as again:
            again.source.snapshot([f"{engine.schema}.t"], "id = 3")
            again.catch_up()
        first, third, third_again = (letter.position for letter in letters)
        assert first != third == third_again

    @pytest.mark.parametrize(
        "condition", ["nosuch(id) = 1", "id = (select id from t)"], ids=["unknown", "fails on rows"]
    )
    def test_a_copy_by_a_condition_that_the_server_refuses_ends_and_nothing_else_does(
        self, shop: Shop, condition: str
    ) -> None:
        shop.engine.execute("create table t (id int primary key)")
        shop.engine.execute("insert into t values (1), (2)")
        with shop.reading() as read:
            read.catch_up()
            read.source.snapshot([f"{shop.engine.schema}.t"], condition)
            read.catch_up()
            shop.engine.execute("insert into t values (3)")
            assert [value["op"] for value in read.read_until(3)] == ["r", "r", "c"]
        with shop.reading(read.offset) as again:
            assert again.catch_up() == []

    def test_without_a_snapshot_only_changes_come(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        shop.engine.execute("insert into t values (1)")
        with shop.reading(snapshot="never") as read:
            assert read.catch_up() == []
            shop.engine.execute("insert into t values (2)")
            read.read_until(1)
            assert read.afters() == [{"id": 2}]
            assert not read.source.finished()

    def test_a_snapshot_alone_ends(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        shop.engine.execute("insert into t values (1), (2)")
        with shop.reading(snapshot="only") as read:
            assert not read.source.finished()
            until(lambda: read.source.finished() or (read.read() and False), "the source is finished")
            assert [(value["op"], value["after"]["id"]) for value in read.values()] == [("r", 1), ("r", 2)]

    # -- opening

    def test_caught_up_means_all_that_was_committed_when_it_was_opened(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
        for n in range(20):
            shop.insert("t", [(100 * n + m,) for m in range(100)])
        with shop.reading(read.offset, snapshot="never") as again:
            assert not again.source.caught_up()
            assert [after["after"]["id"] for after in again.catch_up()] == list(range(2000))

    def test_a_new_connector_that_has_caught_up_has_a_position_to_go_on_from(self, shop: Shop) -> None:
        """Or what is committed until its next start would be lost."""
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            until(lambda: read.source.caught_up() or (read.read() and False), "the source has caught up")
            offset = read.offset
        shop.engine.execute("insert into t values (1)")
        with shop.reading(offset, snapshot="never") as again:
            again.read_until(1)
            assert again.afters() == [{"id": 1}]

    def test_a_view_from_now_shows_what_comes_and_copies_nothing(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        shop.engine.execute("insert into t values (1)")
        with shop.viewing("now") as view:
            view.read()
            shop.engine.execute("insert into t values (2)")
            view.read_until(1)
            assert [(value["op"], value["after"]["id"]) for value in view.values()] == [("c", 2)]

    def test_a_view_from_the_start_or_a_position_shows_what_the_server_still_has(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
        shop.engine.execute("insert into t values (1)")
        shop.engine.execute("insert into t values (2)")
        for start in ("start", read.offset.position.token):
            with shop.viewing(start) as view:
                view.read_until(2)
                assert [after["id"] for after in view.afters()] == [1, 2]

    def test_a_view_from_what_is_no_position_is_refused(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
        with pytest.raises(SourceError, match="yesterday") as refused, shop.viewing("yesterday"):
            pass
        assert refused.value.hint and not refused.value.retryable

    def test_an_offset_that_only_another_server_can_mean_is_refused(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            read.catch_up()
        foreign = Offset(shop.engine.elsewhere(read.offset.position), {})
        with pytest.raises(SourceError) as refused, shop.reading(foreign, snapshot="never"):
            pass
        assert refused.value.hint and not refused.value.retryable

    # -- endings

    def test_a_connection_that_is_cut_may_be_opened_again_and_nothing_is_lost(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.reading(snapshot="never") as read:
            shop.engine.execute("insert into t values (1)")
            read.read_until(1)
            shop.engine.execute("insert into t values (2)")
            shop.engine.cut()
            with pytest.raises(SourceError) as cut:
                until(lambda: read.read() and False, "the source notices")
            assert cut.value.retryable and cut.value.hint
            read.source.close()
        offset, count = read.offset, len(read.events)
        with shop.reading(offset, snapshot="never") as again:
            again.read_until(2 - count)
            assert [after["id"] for after in read.afters() + again.afters()] == [1, 2]

    def test_a_server_that_is_not_there_may_be_tried_again(self, shop: Shop) -> None:
        with socket.socket() as taken:  # by one who does not listen, so that no server gets the port meanwhile
            taken.bind(("127.0.0.1", 0))
            with (
                pytest.raises(SourceError, match=r"127\.0\.0\.1") as unreachable,
                shop.reading(host="127.0.0.1", port=taken.getsockname()[1]),
            ):
                pass
        assert unreachable.value.retryable and unreachable.value.hint

    def test_closing_is_harmless_before_opening_and_twice_after_it(self, shop: Shop) -> None:
        shop.engine.execute("create table t (id int primary key)")
        with shop.source() as (source, _):
            source.close()
        with shop.reading() as read:
            read.source.close()
            read.source.close()


def ids_of(read: Reading) -> set[int]:
    return {value["after"]["id"] for value in read.values()}


def write(writer: Any, dice: random.Random) -> None:
    """One random change of `t`, sometimes of a row that the copy has not reached."""
    key = dice.randrange(1100)
    match dice.randrange(6):
        case 0:
            writer.run("delete from t where id = %s", key)
        case 1:
            writer.run("insert into t select %s, 0, 'short' where not exists (select 1 from t where id = %s)", key, key)
        case 2:
            moved = "update t set id = %s where id = %s"
            if not writer.run("select 1 from t where id = %s", key - 2000):
                writer.run(moved, key - 2000, key)
        case 3:
            writer.run("update t set v = v + 1, big = concat(v, repeat('long ', 300)) where id = %s", key)
        case _:
            writer.run("update t set v = v + 1 where id = %s", key)


@pytest.mark.postgres
class TestPostgres(SourceSuite):
    @pytest.fixture
    def engine(self, postgres: Database) -> Iterator[Engine]:
        yield PostgresEngine(postgres)


@pytest.mark.mysql
class TestMysql(SourceSuite):
    @pytest.fixture
    def engine(self, mysql: MysqlDatabase) -> Iterator[Engine]:
        mysql.execute("set session sql_mode = 'STRICT_TRANS_TABLES'")  # takes what is unrepresentable
        yield MysqlEngine(mysql)
