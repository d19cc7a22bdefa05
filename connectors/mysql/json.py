"""MySQL's binary JSON as the text that the server itself would show.

A document is the type's byte and the value. An object or array holds, in two bytes each or in four where it is large,
the number of its members, its size, then where each key lies with its length in two bytes, then each value's type with
the value itself where that fits and where it lies where it does not; places count from the object's own first byte.
Source: MySQL, sql-common/json_binary.h; sql-common/json_dom.cc (wrapper_to_string); strings/dtoa.cc (my_gcvt).
"""

from binascii import b2a_base64
from json.encoder import encode_basestring as quoted
from struct import Struct
from typing import Final

from schema import texts
from schema.change import ColumnType, Encode
from schema.semantic import UNAVAILABLE, semantic
from schema.varint import long, sized

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY = 0, 1, 2, 3
_LITERAL, _INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64, _DOUBLE, _STRING = 4, 5, 6, 7, 8, 9, 10, 11, 12
_OPAQUE = 15

_LITERALS: Final = (b"null", b"true", b"false")
_KEYS: Final[dict[bytes, bytes]] = {}
"""Keys as they are shown."""
_MOST_KEYS: Final = 4096
_INTEGER_BYTES: Final = {_INT16: 2, _UINT16: 2, _INT32: 4, _UINT32: 4, _INT64: 8, _UINT64: 8}
_SCALAR_BYTES: Final = {_LITERAL: 1, _DOUBLE: 8, **_INTEGER_BYTES}
_DOUBLE_AT: Final = Struct("<d").unpack_from
_MAX_DEPTH: Final = 100

_TIMESTAMP, _DATE, _TIME, _DATETIME, _DECIMAL, _VAR_STRING = 7, 10, 11, 12, 246, 253
_DECIMAL_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_BASE64_LINE: Final = 76

Member = tuple[bytes, int, int]
"""The key, empty in an array; the value's type; where the value lies."""


def json_type() -> ColumnType:
    """JSON as the log has it."""
    return ColumnType("json", semantic("string", "io.debezium.data.Json"), document, sized(b"{}"), sized(UNAVAILABLE))


def json_text_type() -> ColumnType:
    """JSON as SELECT gives it: the same text."""
    return json_type()._replace(encoder=texts.string)


def document(prefix: bytes) -> Encode:
    """A JSON column's bytes as the log has them."""

    def encode(value: bytes) -> bytes:
        shown = _shown(value)
        return prefix + long(len(shown)) + shown

    return encode


def text(value: bytes) -> str:
    """What ``CAST(column AS CHAR)`` gives. Raises ValueError or LookupError for what is no document.

    No bytes at all are JSON's null: INSERT IGNORE leaves them in a NOT NULL column.
    """
    return _shown(value).decode()


def _shown(value: bytes) -> bytes:
    if not value:
        return b"null"
    shown: list[bytes] = []
    _show(shown, value, value[0], 1, 0)
    return b"".join(shown)


def _show(shown: list[bytes], data: bytes, kind: int, at: int, depth: int) -> None:
    if kind == _STRING:
        size = data[at]
        if size < 128:
            at += 1
        else:
            size, at = variable_size(data, at)
        shown.append(_quoted(taken(data, at, size)))
    elif kind == _INT16:
        number = data[at] | data[at + 1] << 8
        shown.append(b"%d" % (number if number < 0x8000 else number - 0x10000))
    elif kind <= LARGE_ARRAY:
        _show_members(shown, data, kind, at, depth + 1)
    elif kind == _LITERAL:
        shown.append(_LITERALS[data[at]])
    elif kind == _DOUBLE:
        shown.append(_double(float(_DOUBLE_AT(taken(data, at, 8))[0])).encode())
    elif kind == _OPAQUE:
        size, start = variable_size(data, at + 1)
        shown.append(_opaque(data[at], taken(data, start, size)).encode())
    else:
        number = int.from_bytes(taken(data, at, _INTEGER_BYTES[kind]), "little", signed=bool(kind & 1))
        shown.append(b"%d" % number)


