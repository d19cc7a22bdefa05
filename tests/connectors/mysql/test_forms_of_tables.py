"""Tables of odd names, many columns and several parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.following import Change, created, deleted, following, updated
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

ODD = ("we`ird", "dot.ted", "sp ace", "ünïcödé", "表", "-- not a comment", "per%cent", "quo'te\"d", "select", "1234")


@pytest.fixture
def other(mysql: MysqlDatabase) -> Iterator[str]:
    """Another database, of an odd name."""
    name = f"{mysql.name}.o`dd é"
    yield name
    mysql.execute(f"drop database if exists {quoted(name)}")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def test_names_are_exact_by_copy_stream_and_statement(mysql: MysqlDatabase, tmp_path: Path, other: str) -> None:
    tables = [f"create table {quoted(name)} (`i d.` int primary key, `v``1` int)" for name in ODD]
    tables += [f"insert into {quoted(name)} values (1, 1)" for name in ODD]
    tables += [f"create database {quoted(other)}", f"create table {quoted(other)}.t (id int primary key)"]
    patterns = [mysql.name, f"{mysql.name}.*"]
    with following(mysql, tmp_path, *tables, rereads=False, snapshot="initial", databases=patterns) as story:
        rows = [name for (name,) in {(change.table,) for change in story.changes() if change.op == "r"}]
        assert sorted(rows) == sorted(ODD)
        for name in ODD:
            story.run(f"update {quoted(name)} set `v``1` = 2")
            story.run(f"alter table {quoted(name)} add column `n;ew` int default 3")
            story.run(f"delete from {quoted(name)} where `i d.` = 1")
        first, second = {"i_d_": 1, "v_1": 1}, {"i_d_": 1, "v_1": 2, "n_ew": 3}
        changes = story.changes()
        assert [change.table for change in changes] == [name for name in ODD for _ in range(2)]
        assert [change.before for change in changes] == [first, second] * len(ODD)
        story.run(f"rename table {quoted(ODD[0])} to {quoted(other)}.{quoted(ODD[1])}")
        story.run(f"insert into {quoted(other)}.{quoted(ODD[1])} values (5, 5, 5)")
        (event, *_) = (event for event in story.events() if event.value)
        assert event.table == f"{other}.{ODD[1]}"
        assert story.read.key(event) == {"i_d_": 5}


def test_names_that_differ_in_case_alone_are_different_tables(mysql: MysqlDatabase, tmp_path: Path) -> None:
    tables = ["create table t (id int primary key, a int)", "create table T (id int primary key, b int)"]
    with following(mysql, tmp_path, *tables, "insert into T values (0, 0)", snapshot="initial") as story:
        story.run("insert into t values (1, 1)", "insert into T values (2, 2)", "alter table T add column c int")
        story.run("insert into t values (3, 3)", "insert into T values (4, 4, 4)", "drop table t")
        story.run("insert into T values (5, 5, 5)")
        assert story.changes() == [
            Change("r", "T", None, {"id": 0, "b": 0}),
            created("t", id=1, a=1),
            created("T", id=2, b=2),
            created("t", id=3, a=3),
            created("T", id=4, b=4, c=4),
            created("T", id=5, b=5, c=5),
        ]
        topics = {event.topic for event in story.read.events}
        assert {story.shop.topic("t"), story.shop.topic("T")} < topics


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
@pytest.mark.parametrize("metadata", ["FULL", "MINIMAL"])
def test_where_the_server_ignores_case_any_spelling_is_one_table(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str, metadata: str
) -> None:
    database = own_mysql(kind, "--lower-case-table-names=1", f"--binlog-row-metadata={metadata}")
    again = metadata == "FULL"  # without names in the log, two statements ahead of rows are one too many
    with following(database, tmp_path, "create table Orders (id int primary key, a int)", rereads=again) as story:
        story.run("insert into ORDERS values (1, 1)", "alter table oRDERS add column b int first")
        story.run("insert into Orders values (2, 2, 2)", f"truncate {database.name.upper()}.OrDeRs")
        story.run("alter table ORDERS drop column a", "insert into orders values (3, 3)")
        events = [event for event in story.events() if event.value]
        assert [event.topic for event in events] == [
            story.shop.topic(name) for name in ("orders", "orders", "orders.truncate", "orders")
        ]
        afters = [story.read.value(event)["after"] for event in events]
        assert afters == [{"id": 1, "a": 1}, {"b": 2, "id": 2, "a": 2}, None, {"b": 3, "id": 3}]


def test_a_table_may_have_more_columns_than_a_byte_counts(mysql: MysqlDatabase, tmp_path: Path) -> None:
    count = 700
    columns = ", ".join(f"c{n} int" for n in range(count))
    with following(mysql, tmp_path, f"create table t (id int primary key, {columns})") as story:
        story.run("insert into t (id, c0, c255, c256, c699) values (1, 10, 11, 12, 13)")
        story.run("update t set c300 = 5, c256 = null", "set session binlog_row_image = noblob")
        story.run("update t set c7 = 8", "delete from t")
        empty: dict[str, int | None] = {"id": 1, **{f"c{n}": None for n in range(count)}}
        first = {**empty, "c0": 10, "c255": 11, "c256": 12, "c699": 13}
        second = {**first, "c300": 5, "c256": None}
        third = {**second, "c7": 8}
        assert story.changes() == [
            created("t", **first),
            updated("t", first, **second),
            updated("t", second, **third),
            deleted("t", **third),
        ]


def test_a_partitioned_table_is_one_table(mysql: MysqlDatabase, tmp_path: Path) -> None:
    parts = "partition by range (id) (partition a values less than (10), partition b values less than (20))"
    with following(mysql, tmp_path, f"create table t (id int primary key, v int) {parts}") as story:
        story.run("insert into t values (1, 1), (11, 11), (2, 2)", "update t set id = 12 where id = 1")
        story.run("update t set v = 0 where id = 11", "delete from t where id = 2")
        *inserted, left, came, updated_, last = story.changes()
        assert {change.after["id"] for change in inserted} == {1, 11, 2}
        assert (left, came) == (deleted("t", id=1, v=1), created("t", id=12, v=1))
        assert (updated_, last) == (updated("t", {"id": 11, "v": 11}, id=11, v=0), deleted("t", id=2, v=2))
        story.run("alter table t add partition (partition c values less than (30))", "insert into t values (25, 1)")
        story.run("alter table t reorganize partition b, c into (partition bc values less than (40))")
        story.run("insert into t values (35, 1)", "alter table t remove partitioning", "insert into t values (99, 1)")
        assert [change.after["id"] for change in story.changes()] == [25, 35, 99]
        story.run("delete from t where v = 1")
        assert {change.before["id"] for change in story.changes()} == {12, 25, 35, 99}


def test_a_partition_that_is_dropped_or_exchanged_is_told(
    mysql: MysqlDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = "partition by range (id) (partition a values less than (10), partition b values less than (20))"
    tables = (f"create table t (id int primary key) {parts}", "create table x (id int primary key)")
    with following(mysql, tmp_path, *tables) as story:
        for sql in ("truncate partition a", "exchange partition b with table x", "drop partition a"):
            story.run(f"alter table t {sql}")
            assert not story.changes()
            told = capsys.readouterr().out
            assert "came or went that the log does not have" in told and sql in told
            assert f"tailrace snapshot NAME {mysql.name}.t" in told


def test_sequences_are_no_tables(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.flavor != "mariadb":
        pytest.skip("MariaDB alone has sequences")
    _use_sequences(mysql, tmp_path)


def test_sequences_are_no_tables_where_the_log_has_no_names(own_mysql: OwnMysqlFactory, tmp_path: Path) -> None:
    _use_sequences(own_mysql("mariadb118", "--binlog-row-metadata=MINIMAL"), tmp_path)


def _use_sequences(database: MysqlDatabase, folder: Path) -> None:
    with following(database, folder, "create sequence old", "create table t (id int primary key)") as story:
        story.run("create sequence s cache 2", "select nextval(s), nextval(old)", "select setval(s, 99)")
        story.run("insert into t values (nextval(s))", "alter sequence s restart 5")
        assert story.changes() == [created("t", id=100)]


def test_a_key_that_nobody_declared_is_a_key(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.flavor != "mysql":
        pytest.skip("MySQL alone makes them")
    mysql.execute("set session sql_generate_invisible_primary_key = on")
    with following(mysql, tmp_path, "create table t (v int)", "insert into t values (5)", snapshot="initial") as story:
        story.run("insert into t values (6)", "update t set v = 7 where v = 6", "delete from t where v = 5")
        assert [story.read.key(event)["my_row_id"] for event in story.events() if event.value] == ["1", "2", "2", "1"]


def test_old_rows_of_a_versioned_table_are_rows(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.flavor != "mariadb":
        pytest.skip("MariaDB alone keeps them")
    with following(mysql, tmp_path, "create table t (id int primary key, v int) with system versioning") as story:
        story.run("insert into t values (1, 1)", "update t set v = 2", "delete from t")
        changes = story.changes()
        assert [(change.op, (change.after or change.before)["v"]) for change in changes] == [
            *(("c", 1), ("u", 2), ("c", 1), ("d", 2), ("c", 2)),
        ]
        now, before, gone = changes[0].after["row_end"], changes[2].after, changes[4].after
        assert changes[1].after["row_end"] == now
        assert before["row_end"] == changes[1].after["row_start"] == gone["row_start"]
        keys = [story.read.key(event) for event in story.read.events if event.value]
        assert keys[:5] == [{"id": 1, "row_end": end} for end in (now, now, before["row_end"], now, gone["row_end"])]
