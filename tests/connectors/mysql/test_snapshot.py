"""The copy of MySQL's and MariaDB's tables while many sessions write: what the log shows before others see it."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pymysql
import pytest

from connectors.chunk import Progress
from connectors.copying import NotRead, Piece
from connectors.mysql import copying
from connectors.mysql.catalog import Catalog
from connectors.mysql.connection import connect, identify
from connectors.mysql.names import TableName
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.dump import config_of
from tests.contract.engines import MysqlEngine, Reading, Shop, folded, rows_of
from tests.contract.test_source import write
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

pytestmark = [pytest.mark.mysql, pytest.mark.usefixtures("small_chunks")]
WRITERS = 4


@contextmanager
def writing(engine: MysqlEngine, *settings: str) -> Iterator[None]:
    """Sessions that change random rows of `t`."""
    stop = Event()
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")

    def run(nth: int) -> None:
        dice = random.Random(seed + nth)
        with closing(engine.session()) as session:
            for setting in settings:
                session.run(setting)
            while not stop.is_set():
                with suppress(pymysql.IntegrityError, pymysql.OperationalError):  # another session was there first
                    write(session, dice)
                time.sleep(0.003)

    threads = [Thread(target=run, args=(nth,)) for nth in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def never_goes_back(read: Reading) -> None:
    newest: dict[int, int] = {}
    for event, value in zip(read.events, read.values(), strict=True):
        if value is None or value["op"] == "d":
            newest.pop(read.key(event)["id"], None)
            continue
        row = value["after"]
        assert row["v"] >= newest.get(row["id"], -1), row
        newest[row["id"]] = row["v"]


def copy_beside_writers(shop: Shop, *settings: str, **source: Any) -> None:
    engine: Any = shop.engine
    engine.execute("create table t (id int primary key, v int, big text)")
    engine.execute("create table u (id int primary key, v int, big text)")
    shop.insert("t", [(n, 0, f"{n} " * 100) for n in range(1000)])
    shop.insert("u", [(n, 0, "u") for n in range(500)])
    with shop.reading(**source) as read:
        with writing(engine, *settings):
            until(lambda: read.source.caught_up() or (read.read(0.001) and False), "the copy")
        engine.execute("insert into t values (9999, 0, 'end')")
        until(lambda: (read.read() and False) or read.key(read.events[-1]) == {"id": 9999}, "the end")
        read.events = [event for event in read.events if event.table.endswith(".t")]
        never_goes_back(read)
        assert folded(read) == rows_of(engine, "t", "id", "v", "big")


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("image", ["full", "noblob"])
def test_a_copy_beside_many_writers_is_the_table_and_never_goes_back(
    mysql: MysqlDatabase, tmp_path: Path, image: str, parallel: int
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    copy_beside_writers(shop, f"set session binlog_row_image = {image}", snapshot_parallel=parallel)


def test_a_copy_without_gtids_is_the_table_and_never_goes_back(own_mysql: OwnMysqlFactory, tmp_path: Path) -> None:
    database = own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    copy_beside_writers(Shop(MysqlEngine(database), tmp_path))


def test_without_gtids_a_copy_waits_for_a_writer_that_was_there_before_it(
    own_mysql: OwnMysqlFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its changes could be in the log before the start, and not visible yet."""
    monkeypatch.setattr(copying, "LOCK_EVERY_S", 0.1)
    database = own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    shop = Shop(MysqlEngine(database), tmp_path)
    shop.engine.execute("create table t (id int primary key)")
    shop.engine.execute("insert into t values (1)")
    with closing(shop.engine.session()) as writer:
        writer.run("begin")
        writer.run("insert into t values (2)")
        with shop.reading() as read:
            for _ in range(3):
                read.read()
            assert read.values() == []
            writer.run("commit")
            values = read.catch_up()
    assert Counter(value["after"]["id"] for value in values) >= Counter([1, 2])
    assert {value["op"] for value in values if value["after"]["id"] == 1} == {"r"}


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_an_idle_log_that_goes_on_in_a_new_file_holds_up_no_copy(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind)
    shop = Shop(MysqlEngine(database), tmp_path)
    shop.engine.execute("create table t (id int primary key)")
    shop.engine.execute("create table log (id int)")
    shop.insert("t", [(n,) for n in range(120)])
    shop.insert("log", [(n,) for n in range(10)])
    with shop.reading() as read:
        until(lambda: read.progress.get(f"{database.name}.t") or (read.read() and False), "a chunk")
        shop.engine.execute("insert into t values (-1)")
        shop.engine.execute("flush binary logs")
        read.catch_up()
        assert len([value for value in read.values() if value["op"] == "r"]) == 130


