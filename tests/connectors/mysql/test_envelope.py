"""The `source` struct of MySQL and MariaDB events, read back by its schema."""

from typing import Any, Literal

import pytest

from connectors.mysql.envelope import SOURCE_SCHEMA, SourceBlock
from tests.oracle.goldens import decoded

COMMITTED_US = 1_790_000_000_123_456
GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:23"


def block(connector: Literal["mysql", "mariadb"] = "mysql", table: str = "orders") -> SourceBlock:
    return SourceBlock(connector, "1.0", "p", "shop", table)


def shown(source: bytes, connector: str = "mysql") -> dict[str, Any]:
    value = decoded(source, SOURCE_SCHEMA[connector])
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("connector", ["mysql", "mariadb"])
def test_a_change_shows_its_transaction_log_event_and_row(connector: Literal["mysql", "mariadb"]) -> None:
    source = block(connector)
    source.begin(77, COMMITTED_US, 5, GTID, "binlog.000003", 12)
    source.event(1 << 33, "insert into orders values ('ü')")
    assert shown(source.change(3), connector) == {
        "version": "1.0",
        "connector": connector,
        "name": "p",
        "ts_ms": COMMITTED_US // 1000,
        "snapshot": "false",
        "db": "shop",
        "sequence": None,
        "ts_us": COMMITTED_US,
        "ts_ns": COMMITTED_US * 1000,
        "table": "orders",
        "server_id": 5,
        "gtid": GTID,
        "file": "binlog.000003",
        "pos": 1 << 33,
        "row": 3,
        "thread": 12,
        "query": "insert into orders values ('ü')",
    }


def test_what_the_server_does_not_tell_is_null() -> None:
    source = block(table="")
    source.begin(1, 0, 1, "", "binlog.000001", None)
    source.event(4)
    value = shown(source.change(0))
    assert [value[name] for name in ("table", "gtid", "thread", "query")] == [None] * 4


def test_a_transaction_leaves_nothing_behind_in_the_next() -> None:
    source = block()
    source.begin(1, COMMITTED_US, 5, GTID, "binlog.000003", 12)
    source.event(200, "delete from orders")
    source.begin(2, COMMITTED_US + 1, 6, "", "binlog.000004", None)
    assert source.begun == 2
    source.event(4)
    value = shown(source.change(0))
    assert (value["ts_us"], value["server_id"], value["file"], value["pos"]) == (
        COMMITTED_US + 1,
        6,
        "binlog.000004",
        4,
    )
    assert (value["gtid"], value["thread"], value["query"]) == (None, None, None)


def test_the_rows_of_a_copy_show_where_the_log_stood() -> None:
    value = shown(block().snapshot("binlog.000003", 1547, 1_790_000_000_123_456_789))
    assert (value["snapshot"], value["file"], value["pos"]) == ("true", "binlog.000003", 1547)
    assert (value["ts_ms"], value["ts_ns"]) == (1_790_000_000_123, 1_790_000_000_123_456_789)
    assert (value["server_id"], value["row"], value["gtid"], value["thread"], value["query"]) == (
        0,
        0,
        None,
        None,
        None,
    )
