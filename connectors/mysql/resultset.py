"""The rows of a query as the server sends them: bytes become one line per row, a line becomes cells.

Source: MySQL manual, "Text Resultset": each row is a packet (length u24, sequence number u8, payload), its payload a
length-encoded string per column, 0xFB for NULL. Pure: no I/O.
"""

from typing import Final

from connectors.mysql.integers import length_encoded
from schema.change import Encode

LONGEST: Final = 0xFFFFFF
HEAD: Final = 4
_NULL: Final = 0xFB
_EOF: Final = 0xFE
ERROR: Final = 0xFF
_LONGEST_EOF: Final = 8


def split(data: bytes, at: int, lines: list[bytes]) -> int:
    """Append the rows from `at` on to `lines`; where it stopped.

    That is the end, or the first packet that is not whole, longer than one packet, or no row.
    """
    end = len(data)
    while at + HEAD < end:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        start = at + HEAD
        stop = start + size
        if stop > end or size == LONGEST or is_end(data[start], size):
            break
        lines.append(data[start:stop])
        at = stop
    return at


def is_end(first: int, size: int) -> bool:
    """Whether a packet of `size` bytes that begin with `first` is no row but ends them: EOF, or an error."""
    return first == ERROR or (first == _EOF and size <= _LONGEST_EOF)


def cells(line: bytes) -> list[bytes | None]:
    """A row's columns as text, None for NULL."""
    found: list[bytes | None] = []
    at = 0
    while at < len(line):
        if line[at] == _NULL:
            found.append(None)
            at += 1
            continue
        size, at = length_encoded(line, at)
        found.append(line[at : at + size])
        at += size
    return found


def written(line: bytes, columns: list[tuple[Encode, bytes | None]]) -> list[bytes]:
    """A row's columns as Avro, by each one's writer and what stands for NULL, None where nothing may.

    Raises LookupError for a NULL that may not stand, and what the writers raise.
    """
    row: list[bytes] = []
    at = 0
    for write, null in columns:
        if line[at] == _NULL:
            if null is None:
                raise LookupError("nothing stands for NULL")
            row.append(null)
            at += 1
            continue
        size, at = length_encoded(line, at)
        row.append(write(line[at : at + size]))
        at += size
    if at != len(line):
        raise LookupError(f"a row that does not end with its {len(columns)} columns")
    return row
