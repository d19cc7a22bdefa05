"""The binlog's events but for rows: bytes become small tuples.

Source: MySQL, libs/mysql/binlog/event/{control,statement}_events.h and codecs/binary.cpp, for GTID_TAGGED
libs/mysql/serialization/readme.md; MariaDB, sql/log_event.cc. A log event is a 19-byte header, then its body; the
packet's status byte and the checksum are gone. The header, little-endian: timestamp u32 in s, type u8, server id u32,
size u32 (the checksum counted), end position u32, flags u16.

How end positions behave: an event's is the file offset of what follows it, modulo 4 GB. It is 0 in events that the
server made for us alone (the ROTATE before each file, the FORMAT_DESCRIPTION before a start in the middle) and, since
MariaDB 11.4, in every event of a transaction but its first and last. What lies inside a TRANSACTION_PAYLOAD has none.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from io import BytesIO
from struct import Struct
from typing import Final, NamedTuple

import zstandard
from pymysql.charset import charset_by_id

from connectors.mysql.integers import length_encoded, u16, u32, u56, u64, variable
from connectors.mysql.rows import HEADER_BYTES, MalformedEvent

QUERY: Final = 2
STOP: Final = 3
ROTATE: Final = 4
INTVAR: Final = 5
APPEND_BLOCK: Final = 9
DELETE_FILE: Final = 11
RAND: Final = 13
USER_VAR: Final = 14
FORMAT_DESCRIPTION: Final = 15
XID: Final = 16
BEGIN_LOAD_QUERY: Final = 17
EXECUTE_LOAD_QUERY: Final = 18
TABLE_MAP: Final = 19
WRITE_ROWS_V1: Final = 23
UPDATE_ROWS_V1: Final = 24
DELETE_ROWS_V1: Final = 25
INCIDENT: Final = 26
HEARTBEAT: Final = 27
IGNORABLE: Final = 28
ROWS_QUERY: Final = 29
WRITE_ROWS: Final = 30
UPDATE_ROWS: Final = 31
DELETE_ROWS: Final = 32
GTID: Final = 33
ANONYMOUS_GTID: Final = 34
PREVIOUS_GTIDS: Final = 35
TRANSACTION_CONTEXT: Final = 36
VIEW_CHANGE: Final = 37
XA_PREPARE: Final = 38
PARTIAL_UPDATE_ROWS: Final = 39
TRANSACTION_PAYLOAD: Final = 40
HEARTBEAT_V2: Final = 41
GTID_TAGGED: Final = 42
ANNOTATE_ROWS: Final = 160
BINLOG_CHECKPOINT: Final = 161
MARIADB_GTID: Final = 162
MARIADB_GTID_LIST: Final = 163
START_ENCRYPTION: Final = 164
QUERY_COMPRESSED: Final = 165
WRITE_ROWS_COMPRESSED_V1: Final = 166
UPDATE_ROWS_COMPRESSED_V1: Final = 167
DELETE_ROWS_COMPRESSED_V1: Final = 168
WRITE_ROWS_COMPRESSED: Final = 169
UPDATE_ROWS_COMPRESSED: Final = 170
DELETE_ROWS_COMPRESSED: Final = 171

ARTIFICIAL: Final = 0x20
"""Header flag: made for us, not in the file."""
SKIPPABLE: Final = 0x80
"""Header flag LOG_EVENT_IGNORABLE_F: who does not know the type may leave the event out."""

STANDALONE: Final = 0x01
"""Flags of a `MariadbGtid`: no transaction follows but one statement, such as DDL."""
DDL: Final = 0x20
XA_PREPARED: Final = 0x40
XA_COMPLETED: Final = 0x80
START_ALTER: Final = 0x02
"""Extra flags of a `MariadbGtid`, with `binlog_alter_two_phase`: the ALTER begins, is done, did not happen."""
COMMIT_ALTER: Final = 0x04
ROLLBACK_ALTER: Final = 0x08

_BLOCK_BYTES: Final = 1 << 17
_QUERY_HEADER = Struct("<IIBHH")
_MARIADB_GTID = Struct("<QIB")
_LIST_ENTRY = Struct("<IIQ")
_FOR_US: Final = (ROTATE, FORMAT_DESCRIPTION, HEARTBEAT, HEARTBEAT_V2, MARIADB_GTID_LIST)
_EXPANDED: Final = {
    WRITE_ROWS_COMPRESSED_V1: WRITE_ROWS_V1,
    UPDATE_ROWS_COMPRESSED_V1: UPDATE_ROWS_V1,
    DELETE_ROWS_COMPRESSED_V1: DELETE_ROWS_V1,
    WRITE_ROWS_COMPRESSED: WRITE_ROWS,
    UPDATE_ROWS_COMPRESSED: UPDATE_ROWS,
    DELETE_ROWS_COMPRESSED: DELETE_ROWS,
}
TELL_NOTHING = (
    *(STOP, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE),
    *(INTVAR, RAND, USER_VAR, IGNORABLE, ROTATE),
    *(BINLOG_CHECKPOINT, MARIADB_GTID_LIST, START_ENCRYPTION),
    *(BEGIN_LOAD_QUERY, APPEND_BLOCK, DELETE_FILE),
)
"""What changes nothing and begins nothing."""
NOT_DONE = START_ALTER | ROLLBACK_ALTER
"""MariaDB may log an ALTER when it begins, and again when it ends or fails."""


class Gtid(NamedTuple):
    """`text` is ``uuid:n`` or ``uuid:tag:n``, empty for a transaction without. Times count from 1970, 0 where unknown.

    `original_commit_us` is that of the server where the transaction was first committed.
    """

    text: str
    commit_us: int
    original_commit_us: int


class MariadbGtid(NamedTuple):
    """`text` is ``domain-server-seq``; `xid`, as `xa_prepare` gives it, is empty outside XA.

    `alter_seq_no` is the sequence number of the START ALTER that a COMMIT or ROLLBACK ALTER ends. `thread` is None
    where the server does not write it.
    """

    text: str
    flags: int
    extra_flags: int
    xid: str
    alter_seq_no: int
    thread: int | None


class Query(NamedTuple):
    """`sql` is decoded by the client's charset, a byte that it does not hold being a lone surrogate.

    `error_code` is what the statement met on the server: not 0 where it was killed half way.
    """

    thread: int
    schema: str
    sql: str
    error_code: int


def timestamp_s(event: bytes) -> int:
    """When the statement began, which for rows is before the commit; 0 in an event that was made for us."""
    return u32(event, 0)


def server_id(event: bytes) -> int:
    """The server on which the change was made first."""
    return u32(event, 5)


def end_pos(event: bytes) -> int:
    """Modulo 4 GB, and 0 where the server does not say; see above."""
    return u32(event, 13)


def flags(event: bytes) -> int:
    return u16(event, 17)


def is_artificial(event: bytes) -> bool:
    """Whether the server made it for us, so that it stands nowhere in the file."""
    if flags(event) & ARTIFICIAL:
        return True
    return event[4] in _FOR_US and (timestamp_s(event) == 0 or end_pos(event) == 0)


def rotate(event: bytes) -> tuple[str, int]:
    """(file, position) of what comes next."""
    return event[27:].decode(), u64(event, 19)


def heartbeat(event: bytes) -> tuple[str, int]:
    """(file, position) that the server has sent everything up to, of both kinds of heartbeat.

    Source: MySQL codecs/binary.cpp (Heartbeat); MariaDB Heartbeat_log_event: a position that the header cannot hold
    stands before the name.
    """
    if event[4] == HEARTBEAT:
        if pos := end_pos(event):
            return event[19:].decode(), pos
        return event[27:].decode(), u64(event, 19)
    file, pos, at = "", 0, 19
    while event[at]:
        size, start = length_encoded(event, at + 1)
        if event[at] == 1:
            file = event[start : start + size].decode()
        elif event[at] == 2:
            pos = length_encoded(event, start)[0]
        at = start + size
    return file, pos


def gtid(event: bytes) -> Gtid:
    """Of GTID, ANONYMOUS_GTID and GTID_TAGGED."""
    if event[4] == GTID_TAGGED:
        return _gtid_tagged(event)
    text = f"{_uuid(event[20:36])}:{u64(event, 36)}" if event[4] == GTID else ""
    # Commit times came with MySQL 8.0.1.
    if len(event) < 68 or event[44] != 2:
        return Gtid(text, 0, 0)
    commit_us = u56(event, 61)
    if commit_us >> 55:
        return Gtid(text, commit_us & (1 << 55) - 1, u56(event, 68))
    return Gtid(text, commit_us, commit_us)


def _gtid_tagged(event: bytes) -> Gtid:
    """A message of the serialization library: version, size, last id that a reader must know, then (id, value)."""
    _, at = variable(event, 19)
    _, at = variable(event, at)
    must_know, at = variable(event, at)
    if must_know > 11:
        raise MalformedEvent(f"a GTID_TAGGED event has field {must_know}, which this version does not know")
    uuid, tag = b"", b""
    numbers = [0] * 12
    while at < len(event):
        field, at = variable(event, at)
        if field == 1:
            octets = []
            for _ in range(16):
                octet, at = variable(event, at)
                octets.append(octet)
            uuid = bytes(octets)
        elif field == 3:
            length, at = variable(event, at)
            tag = event[at : at + length]
            at += length
        elif field < 12:
            numbers[field], at = variable(event, at)
        else:
            break
    commit_us = numbers[6]
    text = f"{_uuid(uuid)}:{tag.decode()}:{numbers[2] >> 1}"
    return Gtid(text, commit_us, numbers[7] or commit_us)


def mariadb_gtid(event: bytes) -> MariadbGtid:
    seq_no, domain, of_flags = _MARIADB_GTID.unpack_from(event, 19)
    at = 32 + (8 if of_flags & 0x02 else 0)
    xid, extra, alter_seq_no = "", 0, 0
    thread = None
    if of_flags & (XA_PREPARED | XA_COMPLETED):
        sizes = (event[at + 4], event[at + 5])
        xid = _xid(u32(event, at), event[at + 6 : at + 6 + sum(sizes)], sizes[0])
        at += 6 + sum(sizes)
    if at < len(event):
        extra = event[at]
        at += 2 if extra & 0x01 else 1
        if extra & (COMMIT_ALTER | ROLLBACK_ALTER):
            alter_seq_no = u64(event, at)
            at += 8
        if extra & 0x10:
            thread = u32(event, at)
    return MariadbGtid(f"{domain}-{server_id(event)}-{seq_no}", of_flags, extra, xid, alter_seq_no, thread)


def mariadb_gtid_list(event: bytes) -> str:
    """What the files before this one hold, as MariadbGtids reads it; one domain may occur with several servers."""
    count = u32(event, 19) & 0x0FFFFFFF
    entries = [_LIST_ENTRY.unpack_from(event, 23 + 16 * i) for i in range(count)]
    return ",".join(f"{domain}-{server}-{seq_no}" for domain, server, seq_no in entries)


def query(event: bytes) -> Query:
    """Of QUERY, QUERY_COMPRESSED and EXECUTE_LOAD_QUERY."""
    thread, _, schema_size, error_code, status_size = _QUERY_HEADER.unpack_from(event, 19)
    at = 45 if event[4] == EXECUTE_LOAD_QUERY else 32
    collation = _client_collation(event[at : at + status_size])
    at += status_size
    schema = event[at : at + schema_size].decode()
    sql = event[at + schema_size + 1 :]
    if event[4] == QUERY_COMPRESSED:
        sql = _inflated(sql)
    return Query(thread, schema, _decoded(sql, collation), error_code)


def _client_collation(status: bytes) -> int:
    """Q_CHARSET_CODE's first number, 0 where it is absent. What may stand before it has these sizes."""
    at = 0
    while at < len(status):
        code = status[at]
        if code == 4:
            return u16(status, at + 1)
        if code in (0, 3):
            at += 5
        elif code == 1:
            at += 9
        elif code == 6:
            at += 2 + status[at + 1]
        else:
            break
    return 0


