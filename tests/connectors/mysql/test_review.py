"""Rare meetings of two things, each of which once lost, invented or misread a row."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from connectors.errors import LogGap, SourceError
from connectors.mysql import source
from connectors.mysql.executed import Executed
from connectors.mysql.gtid import MysqlGtids
from offsets.position import Offset, Position
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.following import following
from tests.contract.engines import MysqlEngine, Reading, Shop
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

pytestmark = pytest.mark.mysql

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
MINIMAL = "--binlog-row-metadata=MINIMAL"


def run(database: MysqlDatabase, script: str) -> None:
    """One statement a line."""
    for sql in script.strip().splitlines():
        database.execute(sql.strip())


def afters(read: Reading) -> list[Any]:
    return [value["after"] for value in read.values() if value is not None]


# -- positions


def test_what_was_executed_is_whole_where_another_thread_asks_for_it_meanwhile() -> None:
    """A reader of the copy asks while the stream goes on."""
    gtids: Any = Executed("mysql", "")
    gtids.add(f"{UUID}:1")
    adding = Thread(target=gtids.add, args=(f"{UUID}:2",))

    def parse(text: str) -> MysqlGtids:
        adding.start()
        adding.join(0.1)
        return MysqlGtids.parse(text)

    gtids._parse = parse
    str(gtids)
    gtids._parse = MysqlGtids.parse
    adding.join()
    assert str(gtids) == f"{UUID}:1-2"


def test_gtids_that_are_switched_on_while_a_connector_runs_send_nothing_again(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    database = own_mysql("mysql97", "--gtid-mode=ON_PERMISSIVE", "--enforce-gtid-consistency=ON")
    shop = Shop(MysqlEngine(database), tmp_path)
    run(database, "create table t (id int primary key, v int)\ninsert into t values (1, 0)")
    with shop.reading() as read:
        read.catch_up()
        database.execute("update t set v = 1")
        read.read_until(2)
        offset = read.offset
    run(database, "update t set v = 2\nset global gtid_mode = ON")
    for v in (2, 3, 4):
        with shop.reading(offset) as again:
            again.read_until(1)
            again.catch_up()
            offset = again.offset
        assert [row["v"] for row in afters(again)] == [v]
        database.execute(f"update t set v = {v + 1}")


def test_changes_of_a_table_without_a_key_are_not_left_out_on_another_server(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    """What a piece contained is told by places in one server's log."""
    shop = Shop(MysqlEngine(mysql), tmp_path)
    run(mysql, "create table log (id int)\ninsert into log values (1)")
    with shop.reading() as read:
        read.catch_up()
        offset = read.offset
    offset = elsewhere(offset, f"{mysql.name}.log")
    mysql.execute("insert into log values (2)")
    for id_ in (2, 3):
        with shop.reading(offset) as again:
            again.read_until(1)
            assert [row["id"] for row in afters(again)] == [id_]
            offset = again.offset
        mysql.execute("insert into log values (3)")


