"""What a committed change becomes, read from real servers."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.connectors.postgres.reading import reading
from tests.servers import Database, until

LONG = "md5(random()::text) || repeat(md5(random()::text), 400)"
PLACEHOLDER = "__debezium_unavailable_value"


def ops(values: list[dict[str, object]]) -> list[object]:
    return [value and value["op"] for value in values]


def test_a_change_is_create_update_or_delete_and_a_delete_is_followed_by_a_tombstone(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (id int primary key, v text)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute("insert into t values (1, 'a')")
        postgres.execute("update t set v = 'b'")
        postgres.execute("delete from t")
        values = shop.read_until(4)
        assert ops(values) == ["c", "u", "d", None]
        assert [value["after"] for value in values[:2]] == [{"id": 1, "v": "a"}, {"id": 1, "v": "b"}]
        assert values[2]["before"] == {"id": 1, "v": None}
        assert {json.dumps(shop.key(event)) for event in shop.events} == {'{"id": 1}'}
        assert {event.topic for event in shop.events} == {"shop.public.t"}


def test_a_key_change_is_delete_tombstone_create(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, v text)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute("insert into t values (1, 'a')")
        postgres.execute("update t set id = 2")
        values = shop.read_until(4)
        assert ops(values) == ["c", "d", None, "c"]
        assert [shop.key(event) for event in shop.events] == [{"id": 1}, {"id": 1}, {"id": 1}, {"id": 2}]
        assert values[3]["after"] == {"id": 2, "v": "a"}


def test_rolled_back_changes_never_appear(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path, snapshot="never") as shop, psycopg.connect(postgres.dsn) as writer:
        writer.execute("insert into t values (1)")
        writer.rollback()
        writer.execute("insert into t values (2)")
        with pytest.raises(psycopg.Error), writer.transaction():
            writer.execute("insert into t values (3)")
            writer.execute("insert into t values (2)")
        writer.commit()
        postgres.execute("insert into t values (4)")
        assert [value["after"]["id"] for value in shop.read_until(2)] == [2, 4]


def test_every_event_has_an_identity_of_its_own_where_log_positions_repeat(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        with postgres.admin.cursor().copy("copy t from stdin") as copy:
            for i in range(2000):
                copy.write_row([i])
        values = shop.read_until(2000)
        assert len({value["source"]["lsn"] for value in values}) < 2000
        assert len({event.id for event in shop.events}) == 2000
        assert [event.id for event in shop.events] == sorted(event.id for event in shop.events)


def test_a_position_comes_only_with_whole_transactions(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, v text)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        shop.catch_up()
        postgres.execute(f"insert into t select i, {LONG} from generate_series(1, 200) i")
        shop.read_until(200)
        # The commit is in the last batch with rows, or comes alone where that was full.
        until(lambda: shop.batches[-1].position or (shop.read() and False), "the position behind the transaction")
        inside = [batch for batch in shop.batches if batch.events]
        assert len(inside) > 3
        commit_lsn = shop.events[0].id[0]
        assert all(batch.position is None or batch.position.order <= commit_lsn for batch in inside[:-1])
        assert shop.offset.position.order > commit_lsn


def test_an_alter_between_two_changes_of_one_transaction_switches_between_the_rows(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (id int primary key, v text, gone int)")
    with reading(postgres, tmp_path, snapshot="never") as shop, psycopg.connect(postgres.dsn) as writer:
        writer.execute("insert into t values (1, 'a', 1)")
        writer.execute("alter table t add column more numeric(6,2)")
        writer.execute("insert into t values (2, 'b', 2, 1.5)")
        writer.execute("alter table t drop column gone")
        writer.execute("alter table t rename column v to w")
        writer.execute("insert into t values (3, 'c', 2.5)")
        writer.commit()
        assert [value["after"] for value in shop.read_until(3)] == [
            {"id": 1, "v": "a", "gone": 1},
            {"id": 2, "v": "b", "gone": 2, "more": "1.50"},
            {"id": 3, "w": "c", "more": "2.50"},
        ]
        assert [version.version for version in shop.registry.versions("shop.public.t-value")] == [1, 2, 3]


def test_a_null_from_before_a_set_not_null_is_still_delivered(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, v text)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        shop.catch_up()
    postgres.execute("insert into t values (1, null)")
    postgres.execute("update t set v = 'x'")
    postgres.execute("alter table t alter column v set not null")
    with reading(postgres, tmp_path, shop.offset, snapshot="never") as again:
        values = again.read_until(2)
        assert [value["after"] for value in values] == [{"id": 1, "v": None}, {"id": 1, "v": "x"}]


def test_an_unchanged_toasted_value_is_the_placeholder_and_whole_with_identity_full(
    postgres: Database, tmp_path: Path
) -> None:
    for name in ("plain", "whole"):
        postgres.execute(f"create table {name} (id int primary key, v text, big text)")
        postgres.execute(f"alter table {name} alter column big set storage external")
    postgres.execute("alter table whole replica identity full")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        for name in ("plain", "whole"):
            postgres.execute(f"insert into {name} values (1, 'a', {LONG})")
            postgres.execute(f"update {name} set v = 'b'")
            postgres.execute(f"update {name} set id = 2")
        plain_1, plain_2, _, _, plain_5, whole_1, whole_2, _, _, whole_5 = shop.read_until(10)
        big = postgres.execute("select big from whole")[0][0]
        assert len(plain_1["after"]["big"]) > 9000
        assert plain_2["after"] == {"id": 1, "v": "b", "big": PLACEHOLDER}
        assert plain_5["after"] == {"id": 2, "v": "b", "big": PLACEHOLDER}
        assert whole_1["after"]["big"] == whole_2["after"]["big"] == whole_5["after"]["big"] == big
        assert whole_2["before"] == {"id": 1, "v": "a", "big": big}


@pytest.mark.parametrize("identity", ["default", "full", "using index t_code_key"])
def test_a_delete_carries_the_key_under_every_replica_identity(
    postgres: Database, tmp_path: Path, identity: str
) -> None:
    postgres.execute("create table t (id int primary key, code text not null unique, v text)")
    postgres.execute(f"alter table t replica identity {identity}")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute("insert into t values (1, 'x', 'a')")
        postgres.execute("delete from t")
        created, deleted, _ = shop.read_until(3)
        keys = {json.dumps(shop.key(event)) for event in shop.events}
        assert keys == {'{"code": "x"}' if "index" in identity else '{"id": 1}'}
        assert (deleted["before"] == created["after"]) is (identity == "full")


def test_a_table_without_a_key_gives_events_without_one(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (v text)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute("insert into t values ('a')")
        assert shop.read_until(1)[0]["after"] == {"v": "a"}
        assert shop.events[0].key is None


def test_a_truncate_goes_to_a_topic_of_its_own(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table a (id int primary key)")
    postgres.execute("create table b (id int primary key)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute("insert into a values (1)")
        postgres.execute("insert into b values (1)")
        postgres.execute("truncate a, b")
        values = shop.read_until(4)
        assert ops(values) == ["c", "c", "t", "t"]
        assert [event.topic for event in shop.events[2:]] == ["shop.public.a.truncate", "shop.public.b.truncate"]


def test_a_table_that_is_created_later_is_picked_up_with_its_rows(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path, tables=["public.*"]) as shop:
        shop.catch_up()
        postgres.execute("create table later (id int primary key)")
        postgres.execute("insert into later values (1), (2)")
        values = shop.read_until(2)
        postgres.execute("insert into later values (3)")
        values = shop.read_until(3)
        assert [(value["op"], value["after"]["id"]) for value in values] == [("r", 1), ("r", 2), ("c", 3)]


def test_a_table_that_was_dropped_is_delivered_up_to_its_end(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, v text not null)")
    postgres.execute("create table other (id int primary key)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        shop.catch_up()
    postgres.execute("insert into t values (1, 'a')")
    postgres.execute("drop table t")
    postgres.execute("insert into other values (1)")
    with reading(postgres, tmp_path, shop.offset, snapshot="never") as again:
        values = again.read_until(2)
        assert [value["after"] for value in values] == [{"id": 1, "v": "a"}, {"id": 1}]
        assert again.key(again.events[0]) == {"id": 1}


def test_a_partitioned_table_speaks_as_one(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, v text) partition by range (id)")
    postgres.execute("create table low partition of t for values from (0) to (10)")
    postgres.execute("create table high partition of t for values from (10) to (20)")
    postgres.execute("insert into t values (1, 'a'), (11, 'b')")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        postgres.execute("insert into t values (2, 'c'), (12, 'd')")
        values = shop.read_until(4)
        assert [(value["op"], value["after"]["id"]) for value in values] == [("r", 1), ("r", 11), ("c", 2), ("c", 12)]
        assert {event.topic for event in shop.events} == {"shop.public.t"}


def test_an_idle_database_lets_the_slot_advance_while_another_one_writes(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.source.IDLE_CHECKPOINT_S", 0.1)
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path, tables=["public.t"], rewind_bytes=0) as shop:
        shop.catch_up()
        first = shop.position
        postgres.execute("create table elsewhere as select generate_series(1, 10000)")
        target = postgres.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn")[0][0]
        until(
            lambda: (shop.read() and False) or (shop.position and shop.position.order >= target), "the position moves"
        )
        assert first is not None
        shop.source.ack(shop.position)
        confirmed = (
            "select confirmed_flush_lsn - '0/0'::pg_lsn from pg_replication_slots where slot_name = 'tailrace_shop'"
        )

        def slot_moved() -> bool:
            shop.read()
            shop.source.ack(shop.position)
            return bool(postgres.execute(confirmed)[0][0] >= target)

        until(slot_moved, "the slot advances")