def _decoded(sql: bytes, collation: int) -> str:
    try:
        encoding = charset_by_id(collation).encoding
    except KeyError:  # MariaDB's UCA 14 collations of utf8mb4 among them
        encoding = "utf8"
    return sql.decode(encoding, "surrogateescape")


def rows_query(event: bytes) -> str:
    """Of ROWS_QUERY, whose length byte is cut off at 255, and MariaDB's ANNOTATE_ROWS."""
    return event[19 if event[4] == ANNOTATE_ROWS else 20 :].decode("utf-8", "surrogateescape")


def xa_prepare(event: bytes) -> tuple[str, bool]:
    """(the xid as XA statements in the log show it, ``X'7831',X'',1``; whether this is XA COMMIT ... ONE PHASE)."""
    form, gtrid_size, bqual_size = (u32(event, at) for at in (20, 24, 28))
    return _xid(form, event[32 : 32 + gtrid_size + bqual_size], gtrid_size), event[19] != 0


def _xid(form: int, both: bytes, gtrid_size: int) -> str:
    return f"X'{both[:gtrid_size].hex()}',X'{both[gtrid_size:].hex()}',{form}"


def incident(event: bytes) -> str:
    """What the server says it could not log."""
    return event[22 : 22 + event[21]].decode("utf-8", "replace")


