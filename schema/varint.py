"""Avro's variable-length integers: zigzag, then seven bits a byte, the least first, bit 7 set on all but the last.

Source: Apache Avro specification, "Binary Encoding". Two table look-ups write any number below 2^28.
"""

from functools import cache

SHORT = 8192
"""Below it a length takes two bytes, and `size_heads` holds it."""

_FINAL = [bytes([z]) for z in range(128)] + [bytes([z & 127 | 128, z >> 7]) for z in range(128, 16384)]
_MORE = [bytes([z & 127 | 128, z >> 7 | 128]) for z in range(16384)]


@cache
def tables(prefix: bytes) -> tuple[list[bytes], list[bytes]]:
    """`prefix` and fourteen bits: the last of a number, and such as more bits follow. For writers bound to a prefix."""
    return [prefix + final for final in _FINAL], [prefix + more for more in _MORE]


@cache
def size_heads(prefix: bytes) -> list[bytes]:
    """`prefix` and the length, for the lengths below SHORT."""
    return tables(prefix)[0][::2]


def long(n: int) -> bytes:
    """Avro `int` and `long`."""
    z = n + n if n >= 0 else -n - n - 1
    if z < 16384:
        return _FINAL[z]
    if z < 268435456:
        return _MORE[z & 16383] + _FINAL[z >> 14]
    if z < 1 << 42:
        return _MORE[z & 16383] + _MORE[z >> 14 & 16383] + _FINAL[z >> 28]
    if z < 1 << 56:
        return _MORE[z & 16383] + _MORE[z >> 14 & 16383] + _MORE[z >> 28 & 16383] + _FINAL[z >> 42]
    if z >= 1 << 64:
        raise OverflowError(f"{n} has more than 64 bits")
    return _MORE[z & 16383] + _MORE[z >> 14 & 16383] + _MORE[z >> 28 & 16383] + _MORE[z >> 42 & 16383] + _FINAL[z >> 56]


def sized(value: bytes) -> bytes:
    """Avro `bytes` and `string`: the length in bytes, then the value."""
    return long(len(value)) + value
