"""Frames are built as the manual's "Logical Replication Message Formats" lays them out."""

from struct import pack

import pytest

from connectors.postgres import pgoutput
from connectors.postgres.pgoutput import Begin, Commit, Keepalive, MalformedFrame, RelationColumn
from schema.change import UNCHANGED


def wal(message: bytes, lsn: int = 0x31C6530) -> bytes:
    return b"w" + pack(">QQq", lsn, lsn + 8, 0) + message


def tuple_data(*values: bytes | str | None) -> bytes:
    def one(value: bytes | str | None) -> bytes:
        if value is None:
            return b"n"
        return b"u" if isinstance(value, str) else b"t" + pack(">I", len(value)) + value

    return pack(">H", len(values)) + b"".join(map(one, values))


def test_a_begin_gives_commit_lsn_time_and_transaction_id() -> None:
    assert pgoutput.begin(wal(b"B" + pack(">QqI", 77, -5, 4_000_000_000))) == Begin(77, -5, 4_000_000_000)


def test_a_commit_gives_its_start_and_the_position_behind_it() -> None:
    assert pgoutput.commit(wal(b"C" + pack(">BQQq", 0, 77, 99, 0))) == Commit(77, 99)


def test_a_keepalive_gives_the_end_of_the_log_and_whether_an_answer_is_wanted() -> None:
    assert pgoutput.keepalive(b"k" + pack(">QqB", 1 << 40, 0, 1)) == Keepalive(1 << 40, True)
    assert pgoutput.keepalive(b"k" + pack(">QqB", 5, 0, 0)) == Keepalive(5, False)


def test_a_relation_gives_names_identity_and_columns_with_their_types() -> None:
    columns = b"\x01id\x00" + pack(">Ii", 20, -1) + b"\x00na\xc3\xafve\x00" + pack(">Ii", 1700, 655366)
    relation = pgoutput.relation(
        wal(b"R" + pack(">I", 16385) + b"public\x00t\xc3\xa4ble\x00d" + pack(">H", 2) + columns)
    )
    assert relation[:4] == (16385, "public", "täble", "d")
    assert relation.columns == (RelationColumn("id", 20, -1, True), RelationColumn("naïve", 1700, 655366, False))


def test_an_empty_schema_name_stands_for_pg_catalog() -> None:
    relation = pgoutput.relation(wal(b"R" + pack(">I", 1) + b"\x00t\x00d" + pack(">H", 0)))
    assert relation.schema == "pg_catalog"


def test_values_keep_null_empty_and_unchanged_apart() -> None:
    frame = wal(b"I" + pack(">I", 16385) + b"N" + tuple_data(b"1", b"", None, "unchanged", b"x" * 70_000, None))
    assert pgoutput.relation_oid(frame) == pack(">I", 16385)
    assert pgoutput.values(frame, pgoutput.TUPLE_AT)[0] == [b"1", b"", None, UNCHANGED, b"x" * 70_000, None]


@pytest.mark.parametrize(("kind", "old"), [("K", tuple_data(b"1", None)), ("O", tuple_data(b"1", b"a"))])
def test_an_update_tells_key_from_whole_old_row(kind: str, old: bytes) -> None:
    frame = wal(b"U" + pack(">I", 1) + kind.encode() + old + b"N" + tuple_data(b"2", b"b"))
    found, before, at = pgoutput.updated(frame)
    assert (found, pgoutput.values(frame, at)[0]) == (kind, [b"2", b"b"])
    assert before == [b"1", None if kind == "K" else b"a"]


def test_an_update_without_an_old_tuple_has_none() -> None:
    frame = wal(b"U" + pack(">I", 1) + b"N" + tuple_data(b"2", b"b"))
    kind, before, at = pgoutput.updated(frame)
    assert (kind, before, pgoutput.values(frame, at)[0]) == ("N", None, [b"2", b"b"])


def test_a_delete_gives_the_old_tuple() -> None:
    assert pgoutput.deleted(wal(b"D" + pack(">I", 1) + b"K" + tuple_data(b"9", None))) == ("K", [b"9", None])


def test_a_row_is_written_while_it_is_read_unless_it_takes_more() -> None:
    columns = [(lambda value: b"<" + value + b">", None), (lambda value: value.upper(), b"-")]

    def written(*values: bytes | str | None) -> list[bytes] | None:
        return pgoutput.written(wal(b"I" + pack(">I", 1) + b"N" + tuple_data(*values)), pgoutput.TUPLE_AT, columns)

    assert written(b"1", b"a") == [b"<1>", b"A"]
    assert written(b"1", None) == [b"<1>", b"-"]
    assert written(None, b"a") is None
    assert written(b"1", "unchanged") is None
    assert written(b"1", b"a", b"one too many") is None


def test_a_truncate_names_every_table() -> None:
    frame = wal(b"T" + pack(">IBII", 2, 1, 16385, 16390))
    assert pgoutput.truncated(frame) == [pack(">I", 16385), pack(">I", 16390)]


def test_a_logical_message_gives_prefix_and_content() -> None:
    frame = wal(b"M" + pack(">BQ", 1, 5) + b"tailrace\x00" + pack(">I", 3) + b"low")
    assert pgoutput.logical_message(frame) == ("tailrace", b"low")


def test_a_value_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MalformedFrame, match="'b'"):
        pgoutput.values(
            wal(b"I" + pack(">I", 1) + b"N" + pack(">H", 1) + b"b" + pack(">I", 1) + b"x"), pgoutput.TUPLE_AT
        )