def unpacked(event: bytes) -> Iterator[bytes]:
    """The log events of a TRANSACTION_PAYLOAD, decompressed while they are read. Raises MalformedEvent."""
    compression, at = 255, 19
    while event[at]:
        size, start = length_encoded(event, at + 1)
        if event[at] == 2:
            compression = length_encoded(event, start)[0]
        at = start + size
    packed = BytesIO(event[at + 1 :])
    if compression == 0:
        read: Callable[[int], bytes] = zstandard.ZstdDecompressor().stream_reader(packed).read
    elif compression == 255:
        read = packed.read
    else:
        raise MalformedEvent(f"a TRANSACTION_PAYLOAD event has compression type {compression}, which is unknown")
    try:
        yield from _split(read)
    except zstandard.ZstdError:
        raise MalformedEvent("a TRANSACTION_PAYLOAD event cannot be decompressed") from None


def _split(read: Callable[[int], bytes]) -> Iterator[bytes]:
    rest, need = b"", HEADER_BYTES
    while block := read(max(need, _BLOCK_BYTES)):
        rest += block
        at = 0
        while (need := at + HEADER_BYTES - len(rest)) <= 0:
            stop = at + u32(rest, at + 9)
            if (need := stop - len(rest)) > 0:
                break
            yield rest[at:stop]
            at = stop
        rest = rest[at:]
    if rest:
        raise MalformedEvent("a TRANSACTION_PAYLOAD event ends within one of its events")


