"""XA transactions among others: their rows come with their XA COMMIT, wherever a connector resumes."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pymysql
import pytest

from tests.connectors.mysql.following import Following, created, deleted, following, updated
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

pytestmark = pytest.mark.mysql

TABLES = ("create table a (id int primary key, v text)", "create table b (id int primary key)")


@pytest.fixture(autouse=True)
def _undecided(mysql: MysqlDatabase) -> Iterator[None]:
    """What a failing test leaves prepared would hold its tables."""
    yield
    for xid in (r"'one','q\'',7", "x'00ff27'", "'two'", "'first'", "'open'"):
        with suppress(pymysql.MySQLError):
            mysql.execute(f"xa rollback {xid}")


def prepare(story: Following, xid: str, *statements: str, settings: str = "do 0") -> None:
    """In a session of its own, which ends: the transaction stays."""
    with closing(story.shop.engine.session()) as session:
        for sql in (settings, f"xa start {xid}", *statements, f"xa end {xid}", f"xa prepare {xid}"):
            session.run(sql)
        [(thread,)] = session.run("select connection_id()")
    # MariaDB: nobody else can end the transaction before the server has noticed that its session did.
    sessions = f"select 1 from information_schema.processlist where id = {thread}"
    until(lambda: not story.shop.engine.execute(sessions), "the session has ended")
    story.read.read()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_transactions_that_overlap_come_when_they_are_committed(
    mysql: MysqlDatabase, tmp_path: Path, compressed: bool
) -> None:
    if compressed and mysql.flavor == "mariadb":
        pytest.skip("MySQL alone compresses whole transactions")
    wide = "x" * 500
    setting = "set session binlog_transaction_compression = on" if compressed else "do 0"
    with following(mysql, tmp_path, *TABLES, is_held=True) as story:
        story.run(setting, "insert into b values (0)")
        first = (f"insert into a values (1, '{wide}')", "insert into b values (1)")
        prepare(story, r"'one','q\'',7", *first, settings=setting)
        prepare(story, "x'00ff27'", "insert into b values (2)")
        story.run("insert into b values (100)", r"xa commit 'one','q\'',7", "insert into b values (101)")
        prepare(story, "'two'", "insert into b values (3)")
        story.run("xa rollback x'00ff27'", "insert into b values (102)", "xa commit 'two'")
        story.run("xa start 'p'", "update a set v = 'y'", "delete from b where id = 1", "xa end 'p'")
        story.run("xa commit 'p' one phase", "insert into b values (103)")
        story.run("xa start 'empty'", "xa end 'empty'", "xa prepare 'empty'", "xa commit 'empty'")
        story.run("insert into b values (104)")
        assert story.changes() == [
            created("b", id=0),
            created("b", id=100),
            created("a", id=1, v=wide),
            created("b", id=1),
            created("b", id=101),
            created("b", id=102),
            created("b", id=3),
            updated("a", {"id": 1, "v": wide}, id=1, v="y"),
            deleted("b", id=1),
            created("b", id=103),
            created("b", id=104),
        ]
        ids = [event.id for event in story.read.events]
        assert ids == sorted(set(ids))


def test_a_position_that_stands_at_an_open_transaction_tells_run_after_run_what_was_delivered_behind_it(
    mysql: MysqlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with following(mysql, tmp_path, *TABLES, rereads=False) as story:
        prepare(story, "'first'", "insert into b values (1)")
        prepare(story, "'open'", "insert into b values (2)")
        story.run("insert into b values (3)", "xa commit 'first'")
        assert story.changes() == [created("b", id=3), created("b", id=1)]
    offset = story.read.offset
    monkeypatch.setattr("connectors.mysql.source.BATCH_BYTES", 1)
    with story.shop.reading(offset, snapshot="never") as again:
        again.read_until(1)
        assert again.key(again.events[0]) == {"id": 3}
        again.source.snapshot([f"{mysql.name}.a"], None)  # what is stored of that has a position with it
        while again.offset == offset:
            again.read()
    offset = again.offset
    mysql.execute("xa commit 'open'")
    with story.shop.reading(offset, snapshot="never") as again:
        until(
            lambda: (again.events and again.key(again.events[-1]) == {"id": 2}) or (again.read() and False), "the last"
        )
        assert {"id": 1} not in [again.key(event) for event in again.events]
