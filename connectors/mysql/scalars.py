"""The log's numbers, bits, enums and bytes as Avro.

Every function takes a prefix, the union branch, and gives the function that writes a value behind it. A value is the
column's bytes in a rows event without their length prefix. Sources: MySQL's sql/field.cc (``pack`` of each Field),
strings/decimal.cc (``decimal2bin``), sql/rpl_record.cc; MariaDB's sql/field.cc (``Field_longstr::compress``).
"""

import zlib
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from struct import Struct

from schema.change import Encode
from schema.varint import long, size_heads, sized, tables

_LONG = Struct("<i").unpack
_SIGNED = {2: Struct("<h").unpack, 4: _LONG, 8: Struct("<q").unpack}
_UNSIGNED = {2: Struct("<H").unpack, 4: Struct("<I").unpack, 8: Struct("<Q").unpack}
_GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""By digits: the bytes of a part of a decimal."""
_GROUP_DIGITS = 9
_GROUP = 1_000_000_000
_SETS = 4096
_COMPRESSED = 0x80
_RAW = 0x08

_number = int.from_bytes
_SIZE_OF_SIZE = 0x07


def tiny(unsigned: bool, prefix: bytes) -> Encode:
    """TINYINT."""
    values = range(256) if unsigned else [*range(128), *range(-128, 0)]
    return _by_byte([prefix + long(n) for n in values])


def year(prefix: bytes) -> Encode:
    """YEAR: 0 or 1901 to 2155, in one byte."""
    return _by_byte([prefix + long(n and 1900 + n) for n in range(256)])


def _by_byte(cells: list[bytes]) -> Encode:
    def encode(value: bytes) -> bytes:
        return cells[value[0]]

    return encode


def integer(size: int, unsigned: bool, prefix: bytes) -> Encode:
    """SMALLINT, INT, BIGINT: `size` 2, 4 or 8; BIGINT UNSIGNED is `unsigned_bigint`."""
    last, more = tables(prefix)
    final = tables(b"")[0]
    unpack = (_UNSIGNED if unsigned else _SIGNED)[size]

    def encode(value: bytes) -> bytes:
        n: int = unpack(value)[0]
        z = n + n if n >= 0 else -n - n - 1
        if z < 16384:
            return last[z]
        if z < 268435456:
            return more[z & 16383] + final[z >> 14]
        return prefix + long(n)

    return encode


def medium(unsigned: bool, prefix: bytes) -> Encode:
    """MEDIUMINT: three bytes."""
    last, more = tables(prefix)
    final = tables(b"")[0]

    def encode(value: bytes) -> bytes:
        n: int = _LONG(value + b"\x00")[0] if unsigned else _LONG(b"\x00" + value)[0] >> 8
        z = n + n if n >= 0 else -n - n - 1
        return last[z] if z < 16384 else more[z & 16383] + final[z >> 14]

    return encode


def unsigned_bigint(prefix: bytes) -> Encode:
    """BIGINT UNSIGNED as a decimal of scale 0: two's complement, big-endian, as short as can be."""
    heads = size_heads(prefix)

    def encode(value: bytes) -> bytes:
        digits = value[::-1].lstrip(b"\x00")
        if not digits or digits[0] > 127:
            return heads[len(digits) + 1] + b"\x00" + digits
        return heads[len(digits)] + digits

    return encode


def verbatim(prefix: bytes) -> Encode:
    """FLOAT and DOUBLE are little-endian IEEE 754 on both sides."""

    def encode(value: bytes) -> bytes:
        return prefix + value

    return encode


def widened(prefix: bytes) -> Encode:
    """FLOAT shown as a double."""
    single, double = Struct("<f").unpack, Struct("<d").pack

    def encode(value: bytes) -> bytes:
        return prefix + double(*single(value))

    return encode


def decimal_width(precision: int, scale: int) -> int:
    whole, fraction = divmod(precision - scale, _GROUP_DIGITS), divmod(scale, _GROUP_DIGITS)
    return 4 * (whole[0] + fraction[0]) + _GROUP_BYTES[whole[1]] + _GROUP_BYTES[fraction[1]]


def decimal(precision: int, scale: int, prefix: bytes) -> Encode:
    """DECIMAL: nine digits in four bytes, counted from the point; the first bit is set unless the number is negative,
    and a negative number has all its bits turned round."""
    heads = size_heads(prefix)
    all_bits = (1 << 8 * decimal_width(precision, scale)) - 1
    sign = (all_bits + 1) >> 1
    tail_digits = scale % _GROUP_DIGITS
    tail_bits = 8 * _GROUP_BYTES[tail_digits]
    tail_mask = (1 << tail_bits) - 1
    tail_power: int = 10**tail_digits

    def encode(value: bytes) -> bytes:
        bits = _number(value) ^ sign
        negative = bits & sign
        if negative:
            bits ^= all_bits
        groups = bits >> tail_bits
        if groups >> 32:
            groups = _joined(groups)
        n = groups * tail_power + (bits & tail_mask)
        if negative:
            # ~(n - 1): as long as the number before it, and two's complement.
            n -= 1
            size = (n.bit_length() >> 3) + 1
            return heads[size] + ((1 << 8 * size) + ~n).to_bytes(size)
        size = (n.bit_length() >> 3) + 1
        return heads[size] + n.to_bytes(size)

    return encode