def test_a_table_without_a_key_is_copied_again_where_another_server_takes_over_during_its_copy(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    run(mysql, "create table log (id int)\ninsert into log values (1)")
    with shop.reading() as read:
        read.catch_up()
        offset = elsewhere(read.offset, f"{mysql.name}.log")
    offset = offset._replace(position=offset.position._replace(order=900_000 << 38 | 400))
    with shop.reading(offset) as again:
        again.catch_up()
        assert [row["id"] for row in afters(again)] == [1]


def elsewhere(offset: Offset, table: str) -> Offset:
    """As a server would have given it whose log has come further in files."""
    coordinates, _, gtids = offset.position.token.partition("/")
    base, _, _ = coordinates.partition(".")
    origin = json.dumps({**json.loads(offset.position.origin), "system": "4711"})
    progress = json.loads(offset.snapshot[table])
    progress[6] = [900_000 << 38 | 500, "4711"]
    position = Position(900_000 << 38 | 900, f"{base}.900000:900/{gtids}", origin)
    return Offset(position, {**offset.snapshot, table: json.dumps(progress)})


# -- shapes of tables that the log does not tell


def test_a_table_altered_before_a_large_transaction_is_known_to_a_restart_within_it(
    own_mysql: OwnMysqlFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH_BYTES", 4096)
    monkeypatch.setattr(source, "LINGER_S", 5.0)
    database = own_mysql("mysql97", MINIMAL)
    shop = Shop(MysqlEngine(database), tmp_path)
    database.execute("create table t (id int primary key, a int, b int, big text)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        rows = ", ".join(f"({n}, 1, 2, repeat('x', 1000))" for n in range(50))
        database.execute("alter table t rename column a to b, rename column b to a")
        database.execute(f"insert into t values {rows}")
        until(lambda: read.events or (read.read() and False), "a part of the transaction")
        offset = read.offset
        assert len(read.events) < 50
    with shop.reading(offset, snapshot="never") as again:
        again.read_until(50)
    assert {(row["b"], row["a"]) for row in afters(again)} == {(1, 2)}


def test_a_shape_that_is_not_known_any_more_is_not_known_to_a_restart(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    database = own_mysql("mysql97", MINIMAL)
    shop = Shop(MysqlEngine(database), tmp_path)
    run(database, "create table t (id int primary key, a int, b int)\ncreate table other (id int primary key)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        offset = read.offset
    run(
        database,
        """
        alter table t rename column a to b, rename column b to a
        insert into other values (1)
        """,
    )
    place = database.execute("show binary log status")[0][1]
    run(
        database,
        """
        insert into t values (1, 1, 2)
        alter table t add column c int
        """,
    )
    # The stream comes to rest between the ALTER and the row.
    with shop.reading(offset, snapshot="never") as read:
        stop_at(read, int(place))
        read.read_until(1)
        offset = read.offset
    with shop.reading(offset, snapshot="never") as again, pytest.raises(LogGap, match="altered again"):
        again.read_until(1)
    assert not again.events


def stop_at(read: Reading, pos: int) -> None:
    """The source is sent no log event from behind `pos`."""
    made: Any = read.source
    stream = made._log.stream
    receive: Callable[[float, int], list[bytes]] = stream.receive

    def some(timeout_s: float, limit_bytes: int) -> list[bytes]:
        return [e for e in receive(timeout_s, limit_bytes) if int.from_bytes(e[13:17], "little") <= pos]

    stream.receive = some


def test_a_table_that_was_not_captured_for_a_while_is_not_read_as_it_was_before(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    database = own_mysql("mysql97", MINIMAL)
    shop = Shop(MysqlEngine(database), tmp_path)
    run(database, "create table t (id int primary key, a int, b int)\ncreate table u (id int primary key)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        offset = read.offset
    database.execute("alter table t rename column a to b, rename column b to a")
    with shop.reading(offset, snapshot="never", tables=[f"{database.name}.u"]) as read:
        database.execute("insert into u values (1)")
        read.read_until(1)
        offset = read.offset
    database.execute("insert into t values (1, 1, 2)")
    with shop.reading(offset, snapshot="never") as again:
        again.read_until(1)
    assert afters(again) == [{"id": 1, "b": 1, "a": 2}]


# -- names


def test_a_table_that_takes_a_copied_ones_name_is_copied_though_tailrace_ends_before(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    tables = [f"{mysql.name}.t"]
    run(
        mysql,
        """
        create table t (id int primary key)
        create table other (id int primary key)
        insert into other values (7)
        """,
    )
    with shop.reading(tables=tables) as read:
        read.catch_up()
        run(mysql, "drop table t\nrename table other to t")
        until(lambda: (read.read(0.01) and False) or f"{mysql.name}.t" not in read.progress, "the copy is forgotten")
        offset = read.offset
    with shop.reading(offset, tables=tables) as again:
        again.catch_up()
    assert afters(again) == [{"id": 7}]


def test_a_table_that_is_altered_and_renamed_at_once_is_copied_under_its_new_name(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    tables = [f"{mysql.name}.t"]
    run(
        mysql,
        """
        create table t (id int primary key)
        create table other (id int primary key)
        insert into other values (7)
        """,
    )
    with shop.reading(tables=tables) as read:
        read.catch_up()
        run(
            mysql,
            """
            alter table t add column a int, rename to old
            alter table other add column c int, rename to t
            """,
        )
        read.read_until(1)
    assert afters(read) == [{"id": 7, "c": None}]


# -- what is rolled back


ROLLED_BACK = {
    "temporary": """
        begin
        create temporary table x (id int)
        insert into t values (1)
        savepoint `a b`
        insert into t values (2)
        savepoint c
        insert into t values (2000)
        rollback to savepoint C
        rollback to `a b`
        insert into t values (3)
        commit
        """,
    "without transactions": """
        begin
        insert into t values (1)
        savepoint s
        insert into t values (2)
        insert into plain values (2)
        rollback to s
        insert into t values (3)
        commit
        """,
    "whole": """
        insert into t values (1)
        begin
        create temporary table x (id int)
        insert into t values (2)
        rollback
        insert into t values (3)
        """,
    "prepared": """
        xa start 'a'
        insert into t values (1)
        savepoint s
        insert into plain values (2)
        insert into t values (2)
        rollback to s
        insert into t values (3)
        xa end 'a'
        xa prepare 'a'
        xa commit 'a'
        """,
    "never prepared": """
        insert into t values (1)
        xa start 'a'
        insert into t values (2)
        insert into plain values (2)
        xa end 'a'
        xa rollback 'a'
        insert into t values (3)
        """,
}


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_rows_that_are_rolled_back_are_not_delivered_though_the_log_has_them(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    """It has them where something of the transaction cannot be undone."""
    database = own_mysql(kind, *(["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"] if kind == "mysql97" else []))
    for about, script in ROLLED_BACK.items():
        tables = ["create table t (id int primary key)", "create table plain (id int primary key) engine = myisam"]
        database.execute("drop table if exists t, plain, the_end")
        with following(database, tmp_path, *tables) as story:
            story.script(script)
            rows = [change.after["id"] for change in story.changes() if change.table == "t"]
        assert rows == [1, 3], about


def test_what_was_delivered_and_then_rolled_back_ends_the_run(
    own_mysql: OwnMysqlFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH_BYTES", 4096)
    database = own_mysql("mariadb118")
    database.execute("create table t (id int primary key, big text)")
    rows = ", ".join(f"({n}, repeat('x', 1000))" for n in range(50))
    with Shop(MysqlEngine(database), tmp_path).reading(snapshot="never") as read:
        read.catch_up()
        run(database, f"begin\ncreate temporary table x (id int)\ninsert into t values {rows}\nrollback")
        with pytest.raises(SourceError, match="rolled back"):
            read.read_until(51)
        assert len(read.events) < 50


def test_a_row_whose_change_was_rolled_back_stays_in_a_copy(mysql: MysqlDatabase, tmp_path: Path) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    mysql.execute("create table t (id int primary key, v int)")
    shop.insert("t", [(1, 0), (2, 0)])
    with shop.reading(snapshot_parallel=2) as read:
        made: Any = read.source
        run(
            mysql,
            """
            begin
            create temporary table x (id int)
            savepoint s
            update t set v = 1 where id = 1
            rollback to s
            update t set v = 1 where id = 2
            commit
            """,
        )
        read.catch_up()
        assert made.caught_up()
    last = {read.key(event)["id"]: value["after"]["v"] for event, value in zip(read.events, read.values(), strict=True)}
    assert last == {1: 0, 2: 1}


def test_a_server_that_cannot_read_back_its_own_long_event_has_positions_all_the_same(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    """MariaDB's BINLOG_GTID_POS is NULL behind a log event longer than max_allowed_packet."""
    database = own_mysql("mariadb1011", "--max-allowed-packet=1M")
    shop = Shop(MysqlEngine(database), tmp_path)
    database.execute("create table t (id int primary key, v longtext)")
    database.execute("insert into t values (1, repeat('a', 700000))")
    database.execute("update t set v = repeat('b', 700000)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        offset = read.offset
    database.execute("insert into t values (2, 'behind')")
    with shop.reading(offset, snapshot="never") as read:
        assert [value["after"]["id"] for value in read.catch_up()] == [2]
