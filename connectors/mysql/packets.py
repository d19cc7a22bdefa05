"""The packets that carry a binlog: bytes become log events.

Source: MySQL manual, "MySQL Packets": length u24, sequence number u8, payload; a payload of 0xFFFFFF bytes goes on in
the next packet. Of a dump the payload is a status byte, 0 for a log event, and the log event. Pure: no I/O.
"""

from typing import Final
from zlib import crc32

from connectors.mysql.integers import u32

LONGEST: Final = 0xFFFFFF
CHECKSUM_BYTES: Final = 4
_HEAD: Final = 4
_SHORTEST: Final = 1 + 19 + CHECKSUM_BYTES
_ROTATE: Final = 4
_FORMAT_DESCRIPTION: Final = 15


def split(data: bytes, at: int, has_checksum: bool, events: list[bytes]) -> int:
    """Append the log events of the packets from `at` on, without checksums; where it stopped.

    That is the end, or the first packet which needs a closer look: not whole, longer than one packet, no log event,
    ROTATE, FORMAT_DESCRIPTION, or with another checksum than it should have.
    """
    end = len(data)
    while at + _HEAD + _SHORTEST <= end:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        start = at + _HEAD + 1
        stop = at + _HEAD + size
        if stop > end or size < _SHORTEST or size == LONGEST or data[start - 1]:
            break
        kind = data[start + 4]
        if kind in (_ROTATE, _FORMAT_DESCRIPTION):
            break
        if has_checksum:
            event = data[start : stop - CHECKSUM_BYTES]
            if crc32(event) != u32(data, stop - CHECKSUM_BYTES):
                break
            events.append(event)
        else:
            events.append(data[start:stop])
        at = stop
    return at


def checksum_matches(event: bytes) -> bool:
    """Of a log event that ends with its CRC32."""
    return crc32(event[:-CHECKSUM_BYTES]) == int.from_bytes(event[-CHECKSUM_BYTES:], "little")


def end_of(data: bytes, at: int) -> int:
    """Where the payload that begins at `at` ends, all its packets counted; behind `data` where it is not whole.

    It may then end later still: as much as is known is told.
    """
    while at + _HEAD <= len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        at += _HEAD + size
        if size < LONGEST:
            return at
    return at + _HEAD


def payload(data: bytes, at: int, stop: int) -> bytes:
    """Of all the packets from `at` to `stop`, put together."""
    parts = []
    while at < stop:
        size = int.from_bytes(data[at : at + 3], "little")
        parts.append(data[at + _HEAD : at + _HEAD + size])
        at += _HEAD + size
    return b"".join(parts)