def _show_members(shown: list[bytes], data: bytes, kind: int, at: int, depth: int) -> None:
    """As `members`, without a list of them."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"JSON nested deeper than {_MAX_DEPTH} levels")
    large = kind & 1
    keyed = kind <= LARGE_OBJECT
    width = 4 if large else 2
    count = _number(data, at, large)
    key_at = at + 2 * width
    entry_at = key_at + (count * (width + 2) if keyed else 0)
    if entry_at + count * (width + 1) > len(data):
        raise _cut_off()
    shown.append(b"{" if keyed else b"[")
    for nth in range(count):
        if nth:
            shown.append(b", ")
        if keyed:
            size = data[key_at + width] | data[key_at + width + 1] << 8
            shown.append(_key(taken(data, at + _number(data, key_at, large), size)))
            key_at += width + 2
        kind = data[entry_at]
        if is_inlined(kind, large):
            _show(shown, data, kind, entry_at + 1, depth)
        else:
            _show(shown, data, kind, at + _number(data, entry_at + 1, large), depth)
        entry_at += width + 1
    shown.append(b"}" if keyed else b"]")


def is_inlined(kind: int, large: int) -> bool:
    """The value stands where others tell the place: literals and two bytes, in large ones four."""
    return _LITERAL <= kind <= _UINT16 or (large == 1 and _UINT16 < kind <= _UINT32)


def _quoted(value: bytes) -> bytes:
    if value.isalnum():  # and so ASCII: nothing to check or escape
        return b'"%b"' % value
    return quoted(value.decode()).encode()


def _key(key: bytes) -> bytes:
    known = _KEYS.get(key)
    if known is None:
        if len(_KEYS) >= _MOST_KEYS:
            _KEYS.clear()
        known = _KEYS[key] = _quoted(key) + b": "
    return known


def members(data: bytes, kind: int, at: int) -> list[Member]:
    """What the object or array at `at` holds."""
    large = kind & 1
    keyed = kind <= LARGE_OBJECT
    width = 4 if large else 2
    count = _number(data, at, large)
    key_at = at + 2 * width
    entry_at = key_at + (count * (width + 2) if keyed else 0)
    if entry_at + count * (width + 1) > len(data):
        raise _cut_off()
    found: list[Member] = []
    key = b""
    for _ in range(count):
        if keyed:
            key = taken(data, at + _number(data, key_at, large), data[key_at + width] | data[key_at + width + 1] << 8)
            key_at += width + 2
        kind = data[entry_at]
        found.append((key, kind, entry_at + 1 if is_inlined(kind, large) else at + _number(data, entry_at + 1, large)))
        entry_at += width + 1
    return found


def _number(data: bytes, at: int, large: int) -> int:
    n = data[at] | data[at + 1] << 8
    return n | data[at + 2] << 16 | data[at + 3] << 24 if large else n


def size_of(data: bytes, kind: int, at: int) -> int:
    """How many bytes the value at `at` takes."""
    if kind <= LARGE_ARRAY:
        width = 4 if kind & 1 else 2
        return int.from_bytes(taken(data, at + width, width), "little")
    if kind in _SCALAR_BYTES:
        return _SCALAR_BYTES[kind]
    if kind not in (_STRING, _OPAQUE):
        raise ValueError(f"JSON of the unknown type {kind}")
    size, start = variable_size(data, at + 1 if kind == _OPAQUE else at)
    return start + size - at


def taken(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise _cut_off()
    return data[at : at + size]


def _cut_off() -> ValueError:
    return ValueError("JSON that ends behind its bytes")


def variable_size(data: bytes, at: int) -> tuple[int, int]:
    """(the number in seven bits a byte at `at`, the least first, where it ends)"""
    size = data[at]
    at += 1
    if size < 128:
        return size, at
    size &= 127
    shift = 7
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at
        shift += 7


def _double(n: float) -> str:
    """The shortest digits that read back as `n`, written out up to fifteen places before or behind the point."""
    if 1e-4 <= n < 1e15 or -1e15 < n <= -1e-4 or n == 0.0:
        return repr(n)
    sign = "-" if n < 0 else ""
    mantissa, _, exponent = repr(abs(n)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).rstrip("0")
    if not digits.isdigit():
        raise ValueError(f"JSON has no {n}")
    if point < -14 or 15 < point >= len(digits):
        return f"{sign}{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e{point - 1}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _opaque(kind: int, data: bytes) -> str:
    """A value of a type that JSON has not: the server's text of it, or ``base64:type<its type>:<its bytes>``."""
    if kind == _DECIMAL:
        return _decimal(data)
    if kind == _VAR_STRING:
        return quoted(data.decode())
    if kind in (_DATE, _DATETIME, _TIMESTAMP, _TIME):
        packed = int.from_bytes(taken(data, 0, 8), "little", signed=True)
        return f'"{_time(packed)}"' if kind == _TIME else f'"{_date(packed, kind != _DATE)}"'
    encoded = b2a_base64(data, newline=False).decode()
    lines = [encoded[at : at + _BASE64_LINE] for at in range(0, len(encoded), _BASE64_LINE)]
    return f'"base64:type{kind}:' + "\\n".join(lines) + '"'


def _date(packed: int, with_time: bool) -> str:
    """`packed`: 13 * year + month, day in 5 bits, hour in 5, minute and second in 6, microsecond in 24."""
    days = packed >> 41
    months = days >> 5
    date = f"{months // 13:04}-{months % 13:02}-{days & 31:02}"
    return f"{date} {_clock(packed & (1 << 41) - 1)}" if with_time else date


def _time(packed: int) -> str:
    return f"-{_clock(-packed)}" if packed < 0 else _clock(packed)


def _clock(packed: int) -> str:
    seconds = packed >> 24
    return f"{seconds >> 12:02}:{seconds >> 6 & 63:02}:{seconds & 63:02}.{packed & 0xFFFFFF:06}"


def _decimal(data: bytes) -> str:
    """A DECIMAL behind its precision and scale, one byte each: nine digits in four bytes, the first bit turned."""
    precision, scale = data[0], data[1]
    negative = not data[2] & 0x80
    number = bytes([data[2] ^ 0x80]) + data[3:]
    if negative:
        number = bytes([byte ^ 0xFF for byte in number])
    whole, at = precision - scale, 0
    groups = [whole % 9, *[9] * (whole // 9), *[9] * (scale // 9), scale % 9]
    digits = ""
    for count in groups:
        size = _DECIMAL_BYTES[count]
        if count:
            digits += f"{int.from_bytes(taken(number, at, size), 'big'):0{count}}"
        at += size
    shown = digits[:whole].lstrip("0") or "0"
    return ("-" if negative else "") + (f"{shown}.{digits[whole:]}" if scale else shown)
