"""Tables that change under the stream and under a copy, and who they are afterwards."""

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.mysql.following import Change, created, deleted, following
from tests.contract.engines import MysqlEngine, Reading, Shop, folded, rows_of
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

pytestmark = pytest.mark.mysql


def copied(table: str, **after: Any) -> Change:
    return Change("r", table, None, after)


def in_both(database: MysqlDatabase, mysql: str, mariadb: str) -> str:
    return mysql if database.flavor == "mysql" else mariadb


# -- the same table, other columns


def test_every_row_has_the_labels_charsets_and_key_that_it_was_written_with(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    table = "create table t (id int primary key, e enum('a', 'b'), s set('x', 'y'), v varchar(9) character set latin1)"
    with following(mysql, tmp_path, table) as story:
        story.script(
            """
            insert into t values (1, 'b', 'x,y', 'é')
            alter table t modify e enum('a', 'b', 'c'), algorithm = instant
            insert into t values (2, 'c', 'y', 'é')
            alter table t modify e enum('c', 'b', 'a'), modify s set('z', 'y', 'x'), algorithm = copy
            insert into t values (3, 'c', 'y', 'é')
            alter table t convert to character set utf8mb4
            insert into t values (4, 'b', 'z', '💥')
            alter table t modify v varbinary(9)
            insert into t values (5, 'a', '', 0x01)
            alter table t drop primary key, modify v varchar(9) not null first, add primary key (v, id)
            insert into t values ('six', 6, null, null)
            alter table t drop primary key
            insert into t values ('seven', 7, null, null)
            """
        )
        events = [event for event in story.events() if event.value]
        rows = [story.read.value(event)["after"] for event in events]
        assert [row["e"] for row in rows] == ["b", "c", "c", "b", "a", None, None]
        assert [row["s"] for row in rows] == ["x,y", "y", "y", "z", "", None, None]
        assert [row["v"] for row in rows] == ["é", "é", "é", "💥", "AQ==", "six", "seven"]
        assert [story.read.key(event) for event in events[4:]] == [{"id": 5}, {"v": "six", "id": 6}, None]


def test_columns_that_come_go_and_change_places_are_those_of_the_row(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, a int, b int)") as story:
        story.script(
            f"""
            insert into t values (1, 10, 20)
            alter table t add column c int default 5 after id, algorithm = instant
            update t set a = 11
            alter table t drop column a, algorithm = instant
            update t set b = 21
            alter table t rename column b to a, rename column c to b
            update t set a = 22
            alter table t modify a int first
            update t set a = 23
            alter table t add column g int {in_both(mysql, "as (a * 2) stored", "as (a * 2) persistent")}
            update t set a = 24
            alter table t add column hidden int {in_both(mysql, "default 9 invisible", "invisible default 9")}
            update t set a = 25
            /* a comment; with 'quotes */ alter /*!50000 table */ t -- the end
            delete from t
            """
        )
        changes = story.changes()
        expected: list[dict[str, Any]] = [
            {"id": 1, "a": 10, "b": 20},
            {"id": 1, "c": 5, "a": 11, "b": 20},
            {"id": 1, "c": 5, "b": 21},
            {"id": 1, "b": 5, "a": 22},
            {"a": 23, "id": 1, "b": 5},
            {"a": 24, "id": 1, "b": 5, "g": 48},
            {"a": 25, "id": 1, "b": 5, "g": 50, "hidden": 9},
        ]
        assert [change.after for change in changes[:-1]] == expected
        assert [list(change.after) for change in changes[:-1]] == [list(row) for row in expected]
        assert changes[-1] == deleted("t", **expected[-1])


def test_an_alter_that_is_logged_at_its_start_and_at_its_end_is_one(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.flavor != "mariadb":
        pytest.skip("MariaDB alone logs both")
    with following(mysql, tmp_path, "create table t (id int primary key, a int)", ddl=True) as story:
        story.run("insert into t values (1, 1)", "set session binlog_alter_two_phase = 1")
        story.run("alter table t add column b int", "insert into t values (2, 2, 2)")
        with pytest.raises(Exception, match="Duplicate"):
            story.run("update t set a = 1", "alter table t add unique (a)")
        story.run("insert into t values (3, 3, 3)")
        events = [event for event in story.events() if event.value]
        ops = [story.read.value(event).get("op") for event in events]
        assert ops == ["c", None, "c", "u", "c"]
        assert story.read.value(events[1])["ddl"].startswith("alter table t add column b int")


# -- other tables under the same name


def test_a_table_of_that_name_made_again_is_copied_and_streamed_as_what_it_is(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, a int)", snapshot="initial") as story:
        story.run("insert into t values (1, 1)", "drop table t", "create table t (k varchar(9) primary key)")
        story.run("insert into t values ('one')", "insert into t values ('two')")
        changes = story.changes()
        assert changes[0] == created("t", id=1, a=1)
        assert {change.op for change in changes[1:]} <= {"c", "r"}
        assert {change.after["k"] for change in changes[1:]} == {"one", "two"}


def test_a_table_that_gets_a_captured_name_is_copied(mysql: MysqlDatabase, tmp_path: Path) -> None:
    tables = ("create table elsewhere (id int primary key)", "insert into elsewhere values (1), (2)")
    patterns = [f"{mysql.name}.*", f"!{mysql.name}.elsewhere"]
    with following(mysql, tmp_path, *tables, snapshot="initial", tables=patterns) as story:
        story.run("insert into elsewhere values (3)")
        assert story.changes() == []
        story.run("rename table elsewhere to here")
        assert_eventually(story.read, "here", [1, 2, 3])
        story.run(
            "insert into here values (4)", "alter table here rename to elsewhere", "insert into elsewhere values (5)"
        )
        assert_eventually(story.read, "here", [1, 2, 3, 4])
        story.changes()
        assert {event.table for event in story.read.events} == {f"{mysql.name}.here", f"{mysql.name}.the_end"}


def test_tables_that_exchange_their_names_are_copied_under_their_new_ones(mysql: MysqlDatabase, tmp_path: Path) -> None:
    tables = ("create table a (id int primary key, x int)", "create table b (id int primary key, y int)")
    rows = ("insert into a values (1, 1)", "insert into b values (2, 2)")
    with following(mysql, tmp_path, *tables, *rows, snapshot="initial") as story:
        assert story.changes() == [copied("a", id=1, x=1), copied("b", id=2, y=2)]
        story.run("rename table a to c, b to a, c to b", "update a set y = 3", "update b set x = 4")
        assert_eventually(story.read, "a", [1, 2])
        assert_eventually(story.read, "b", [1, 2])
        changes = [value for value in story.read.values() if value and value["op"] == "u"]
        assert [value["after"] for value in changes] == [{"id": 2, "y": 3}, {"id": 1, "x": 4}]


def assert_eventually(read: Reading, table: str, keys: list[int]) -> None:
    """Events show all of `keys`, and no others, of `table`."""

    def shown() -> list[int]:
        names = (event for event in read.events if event.table.endswith(f".{table}"))
        return sorted({read.key(event)["id"] for event in names})

    until(lambda: shown() == keys or (read.read() and False), f"{keys} of {table}")


# -- online schema changes, while the table is copied


COLUMNS = "(id, v, big)"


class GhOst:
    """What gh-ost does (its doc/triggerless-design.md): it reads the log and applies the changes itself."""

    shadow = "_t_gho"
    prepare = (
        "create table `_t_ghc` (id bigint auto_increment primary key, hint varchar(64), value varchar(4096))",
        "create table `_t_gho` like t",
        "alter table `_t_gho` add column c int not null default 7 after id",
    )
    finish = (
        "create table `_t_del` (id int auto_increment primary key) comment = 'ghost-cut-over-sentry'",
        "drop table `_t_del`",
        "rename table t to `_t_del`, `_t_gho` to t",
        "drop table `_t_ghc`, `_t_del`",
    )

    @staticmethod
    def follow(key: int) -> tuple[str, ...]:
        return (
            f"delete from `_t_gho` where id = {key}",
            f"insert into `_t_gho` {COLUMNS} select id, v, big from t where id = {key}",
        )


class PtOsc:
    """What pt-online-schema-change does (its manual, "DESCRIPTION"): triggers apply the changes."""

    shadow = "_t_new"
    prepare = (
        "create table `_t_new` like t",
        "alter table `_t_new` add column c int not null default 7 after id",
        "create trigger pt_del after delete on t for each row delete ignore from `_t_new` where id <=> old.id",
        f"create trigger pt_upd after update on t for each row"
        f" replace into `_t_new` {COLUMNS} values (new.id, new.v, new.big)",
        f"create trigger pt_ins after insert on t for each row"
        f" replace into `_t_new` {COLUMNS} values (new.id, new.v, new.big)",
    )
    finish = (
        "rename table t to `_t_old`, `_t_new` to t",
        *(f"drop trigger if exists pt_{name}" for name in ("del", "upd", "ins")),
        "drop table if exists `_t_old`",
    )

    @staticmethod
    def follow(key: int) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("tool", [GhOst, PtOsc], ids=["gh-ost", "pt-osc"])
def test_a_table_that_is_migrated_online_while_it_is_copied_ends_as_it_is(
    mysql: MysqlDatabase, tmp_path: Path, tool: type[GhOst] | type[PtOsc], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.snapshot.CHUNK_FIRST_ROWS", 50)
    monkeypatch.setattr("connectors.snapshot.CHUNK_MOST_ROWS", 50)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    engine = MysqlEngine(mysql)
    shop = Shop(engine, tmp_path)
    mysql.execute("create table t (id int primary key, v int, big varchar(2000))")
    shop.insert("t", [(n, 0, f"{n} " * 300) for n in range(600)])

    with shop.reading() as read, closing(engine.session()) as session:

        def write(follow: bool) -> None:
            key = dice.randrange(650)
            changes = (
                f"delete from t where id = {key}",
                f"update t set v = v + 1 where id = {key}",
                f"insert into t {COLUMNS} values ({key}, 9, 'new') on duplicate key update v = v + 10",
            )
            for sql in (dice.choice(changes), *(tool.follow(key) if follow else ())):
                session.run(sql)
            read.read(0.001)

        for sql in tool.prepare:
            session.run(sql)
        for low in range(0, 650, 130):
            rows = f"select id, v, big from t where id between {low} and {low + 129} lock in share mode"
            session.run(f"insert low_priority ignore into `{tool.shadow}` {COLUMNS} {rows}")
            write(True)
        assert not read.source.caught_up()
        for sql in tool.finish:
            session.run(sql)
            read.read(0.001)
        for _ in range(5):
            write(False)
        session.run("insert into t values (9999, 8, 1, 'end')")
        read.catch_up()
        until(lambda: (9999,) in folded(read) or (read.read() and False), "the end")
        seen = {key: {"c": 7, **row} for key, row in folded(read).items()}
        assert seen == rows_of(engine, "t", "id", "c", "v", "big")
        assert {event.topic for event in read.events} == {shop.topic("t")}
