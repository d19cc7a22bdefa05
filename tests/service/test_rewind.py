"""What a run delivers after its offset was moved by hand."""

import json
from typing import Any

import pytest

from tests.fold import read_events
from tests.servers import Database, Tailrace

pytestmark = pytest.mark.postgres


class Shop:
    def __init__(self, postgres: Database, tailrace: Tailrace) -> None:
        self.postgres = postgres
        self.tailrace = tailrace
        self.connector: dict[str, Any] = postgres.connector("shop", source={"slot": f"slot_{postgres.name}"})
        self.seen = 0
        postgres.execute("create table orders (id int primary key)")

    def insert(self, order: int) -> None:
        self.postgres.execute("insert into orders values (%s)", order)

    def deliver(self) -> list[tuple[str, int]]:
        """Run until caught up; what that delivered, as (op, id)."""
        self.tailrace.catch_up(self.connector)
        events = read_events(self.postgres.folder / "out")
        new = [(event["value"]["op"], event["value"]["after"]["id"]) for event in events[self.seen :]]
        self.seen = len(events)
        return new

    def offsets(self, *arguments: str) -> str:
        done = self.tailrace("offsets", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def position(self) -> str:
        lines = self.offsets("show", "shop").splitlines()
        [position] = [line.split()[1] for line in lines if line.startswith("position ")]
        return position


@pytest.fixture
def shop(postgres: Database, tailrace: Tailrace) -> Shop:
    return Shop(postgres, tailrace)


def test_a_seek_back_delivers_again_what_followed_and_nothing_else(shop: Shop) -> None:
    shop.insert(1)
    assert shop.deliver() == [("r", 1)]
    shop.insert(2)
    assert shop.deliver() == [("c", 2)]
    between = shop.position()
    shop.insert(3)
    assert shop.deliver() == [("c", 3)]
    shop.offsets("seek", "shop", between)
    assert shop.deliver() == [("c", 3)]
    assert shop.deliver() == []


def test_a_seek_to_the_end_leaves_out_what_it_said(shop: Shop) -> None:
    shop.insert(1)
    assert shop.deliver() == [("r", 1)]
    shop.insert(2)
    assert "NEVER" in shop.offsets("seek", "shop", "end")
    shop.insert(3)
    assert shop.deliver() == [("c", 3)]
    shop.offsets("undo", "shop")
    assert shop.deliver() == [("c", 2), ("c", 3)]


def test_a_reset_copies_every_table_anew(shop: Shop) -> None:
    shop.insert(1)
    assert shop.deliver() == [("r", 1)]
    shop.insert(2)
    assert shop.deliver() == [("c", 2)]
    shop.offsets("reset", "shop")
    assert [event for event in shop.deliver() if event[0] == "r"] == [("r", 1), ("r", 2)]


def test_an_import_goes_on_where_debezium_stopped_without_a_copy(shop: Shop) -> None:
    shop.insert(1)
    slot = shop.connector["source"]["slot"]
    shop.postgres.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    shop.postgres.execute("create publication tailrace_shop for table orders")
    shop.insert(2)
    [(commit,)] = shop.postgres.execute("select (pg_current_wal_lsn() - '0/0')::bigint")
    shop.insert(3)
    file = shop.tailrace.folder / "offset.json"
    file.write_text(json.dumps({"lsn": int(commit), "lsn_proc": int(commit), "lsn_commit": int(commit)}))
    shop.offsets("import", "shop", str(file), "--config", str(shop.tailrace.write(shop.connector)))
    assert shop.deliver() == [("c", 3)]
