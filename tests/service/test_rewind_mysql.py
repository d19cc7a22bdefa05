"""`tailrace offsets` on MySQL and MariaDB: what an operator is told, and what the next run delivers."""

import json
from typing import Any

import pytest

from tests.conftest import OwnMysqlFactory
from tests.fold import read_events
from tests.mysql_servers import MysqlDatabase
from tests.servers import Tailrace

pytestmark = pytest.mark.mysql


class Shop:
    def __init__(self, mysql: MysqlDatabase, tailrace: Tailrace) -> None:
        self.mysql = mysql
        self.tailrace = tailrace
        self.connector: dict[str, Any] = mysql.connector("shop")
        self.seen = 0
        mysql.execute("create table orders (id int primary key)")

    def insert(self, order: int) -> None:
        self.mysql.execute(f"insert into orders values ({order})")

    def deliver(self) -> list[tuple[str, int]]:
        """Run until caught up; what that delivered, as (op, id)."""
        self.tailrace.catch_up(self.connector)
        events = read_events(self.mysql.folder / "out")
        new = [(event["value"]["op"], event["value"]["after"]["id"]) for event in events[self.seen :]]
        self.seen = len(events)
        return new

    def offsets(self, *arguments: str, code: int = 0) -> str:
        """The output where `code` is 0, else the errors."""
        done = self.tailrace("offsets", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout

    def position(self) -> str:
        [position] = [
            line.split()[1] for line in self.offsets("show", "shop").splitlines() if line.startswith("position ")
        ]
        return position


@pytest.fixture
def shop(mysql: MysqlDatabase, tailrace: Tailrace) -> Shop:
    return Shop(mysql, tailrace)


def test_a_seek_back_delivers_again_what_followed_and_an_undo_nothing(shop: Shop) -> None:
    shop.insert(1)
    assert shop.deliver() == [("r", 1)]
    between = shop.position()
    shop.insert(2)
    shop.insert(3)
    assert shop.deliver() == [("c", 2), ("c", 3)]
    after = shop.position()
    dry = shop.offsets("seek", "shop", between, "--dry-run")
    assert f"read again: everything committed after {between} up to {after}" in dry and "bytes of log" in dry
    assert shop.position() == after
    place, _, gtids = between.partition("/")
    for word in (place, gtids):
        shop.offsets("seek", "shop", word)
        assert shop.position() == between
        shop.offsets("undo", "shop")
        assert shop.position() == after
    assert shop.deliver() == []
    shop.offsets("seek", "shop", between)
    assert shop.deliver() == [("c", 2), ("c", 3)]


def test_what_cannot_be_a_position_is_refused_and_the_end_leaves_changes_out(shop: Shop) -> None:
    shop.insert(1)
    assert shop.deliver() == [("r", 1)]
    stood = shop.position()
    shop.offsets("seek", "shop", "yesterday", code=2)
    assert "does not have other.000001" in shop.offsets("seek", "shop", "other.000001:4", code=3)
    ahead = f"{stood.partition(':')[0]}:{1 << 40}"
    assert f"before {1 << 40}" in shop.offsets("seek", "shop", ahead, code=3)
    assert shop.position() == stood
    shop.insert(2)
    assert "NEVER to be delivered" in shop.offsets("seek", "shop", "end")
    assert shop.deliver() == []
    assert f"every table is copied anew ({shop.mysql.name}.orders)" in shop.offsets("reset", "shop")
    assert shop.deliver() == [("r", 1), ("r", 2)]


def test_import_goes_on_where_debezium_stopped_and_copies_no_table_again(shop: Shop) -> None:
    shop.insert(1)
    shop.deliver()
    place, _, gtids = shop.position().partition("/")
    file, _, pos = place.partition(":")
    shop.insert(2)
    shop.deliver()
    shop.offsets("reset", "shop")
    path = shop.tailrace.folder / "offset.json"
    value = {"ts_sec": 1763850000, "file": file, "pos": int(pos), "row": 1, "server_id": 1, "event": 2}
    path.write_text(json.dumps([["c", {"server": "shop"}], {**value, "gtids": gtids}]))
    said = shop.offsets("import", "shop", str(path))
    assert f"read gtids      {gtids}" in said
    assert f"1 tables count as copied, by Debezium: {shop.mysql.name}.orders" in said
    assert shop.deliver() == [("c", 2)]
    path.write_text(json.dumps({"lsn": 5, "lsn_commit": 4}))
    assert "another database" in shop.offsets("import", "shop", str(path), code=2)


def test_import_without_gtids_begins_before_the_transaction_that_was_under_way(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace
) -> None:
    shop = Shop(own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"), tailrace)
    shop.deliver()
    shop.insert(1)
    shop.deliver()
    file, _, pos = shop.position().partition(":")
    shop.insert(2)
    shop.deliver()
    path = shop.tailrace.folder / "offset.json"
    # Debezium's position lies behind the log event that begins a transaction.
    path.write_text(json.dumps({"file": file, "pos": int(pos) + 79, "row": 1, "event": 2}))
    shop.offsets("import", "shop", str(path))
    assert shop.position() == f"{file}:{pos}"
    assert shop.deliver() == [("c", 2)]


def test_after_a_seek_back_no_row_is_read_with_columns_of_a_later_position(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace
) -> None:
    shop = Shop(own_mysql("mariadb118", "--binlog-row-metadata=MINIMAL"), tailrace)
    shop.mysql.execute("alter table orders add column cents int, add column pieces int")
    shop.deliver()
    start = shop.position()
    shop.mysql.execute("insert into orders values (1, 250, 2)")
    shop.mysql.execute("alter table orders modify column cents int after pieces")
    # The next run meets the table behind the ALTER only, and keeps the shape that it has there.
    shop.offsets("seek", "shop", "end")
    shop.mysql.execute("insert into orders values (2, 3, 375)")
    assert shop.deliver() == [("c", 2)]
    assert "shape" not in shop.offsets("show", "shop")
    shop.offsets("seek", "shop", start)
    done = shop.tailrace("run", shop.tailrace.write(shop.connector), "--until-caught-up")
    assert done.returncode == 3 and f"{shop.mysql.name}.orders" in done.stderr, done.stderr
