"""Debezium's stored offsets, in the forms that its users find them in."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from offsets.debezium import MysqlOffset, PostgresOffset, read
from offsets.errors import OffsetUnreadable
from offsets.position import Position

VALUE: dict[str, Any] = {
    "lsn": 27254112,
    "lsn_proc": 27254113,
    "lsn_commit": 27253984,
    "txId": 753,
    "ts_usec": 1763850000123456,
    "messageType": "INSERT",
    "transaction_id": None,
}
KEY = ["oracle", {"server": "shop"}]
JAVA_FILE = base64.b64decode((Path(__file__).parent / "connect-offsets.b64").read_text())
"""A HashMap<byte[], byte[]> as java.io.ObjectOutputStream of Java 17 wrote it: shop and crm with one shared value,
and gone with null."""


def text(*values: Any, between: str = "\n") -> bytes:
    return between.join(json.dumps(value) for value in values).encode()


def only(content: bytes) -> PostgresOffset:
    [offset] = read(content, "offset.json")
    assert isinstance(offset, PostgresOffset)
    return offset


def only_mysql(content: bytes) -> MysqlOffset:
    [offset] = read(content, "offset.json")
    assert isinstance(offset, MysqlOffset)
    return offset


def from_slot(order: int) -> Position:
    return Position(order, "", "")


def test_every_lsn_is_read() -> None:
    offset = only(text(VALUE))
    assert (offset.lsn, offset.lsn_proc, offset.lsn_commit, offset.transaction) == (27254112, 27254113, 27253984, 753)
    assert offset.stored_at is not None
    assert offset.stored_at.isoformat() == "2025-11-22T22:20:00.123456+00:00"
    assert not offset.in_snapshot


@pytest.mark.parametrize(
    "content",
    [
        text(KEY, VALUE),
        text(KEY, VALUE, between="\t"),
        text([KEY, VALUE]),
        json.dumps([KEY, VALUE], indent=4).encode(),
    ],
)
def test_the_key_names_the_server(content: bytes) -> None:
    assert only(content) == only(text(VALUE))._replace(connector="oracle", server="shop")


def test_the_last_value_of_a_key_holds_and_a_deleted_one_does_not() -> None:
    newer = {**VALUE, "lsn_commit": 27300000}
    other = ["oracle", {"server": "crm"}]
    assert only(text(KEY, VALUE, other, VALUE, KEY, newer, other, None)).lsn_commit == 27300000


def test_the_file_that_kafka_connect_writes_by_java_serialization_is_read() -> None:
    crm, shop = sorted(read(JAVA_FILE, "offsets.dat"), key=lambda offset: offset.server)
    assert isinstance(crm, PostgresOffset) and isinstance(shop, PostgresOffset)
    assert (crm.server, crm.lsn_commit) == ("crm", 27253984)
    assert (shop.server, shop.lsn, shop.lsn_commit) == ("shop", 27254112, 27253984)


def test_a_cut_file_is_refused_at_every_length() -> None:
    for size in range(len(JAVA_FILE) - 1):
        with pytest.raises(OffsetUnreadable, match=r"offsets\.dat"):
            read(JAVA_FILE[:size], "offsets.dat")


def test_we_resume_behind_the_last_whole_transaction() -> None:
    assert only(text(VALUE)).resume(from_slot(1)) == "0/19FDCE0"


def test_before_the_first_whole_transaction_we_resume_where_the_slot_begins() -> None:
    value = {"lsn": 200, "lsn_proc": 150}
    assert only(text(value)).resume(from_slot(100)) == "0/64"
    assert only(text(value)).resume(from_slot(300)) == "0/96"


MYSQL_VALUE: dict[str, Any] = {
    "transaction_id": None,
    "ts_sec": 1763850000,
    "file": "mysql-bin.000003",
    "pos": 154,
    "gtids": "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:1-2",
    "row": 1,
    "server_id": 223344,
    "event": 2,
}


def test_an_offset_of_mysql_is_read_whole_and_resumed_by_its_gtids() -> None:
    offset = only_mysql(text(KEY, MYSQL_VALUE))
    assert (offset.server, offset.file, offset.pos) == ("shop", "mysql-bin.000003", 154)
    assert (offset.event, offset.row, offset.in_snapshot) == (2, 1, False)
    assert offset.stored_at is not None
    assert offset.stored_at.isoformat() == "2025-11-22T22:20:00+00:00"
    gtids = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,4e11fa47-71ca-11e1-9e33-c80aa9429562:1-2"
    assert offset.resume(from_slot(1)) == gtids


def test_an_offset_of_mysql_without_gtids_is_resumed_by_file_and_position() -> None:
    value = {key: MYSQL_VALUE[key] for key in ("file", "pos")}
    assert only_mysql(text(value)).resume(from_slot(1)) == "mysql-bin.000003:154"
    assert only_mysql(text({**value, "snapshot": "INITIAL"})).in_snapshot


@pytest.mark.parametrize(
    ("marks", "in_snapshot"),
    [
        ({"snapshot": True, "last_snapshot_record": False}, True),
        ({"snapshot": "INITIAL", "snapshot_completed": False}, True),
        ({"snapshot": True, "last_snapshot_record": True}, False),
        ({"snapshot": "INITIAL", "snapshot_completed": True}, False),
        ({}, False),
    ],
)
def test_an_unfinished_snapshot_is_seen(marks: dict[str, Any], in_snapshot: bool) -> None:
    assert only(text({**VALUE, **marks})).in_snapshot is in_snapshot


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no Debezium offset"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (text({"file": "binlog.000001"}), "it has file, no lsn and no file"),
        (text({"lsn": "27254112"}), "no lsn"),
        (text({"lsn": True}), "no lsn"),
        (text([1]), "it has list"),
        (b"\xac\xed\x00\x05t\x00\x01a", "not a serialised java.util.HashMap"),
    ],
)
def test_anything_else_is_refused_with_the_file_and_what_is_accepted(content: bytes, reason: str) -> None:
    with pytest.raises(OffsetUnreadable, match=f"(?s)offset.json.*{reason}") as refused:
        read(content, "offset.json")
    assert "JSON" in refused.value.hint