def expanded(event: bytes) -> bytes:
    """MariaDB's compressed rows event as the plain one. Its end position stays, its size is the plain event's."""
    of_kind = _EXPANDED[event[4]]
    at = 27
    if of_kind >= WRITE_ROWS:
        at += u16(event, 27)
    columns, at = length_encoded(event, at)
    at += (columns + 7) // 8 * (2 if of_kind in (UPDATE_ROWS_V1, UPDATE_ROWS) else 1)
    rows = _inflated(event[at:])
    size = (at + len(rows)).to_bytes(4, "little")
    return event[:4] + bytes((of_kind,)) + event[5:9] + size + event[13:at] + rows


def _inflated(packed: bytes) -> bytes:
    """MariaDB's binlog_buf_uncompress: a byte 0x80 | how many bytes, big-endian, hold the plain size; then zlib."""
    if not packed or packed[0] & 0xF0 != 0x80:
        raise MalformedEvent("a compressed event is not compressed by zlib")
    at = 1 + (packed[0] & 0x07)
    try:
        plain = zlib.decompress(packed[at:])
    except zlib.error:
        raise MalformedEvent("a compressed event cannot be decompressed") from None
    if len(plain) != int.from_bytes(packed[1:at], "big"):
        raise MalformedEvent("a compressed event has not the size that it claims")
    return plain


@lru_cache(256)
def _uuid(octets: bytes) -> str:
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
