"""The pgoutput protocol, version 1: bytes become messages, values stay bytes.

Source: PostgreSQL manual, "Logical Replication Message Formats" and "Streaming Replication Protocol";
src/backend/replication/logical/proto.c. Every function takes a whole CopyData frame; a WAL frame is ``w``, start
LSN, end LSN, clock (8 bytes each), then the message. Pure: no I/O, no logging, no imports from above.
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from schema.change import UNCHANGED, Encode, Value

WAL_DATA = ord("w")
KEEPALIVE = ord("k")
MESSAGE_AT = 25
"""Where the message's kind stands in a WAL frame."""

BEGIN, COMMIT, ORIGIN, RELATION, TYPE, INSERT, UPDATE, DELETE, TRUNCATE, LOGICAL = b"BCORYIUDTM"

_KEEPALIVE = Struct(">xQqB")
_BEGIN = Struct(">QqI")
_COMMIT = Struct(">BQQq")
_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from

_NULL, _TEXT, _UNCHANGED, _NEW_TUPLE = b"ntuN"


Columns = Sequence[tuple[Encode, bytes | None]]
"""For each column its writer, and what stands for NULL."""


class Keepalive(NamedTuple):
    end_lsn: int
    reply_requested: bool


class Begin(NamedTuple):
    """`commit_lsn` is where the transaction's commit starts; `committed_at_us` counts from 2000-01-01 UTC."""

    commit_lsn: int
    committed_at_us: int
    xid: int


class Commit(NamedTuple):
    """`end_lsn` is the first byte behind the transaction: the position to resume from."""

    commit_lsn: int
    end_lsn: int


class RelationColumn(NamedTuple):
    name: str
    type_oid: int
    typmod: int
    in_identity: bool


class Relation(NamedTuple):
    """`identity` is the replica identity: d(efault), n(othing), f(ull), i(ndex)."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class LogicalMessage(NamedTuple):
    prefix: str
    content: bytes


class MalformedFrame(Exception):
    """The server sent what the protocol does not allow, or what this version cannot read."""


def lsn_of(frame: bytes) -> int:
    """The LSN of a WAL frame's change."""
    return int(_U64(frame, 1)[0])


def keepalive(frame: bytes) -> Keepalive:
    end_lsn, _, reply = _KEEPALIVE.unpack_from(frame, 0)
    return Keepalive(end_lsn, reply == 1)


def begin(frame: bytes) -> Begin:
    return Begin(*_BEGIN.unpack_from(frame, MESSAGE_AT + 1))


def commit(frame: bytes) -> Commit:
    _, commit_lsn, end_lsn, _ = _COMMIT.unpack_from(frame, MESSAGE_AT + 1)
    return Commit(commit_lsn, end_lsn)


def relation(frame: bytes) -> Relation:
    at = MESSAGE_AT + 1
    oid = _U32(frame, at)[0]
    schema, at = _string(frame, at + 4)
    name, at = _string(frame, at)
    identity = chr(frame[at])
    count = _U16(frame, at + 1)[0]
    at += 3
    columns = []
    for _ in range(count):
        in_identity = frame[at] == 1
        column, at = _string(frame, at + 1)
        typmod = int.from_bytes(frame[at + 4 : at + 8], "big", signed=True)
        columns.append(RelationColumn(column, _U32(frame, at)[0], typmod, in_identity))
        at += 8
    # An empty schema name stands for pg_catalog (proto.c, logicalrep_write_namespace).
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def relation_oid(frame: bytes) -> bytes:
    """The table of an insert, update or delete, as the 4 bytes that stand in the frame."""
    return frame[MESSAGE_AT + 1 : MESSAGE_AT + 5]


def truncated(frame: bytes) -> list[bytes]:
    """The tables of one TRUNCATE, as `relation_oid` gives them."""
    count = _U32(frame, MESSAGE_AT + 1)[0]
    at = MESSAGE_AT + 6
    return [frame[at + 4 * i : at + 4 * i + 4] for i in range(count)]


def logical_message(frame: bytes) -> LogicalMessage:
    prefix, at = _string(frame, MESSAGE_AT + 10)
    size = _U32(frame, at)[0]
    return LogicalMessage(prefix, frame[at + 4 : at + 4 + size])


TUPLE_AT = MESSAGE_AT + 6
"""Where the tuple of an insert starts, and of an update without an old one."""


def updated(frame: bytes) -> tuple[str, list[Value] | None, int]:
    """(what the old tuple is: ``K`` key, ``O`` whole row, ``N`` none; the old tuple; where the new one starts)."""
    kind = frame[TUPLE_AT - 1]
    if kind == _NEW_TUPLE:
        return "N", None, TUPLE_AT
    before, at = values(frame, TUPLE_AT)
    return chr(kind), before, at + 1


def deleted(frame: bytes) -> tuple[str, list[Value]]:
    """(``K`` or ``O`` as in `updated`, the old tuple)."""
    return chr(frame[TUPLE_AT - 1]), values(frame, TUPLE_AT)[0]


def written(frame: bytes, at: int, columns: Columns) -> list[bytes] | None:
    """The frame's last tuple, from `at`, each value through its column's writer: what nearly every row needs.

    None where it takes more: a value left out, a NULL that the column has no bytes for. Raises what a writer raises.
    """
    out: list[bytes] = []
    append = out.append
    at += 2
    # The size is put together from bytes because that is native code once compiled, where unpacking is a call.
    for write, null in columns:
        kind = frame[at]
        if kind == _TEXT:
            start = at + 5
            at = start + (frame[at + 1] << 24 | frame[at + 2] << 16 | frame[at + 3] << 8 | frame[at + 4])
            append(write(frame[start:at]))
        elif kind == _NULL and null is not None:
            append(null)
            at += 1
        else:
            return None
    return out if at == len(frame) else None


def values(frame: bytes, at: int) -> tuple[list[Value], int]:
    """One TupleData from `at`: its values in column order, and where it ends. Raises MalformedFrame."""
    count = _U16(frame, at)[0]
    at += 2
    out: list[Value] = []
    append = out.append
    for _ in range(count):
        kind = frame[at]
        if kind == _TEXT:
            end = at + 5 + _U32(frame, at + 1)[0]
            append(frame[at + 5 : end])
            at = end
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            at += 1
        else:
            raise MalformedFrame(f"a value of kind {chr(kind)!r} at byte {at}; expected n, t or u")
    return out, at


def _string(frame: bytes, at: int) -> tuple[str, int]:
    end = frame.index(0, at)
    return frame[at:end].decode(), end + 1
