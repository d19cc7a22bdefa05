"""A SELECT whose rows are read from the socket in blocks, without an object of PyMySQL for each of them."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from pymysql.constants import CR
from pymysql.constants.COMMAND import COM_QUERY
from pymysql.err import OperationalError, raise_mysql_exception

from connectors.mysql.resultset import ERROR, HEAD, LONGEST, is_end, split

_BLOCK_BYTES = 1 << 18


def select_lines(connection: Any, query: str, limit_bytes: int | None) -> Iterator[bytes]:
    """The rows of `query`, as connectors.mysql.resultset has them, one by one.

    Behind `limit_bytes` what follows is thrown away: the caller sees a prefix. Raises pymysql.MySQLError.
    """
    begin_select(connection, query)
    yield from rest_of_select(connection, limit_bytes)


def begin_select(connection: Any, query: str) -> None:
    """Up to the first row: from here on the server keeps its table as it is. Raises pymysql.MySQLError."""
    connection._execute_command(COM_QUERY, query)
    for _ in range(connection._read_packet().read_length_encoded_integer()):
        connection._read_packet()  # what the column is, which we have asked for
    connection._read_packet()


def rest_of_select(connection: Any, limit_bytes: int | None) -> Iterator[bytes]:
    """Its rows, as `select_lines` gives them."""
    data = b""
    size = 0
    while True:
        lines: list[bytes] = []
        at = split(data, 0, lines)
        kind, behind = _next(data, at)
        if kind is _Next.LONG_ROW:
            lines.append(_payload(data, at, behind))
        for line in lines:
            if limit_bytes is None or size < limit_bytes:
                size += len(line)
                yield line
        if kind is _Next.END:
            payload = _payload(data, at, behind)
            if payload[0] == ERROR:
                raise_mysql_exception(payload)
            return
        data = data[behind if kind is _Next.LONG_ROW else at :]
        if kind is _Next.PART:
            data += _block(connection, behind - at - len(data))


class _Next(Enum):
    """What stands where no more rows can be split off."""

    PART = auto()
    LONG_ROW = auto()
    END = auto()


def _next(data: bytes, at: int) -> tuple[_Next, int]:
    """(what, where it ends, as far as that is known)."""
    begin = at
    while at + HEAD <= len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        is_whole = at + HEAD + size <= len(data)
        if at == begin and is_whole and size and is_end(data[at + HEAD], size):
            return _Next.END, at + HEAD + size
        at += HEAD + size
        if is_whole and size < LONGEST:
            return _Next.LONG_ROW, at
    return _Next.PART, max(at, begin + HEAD)


def _payload(data: bytes, at: int, end: int) -> bytes:
    """Of all packets from `at` to `end`."""
    parts = []
    while at < end:
        size = int.from_bytes(data[at : at + 3], "little")
        parts.append(data[at + HEAD : at + HEAD + size])
        at += HEAD + size
    return b"".join(parts)


def _block(connection: Any, lacking: int) -> bytes:
    """What the server has sent by now; at least the `lacking` bytes where they are many."""
    block: bytes = connection._rfile.read(lacking) if lacking > _BLOCK_BYTES else connection._rfile.read1(_BLOCK_BYTES)
    if not block:
        raise OperationalError(CR.CR_SERVER_LOST, "the server ended the connection while it sent rows")
    return block