def _joined(groups: int) -> int:
    """Groups of nine digits in four bytes each as one number."""
    n = groups & 0xFFFFFFFF
    power = _GROUP
    groups >>= 32
    while groups:
        n += (groups & 0xFFFFFFFF) * power
        power *= _GROUP
        groups >>= 32
    return n


def bit(prefix: bytes) -> Encode:
    """A single bit is a boolean."""
    return {b"\x01": prefix + b"\x01", b"\x00": prefix + b"\x00"}.__getitem__


def bits(prefix: bytes) -> Encode:
    """BIT(n), big-endian in the log and in a SELECT: little-endian, in as many bytes as n bits need."""
    heads = size_heads(prefix)

    def encode(value: bytes) -> bytes:
        return heads[len(value)] + value[::-1]

    return encode


def enum(labels: Sequence[bytes], prefix: bytes) -> Encode:
    """ENUM: the label's number in one or two bytes; 0 is what the server made of an invalid one: the empty text."""
    cells = [prefix + sized(label) for label in (b"", *labels)]

    def encode(value: bytes) -> bytes:
        return cells[value[0] if len(value) == 1 else value[0] | value[1] << 8]

    return encode


def enum_text(labels: Sequence[bytes], prefix: bytes) -> Encode:
    """The label's number as text."""
    cells = [prefix + sized(label) for label in (b"", *labels)]

    def encode(text: bytes) -> bytes:
        return cells[int(text)]

    return encode


def members(labels: Sequence[bytes], prefix: bytes) -> Encode:
    """SET: a bit for each label, little-endian; the members in the labels' order: ``a,b``."""
    cells: dict[bytes, bytes] = {}

    def encode(value: bytes) -> bytes:
        cell = cells.get(value)
        if cell is None:
            cell = prefix + _members(labels, int.from_bytes(value, "little"))
            if len(cells) < _SETS:
                cells[value] = cell
        return cell

    return encode


def members_text(labels: Sequence[bytes], prefix: bytes) -> Encode:
    """The bits as a number's text."""
    cells: dict[bytes, bytes] = {}

    def encode(text: bytes) -> bytes:
        cell = cells.get(text)
        if cell is None:
            cell = prefix + _members(labels, int(text))
            if len(cells) < _SETS:
                cells[text] = cell
        return cell

    return encode


def _members(labels: Sequence[bytes], chosen: int) -> bytes:
    if chosen >> len(labels):
        raise ValueError(f"a member beyond the {len(labels)} known ones")
    return sized(b",".join([label for i, label in enumerate(labels) if chosen >> i & 1]))


def padded(size: int, prefix: bytes) -> Encode:
    """BINARY(n): the log leaves trailing 0x00 away."""
    head = prefix + long(size)

    def encode(value: bytes) -> bytes:
        return head + value.ljust(size, b"\x00")

    return encode


def inet4(prefix: bytes) -> Encode:
    def encode(value: bytes) -> bytes:
        return prefix + sized(str(IPv4Address(value.ljust(4, b"\x00"))).encode())

    return encode


def inet6(prefix: bytes) -> Encode:
    def encode(value: bytes) -> bytes:
        return prefix + sized(_inet6_text(value.ljust(16, b"\x00")).encode())

    return encode


def _inet6_text(value: bytes) -> str:
    """As MariaDB's ``Inet6::to_string``: a single group of zeros is left out too, and ``::1.2.3.4`` ends in IPv4."""
    groups = [value[i] << 8 | value[i + 1] for i in range(0, 16, 2)]
    gap, gap_size, size = 0, 0, 0
    for i, group in enumerate(groups):
        size = 0 if group else size + 1
        if size > gap_size:
            gap, gap_size = i - size + 1, size
    if gap == 0 and (gap_size == 6 or (gap_size == 5 and groups[5] == 0xFFFF)):
        return f"::{'ffff:' if gap_size == 5 else ''}{IPv4Address(value[12:])}"
    shown = [f"{group:x}" for group in groups]
    if not gap_size:
        return ":".join(shown)
    return f"{':'.join(shown[:gap])}::{':'.join(shown[gap + gap_size :])}"


def uuid(prefix: bytes) -> Encode:
    """MariaDB's UUID: the log has it in the order of its text, though pages do not."""
    head = prefix + long(36)

    def encode(value: bytes) -> bytes:
        digits = value.ljust(16, b"\x00").hex()
        return head + f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()

    return encode


def compressed(encoder: Callable[[bytes], Encode], prefix: bytes) -> Encode:
    """MariaDB's COMPRESSED columns: `encoder` on what was packed into a byte that tells how, the size, zlib's bytes."""
    plain = encoder(prefix)

    def encode(value: bytes) -> bytes:
        return plain(_decompressed(value))

    return encode


def _decompressed(value: bytes) -> bytes:
    """The first byte is 0 before bytes as they are. Else it is 0x80, with 0x08 where zlib's frame is left away, and in
    its low three bits how many bytes tell the size, big-endian."""
    if not value or value[0] == 0:
        return value[1:] if value else value
    if not value[0] & _COMPRESSED:
        raise ValueError(f"compressed by the unknown method {value[0] >> 4}")
    start = 1 + (value[0] & _SIZE_OF_SIZE)
    plain = zlib.decompress(value[start:], -zlib.MAX_WBITS if value[0] & _RAW else zlib.MAX_WBITS)
    if len(plain) != int.from_bytes(value[1:start], "big"):
        raise ValueError("compressed, but not of the size that it tells")
    return plain
