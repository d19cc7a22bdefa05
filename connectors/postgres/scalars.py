"""Postgres' text of numbers, strings and bits as Avro.

Every function takes a prefix, the union branch, and gives the function that writes a value behind it. What they
accept is what a server with SESSION_SETTINGS sends (connectors.postgres.types).
"""

import json
import re
from binascii import unhexlify
from decimal import Decimal
from functools import cache
from struct import Struct

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import long, sized, tables

_FLOAT = Struct("<f").pack
_DOUBLE = Struct("<d").pack
_POINT = Struct("<dd").pack
_WKB_POINT = b"\x01\x01\x00\x00\x00"
_SHORT = 8192
_DOT = ord(".")
_MONEY_SIGNS = b"$,."
_HSTORE_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:NULL|"((?:[^"\\]|\\.)*)")(?:, |$)', re.DOTALL)


@cache
def size_heads(prefix: bytes) -> list[bytes]:
    """`prefix` and the length, for the lengths below 8192."""
    return tables(prefix)[0][::2]


def boolean(prefix: bytes) -> Encode:
    return {b"t": prefix + b"\x01", b"f": prefix + b"\x00"}.__getitem__


def bit(prefix: bytes) -> Encode:
    """A single bit is a boolean."""
    return {b"1": prefix + b"\x01", b"0": prefix + b"\x00"}.__getitem__


def integer(prefix: bytes) -> Encode:
    last, more = tables(prefix)
    final = tables(b"")[0]

    def encode(text: bytes) -> bytes:
        n = int(text)
        z = n + n if n >= 0 else -n - n - 1
        if z < 16384:
            return last[z]
        if z < 268435456:
            return more[z & 16383] + final[z >> 14]
        return prefix + long(n)

    return encode


def real(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        return prefix + _FLOAT(float(text))

    return encode


def double(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        return prefix + _DOUBLE(float(text))

    return encode


def string(prefix: bytes) -> Encode:
    """The server's text, verbatim; the database is read in UTF-8."""
    heads = size_heads(prefix)

    def encode(text: bytes) -> bytes:
        size = len(text)
        return (heads[size] if size < _SHORT else prefix + long(size)) + text

    return encode


def binary(prefix: bytes) -> Encode:
    """bytea in hex: ``\\xdeadbeef``."""

    def encode(text: bytes) -> bytes:
        if text[:2] != b"\\x":
            raise ValueError("not bytea in hex")
        return prefix + sized(unhexlify(text[2:]))

    return encode


def decimal(scale: int, prefix: bytes) -> Encode:
    """numeric(p,s): the unscaled value as two's complement, big-endian, as short as can be."""
    heads = size_heads(prefix)
    point = ~scale

    def encode(text: bytes) -> bytes:
        try:
            if text[point] == _DOT:
                unscaled = int(text.replace(b".", b""))
            else:
                unscaled = _rescaled(text, scale) if scale else int(text)
        except (ValueError, IndexError):
            unscaled = _rescaled(text, scale)
        size = ((unscaled if unscaled >= 0 else ~unscaled).bit_length() >> 3) + 1
        head = heads[size] if size < _SHORT else prefix + long(size)
        return head + unscaled.to_bytes(size, "big", signed=True)

    return encode


def _rescaled(text: bytes, scale: int) -> int:
    """`text` at `scale` where it was written at another. Raises Unencodable where digits would be lost."""
    _refuse_special(text, "decimal")
    whole, _, fraction = text.partition(b".")
    if len(fraction) > scale and fraction[scale:].strip(b"0"):
        raise Unencodable(f"{text.decode()} has more than {scale} digits behind the point")
    return _integer(whole + fraction[:scale].ljust(scale, b"0"))


def _integer(digits: bytes) -> int:
    # int() refuses more than 4,300 digits; numeric has up to 147,455.
    return int(digits) if len(digits) <= 4300 else int(Decimal(digits.decode()))


def _refuse_special(text: bytes, form: str) -> None:
    if text in (b"NaN", b"Infinity", b"-Infinity"):
        raise Unencodable(f"a {form} cannot hold {text.decode()}")


def variable_scale_decimal(prefix: bytes) -> Encode:
    """numeric without scale: {scale, unscaled value}, without trailing zeros behind the point."""

    def encode(text: bytes) -> bytes:
        _refuse_special(text, "decimal")
        whole, _, fraction = text.partition(b".")
        fraction = fraction.rstrip(b"0")
        return prefix + long(len(fraction)) + sized(twos_complement(_integer(whole + fraction)))

    return encode


def twos_complement(n: int) -> bytes:
    """As short as can be, big-endian: what Java's BigInteger.toByteArray gives."""
    return n.to_bytes((n if n >= 0 else ~n).bit_length() // 8 + 1, "big", signed=True)


def money(prefix: bytes) -> Encode:
    """money is decimal of scale 2: ``-$1,234.11`` where lc_monetary is C."""

    def encode(text: bytes) -> bytes:
        if text[-3:-2] != b".":
            raise ValueError("not money with two digits behind the point; lc_monetary must be C")
        return prefix + sized(twos_complement(int(text.translate(None, _MONEY_SIGNS))))

    return encode


def bits(prefix: bytes) -> Encode:
    """bit(n), varbit: little-endian, without leading zero bytes; the schema gives the length."""

    def encode(text: bytes) -> bytes:
        n = int(text or b"0", 2)
        return prefix + sized(n.to_bytes((n.bit_length() + 7) // 8, "little"))

    return encode


def point(prefix: bytes) -> Encode:
    """``(1,2)`` -> {x, y, wkb, srid null}."""

    def encode(text: bytes) -> bytes:
        x, y = text[1:-1].split(b",")
        pair = _POINT(float(x), float(y))
        return prefix + pair + b"\x02" + sized(_WKB_POINT + pair) + b"\x00"

    return encode


def hstore(prefix: bytes) -> Encode:
    """hstore is a JSON object of strings and nulls."""

    def encode(text: bytes) -> bytes:
        shown = text.decode()
        pairs = {}
        at = 0
        while at < len(shown):
            pair = _HSTORE_PAIR.match(shown, at)
            if pair is None:
                raise ValueError(f"not hstore at character {at}")
            key, value = pair.groups()
            pairs[_unescaped(key)] = None if value is None else _unescaped(value)
            at = pair.end()
        return prefix + sized(json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode())

    return encode


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if "\\" in text else text
