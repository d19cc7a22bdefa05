"""Postgres' text of arrays as Avro: ``{1,NULL,"a\\"b"}``.

Source: PostgreSQL manual, "Array Input and Output Syntax"; array_out quotes what is empty, is NULL, or holds a
brace, a quote, a backslash, white space or the delimiter. An array has one dimension here and starts at 1: its
column was given the type of one, and a value of two dimensions, or of other bounds, has no place in it.
"""

import re
from collections.abc import Callable

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import long

_ELEMENT = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^,"{}\\]+))(?:,|$)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NULL_ITEM = b"\x00"
_END = b"\x00"


def array(element: Callable[[bytes], Encode], prefix: bytes) -> Encode:
    """An array of ``[null, T]``; `element` is T's encoder."""
    encode_item = element(b"\x02")

    def encode(text: bytes) -> bytes:
        if text == b"{}":
            return prefix + _END
        items = [_NULL_ITEM if item is None else encode_item(item) for item in elements(text)]
        return b"".join((prefix, long(len(items)), *items, _END))

    return encode


def elements(text: bytes) -> list[bytes | None]:
    """The elements of a one-dimensional array. Raises Unencodable for any other, ValueError for no array."""
    if text[:1] == b"[" or text[:2] == b"{{":
        raise Unencodable("an array column holds one dimension that starts at 1, as its first value is numbered")
    if text[:1] != b"{" or text[-1:] != b"}":
        raise ValueError("not an array")
    inside = text[1:-1]
    if not inside:
        return []
    if b'"' not in inside:
        return [None if item == b"NULL" else item for item in inside.split(b",")]
    items: list[bytes | None] = []
    at = 0
    while at < len(inside):
        match = _ELEMENT.match(inside, at)
        if match is None:
            raise ValueError(f"not an array at byte {at + 1}")
        quoted, plain = match.groups()
        if plain is not None:
            items.append(None if plain == b"NULL" else plain)
        else:
            items.append(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
        at = match.end()
    return items