def test_what_a_table_without_a_key_held_is_told_from_what_came_behind_over_a_restart(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    shop.engine.execute("create table log (id int)")
    shop.insert("log", [(1,), (2,)])
    with shop.reading() as read:
        until(lambda: f"{mysql.name}.log" in read.progress or (read.read() and False), "the copy")
        offset = read.offset
    assert Progress.load(offset.snapshot[f"{mysql.name}.log"]).contained
    shop.insert("log", [(3,)])
    with shop.reading(offset) as again:
        assert [value["after"]["id"] for value in again.read_until(1)] == [3]


def test_a_table_is_copied_again_on_request_in_part(mysql: MysqlDatabase, tmp_path: Path) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    shop.engine.execute("create table t (id int primary key, v varchar(9))")
    shop.insert("t", [(n, "xyz"[n % 3]) for n in range(200)])
    with shop.reading(snapshot="never") as read:
        assert read.catch_up() == []
        read.source.snapshot([f"{mysql.name}.t", f"{mysql.name}.gone"], "v = 'x' or v = 'y'")
        read.source.snapshot([f"{mysql.name}.t"], "no_such = 1")
        until(lambda: read.events or (read.read() and False), "a chunk")
        offset = read.offset
    with shop.reading(offset, snapshot="never") as again:
        values = [*read.values(), *again.catch_up()]
    assert [value["after"]["id"] for value in values] == [n for n in range(200) if n % 3 < 2]


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_table_that_is_altered_during_its_copy_is_copied_in_its_new_shape(
    mysql: MysqlDatabase, tmp_path: Path, parallel: int
) -> None:
    shop = Shop(MysqlEngine(mysql), tmp_path)
    shop.engine.execute("create table t (id int primary key, v int)")
    shop.insert("t", [(n, n) for n in range(300)])
    with shop.reading(snapshot_parallel=parallel) as read:
        until(lambda: len(read.events) >= 60 or (read.read() and False), "a chunk")
        shop.engine.execute("alter table t add column more varchar(9) default 'm' first, drop column v, add w int")
        shop.engine.execute("update t set w = -1 where id in (1, 100, 299)")
        read.catch_up()
        rows = folded(read)
        assert len(rows) == 300
        assert rows[(1,)] == {"id": 1, "more": "m", "w": -1}
        assert rows[(298,)] == {"id": 298, "more": "m", "w": None}


def test_a_truncate_that_a_copy_without_a_key_contains_is_left_out(
    mysql: MysqlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql.execute("create table k (a int)")
    mysql.execute("insert into k values (1)")
    piece = copying.MysqlCopying.piece

    def late(self: copying.MysqlCopying, name: TableName, streamed: tuple[int, ...]) -> Piece | NotRead:
        monkeypatch.undo()
        mysql.execute("truncate k")
        mysql.execute("insert into k values (7)")
        return piece(self, name, streamed)

    monkeypatch.setattr(copying.MysqlCopying, "piece", late)
    with Shop(MysqlEngine(mysql), tmp_path).reading() as read:
        assert [(value["op"], value["after"]) for value in read.catch_up()] == [("r", {"a": 7})]


def test_a_statement_that_waits_to_redefine_a_table_without_a_key_does_not_end_its_copy(
    mysql: MysqlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql.execute("create table k (a int)")
    mysql.execute("insert into k values (1), (2)")
    engine = MysqlEngine(mysql)
    locked = copying.MysqlCopying._locked
    threads: list[Thread] = []

    def with_one_who_waits(self: copying.MysqlCopying, name: TableName) -> Any:
        lock = locked(self, name)
        if not threads and not isinstance(lock, NotRead):
            session = engine.session()
            threads.append(Thread(target=lambda: session.run("alter table k add column b int default 5")))
            threads[0].start()
            waiting = "select 1 from information_schema.processlist where info like 'alter table k%%' and state like %s"
            until(lambda: mysql.execute(waiting, "Waiting for table%"), "the statement waits")
        return lock

    monkeypatch.setattr(copying.MysqlCopying, "_locked", with_one_who_waits)
    with Shop(engine, tmp_path).reading() as read:
        assert [value["after"]["a"] for value in read.catch_up()] == [1, 2]
        threads[0].join()
        mysql.execute("insert into k values (3, 3)")
        assert read.read_until(3)[-1]["after"] == {"a": 3, "b": 3}


def test_a_table_that_is_dropped_while_its_shape_is_read_has_none(
    mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql.execute("create table t (id int primary key)")
    connection = connect(config_of(mysql), application="test")
    indexes = Catalog._unique_indexes

    def late(self: Catalog, database: str, name: str) -> Any:
        mysql.execute("drop table t")
        return indexes(self, database, name)

    monkeypatch.setattr(Catalog, "_unique_indexes", late)
    assert Catalog(connection, identify(connection)).shape(mysql.name, "t") is None
    connection.close()
