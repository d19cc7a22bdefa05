"""The integers of MySQL's formats whose size is part of them."""

from typing import Final

from connectors.mysql.rows import MalformedEvent

_SIZES: Final = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def u16(data: bytes, at: int) -> int:
    """Little-endian, as all of these; compiled, a few additions."""
    return data[at] | data[at + 1] << 8


def u32(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24


def u56(data: bytes, at: int) -> int:
    return u32(data, at) | data[at + 4] << 32 | data[at + 5] << 40 | data[at + 6] << 48


def u64(data: bytes, at: int) -> int:
    return u56(data, at) | data[at + 7] << 56


def length_encoded(data: bytes, at: int) -> tuple[int, int]:
    """(number, where what follows starts). Source: MySQL, mysys/pack.cc. Raises MalformedEvent."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    size = _SIZES.get(first, 0)
    if not size:
        raise MalformedEvent(f"0x{first:02x} begins no length-encoded integer")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def variable(data: bytes, at: int) -> tuple[int, int]:
    """(number, where what follows starts) of an unsigned integer of the serialization library.

    As many ones as stand at the low end of the first byte, so many bytes follow it. Source: MySQL,
    libs/mysql/serialization/readme.md.
    """
    first = data[at]
    if first == 0xFF:
        return int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    size = 1
    while first & 1:
        first >>= 1
        size += 1
    return int.from_bytes(data[at : at + size], "little") >> size, at + size
