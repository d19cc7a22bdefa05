"""Postgres' text of what it alone has as Avro; numbers and strings are schema.texts'.

Every function takes a prefix, the union branch, and gives the function that writes a value behind it. What they
accept is what a server with SESSION_SETTINGS sends (connectors.postgres.types).
"""

import json
import re
from binascii import unhexlify
from struct import Struct

from schema.change import Encode
from schema.texts import exact_integer, refuse_special, twos_complement
from schema.varint import long, sized

_POINT = Struct("<dd").pack
_WKB_POINT = b"\x01\x01\x00\x00\x00"
_MONEY_SIGNS = b"$,."
_HSTORE_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:NULL|"((?:[^"\\]|\\.)*)")(?:, |$)', re.DOTALL)


def boolean(prefix: bytes) -> Encode:
    return {b"t": prefix + b"\x01", b"f": prefix + b"\x00"}.__getitem__


def bit(prefix: bytes) -> Encode:
    """A single bit is a boolean."""
    return {b"1": prefix + b"\x01", b"0": prefix + b"\x00"}.__getitem__


def binary(prefix: bytes) -> Encode:
    """bytea in hex: ``\\xdeadbeef``."""

    def encode(text: bytes) -> bytes:
        if text[:2] != b"\\x":
            raise ValueError("not bytea in hex")
        return prefix + sized(unhexlify(text[2:]))

    return encode


def variable_scale_decimal(prefix: bytes) -> Encode:
    """numeric without scale: {scale, unscaled value}, without trailing zeros behind the point."""

    def encode(text: bytes) -> bytes:
        refuse_special(text, "decimal")
        whole, _, fraction = text.partition(b".")
        fraction = fraction.rstrip(b"0")
        return prefix + long(len(fraction)) + sized(twos_complement(exact_integer(whole + fraction)))

    return encode


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
