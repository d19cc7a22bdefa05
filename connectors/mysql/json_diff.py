"""Partial updates of JSON columns: the log has the document before and what was done to it.

The rows event is PARTIAL_UPDATE_ROWS, written where binlog_row_value_options is PARTIAL_JSON. Its after images begin
with the value options; where the first of them is set, a bit for each JSON column of the table follows, in the image
or not, set where the column's bytes are differences. Source: MySQL, sql/log_event.cc (Rows_log_event, "shared-image");
sql/json_diff.h and .cc.
"""

import json
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from connectors.mysql.json import LARGE_ARRAY, LARGE_OBJECT, is_inlined, members, size_of, taken

_PARTIAL_JSON: Final = 1
_REPLACE, _INSERT, _REMOVE = 0, 1, 2
_LEG: Final = re.compile(rb'\.(?:("(?:[^"\\]|\\.)*")|([^."\[]+))|\[(last)?-?([0-9]*)\]', re.DOTALL)
_COUNT_AND_SIZE: Final = Struct("<II").pack
_KEY: Final = Struct("<IH").pack
_VALUE: Final = Struct("<BI").pack

_Leg = bytes | int
"""A member's key, or the number of an array's cell, from the end as Python counts: ``last-1`` is -2."""


def partial_columns(data: bytes, at: int, json_columns: Sequence[int]) -> tuple[list[int], int]:
    """(which of `json_columns`, all that the table has, are differences in the after image at `at`; where its bits for
    NULL begin). Raises ValueError for options that no server writes."""
    options = data[at]
    at += 1
    if not options:
        return [], at
    if options != _PARTIAL_JSON:
        raise ValueError(f"the unknown row value options {options}")
    end = at + (len(json_columns) + 7) // 8
    bits = int.from_bytes(data[at:end], "little")
    return [column for i, column in enumerate(json_columns) if bits >> i & 1], end


def applied(before: bytes, diffs: bytes) -> bytes:
    """The document `before` with `diffs` done to it, as binary JSON like any other.

    Raises ValueError or LookupError where they do not fit each other.
    """
    if not diffs:
        return before
    document = _Opened(before)
    for operation, path, value in _diffs(diffs):
        legs = _legs(path)
        if not legs:
            raise ValueError("a difference of the whole document")
        holder = document
        for leg in legs[:-1]:
            holder = holder.opened(leg)
        holder.change(operation, legs[-1], value)
    kind, value = document.written()
    return bytes([kind]) + value


def _diffs(diffs: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(operation, path, binary JSON of the new value, empty for a removal)"""
    at = 0
    while at < len(diffs):
        operation = diffs[at]
        path, at = _sized(diffs, at + 1)
        value = b""
        if operation != _REMOVE:
            value, at = _sized(diffs, at)
        yield operation, path, value


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    """(the bytes behind their length at `at`, where they end); the length is the protocol's net_field_length."""
    size = data[at]
    at += 1
    if size > 250:
        width = {252: 2, 253: 3, 254: 8}[size]
        size = int.from_bytes(taken(data, at, width), "little")
        at += width
    return taken(data, at, size), at + size


def _legs(path: bytes) -> list[_Leg]:
    """``$.name."a key"[3][last-1]``, as the server writes paths."""
    legs: list[_Leg] = []
    at = 1
    while at < len(path):
        leg = _LEG.match(path, at)
        if leg is None:
            raise ValueError(f"no path of JSON: {path!r}")
        quoted, name, last, cell = leg.groups()
        if quoted:
            legs.append(json.loads(quoted).encode())
        elif name:
            legs.append(name)
        else:
            legs.append(-1 - int(cell or 0) if last else int(cell))
        at = leg.end()
    return legs


class _Opened:
    """An object or array of which something is to be changed; what nobody touches stays binary JSON."""

    def __init__(self, value: bytes) -> None:
        """Raises ValueError for a scalar."""
        kind = value[0]
        if kind > LARGE_ARRAY:
            raise ValueError("a path that leads into a scalar")
        found = members(value, kind, 1)
        self._keys = [key for key, _, _ in found] if kind <= LARGE_OBJECT else None
        self._values: list[bytes | _Opened] = [
            bytes([kind]) + taken(value, at, size_of(value, kind, at)) for _, kind, at in found
        ]

    def opened(self, leg: _Leg) -> "_Opened":
        at = self._index(leg)
        child = self._values[at]
        if isinstance(child, bytes):
            child = self._values[at] = _Opened(child)
        return child

    def change(self, operation: int, leg: _Leg, value: bytes) -> None:
        if operation == _INSERT:
            self._insert(leg, value)
        elif operation == _REPLACE:
            self._values[self._index(leg)] = value
        elif operation == _REMOVE:
            at = self._index(leg)
            del self._values[at]
            if self._keys is not None:
                del self._keys[at]
        else:
            raise ValueError(f"the unknown operation {operation} on JSON")

    def _index(self, leg: _Leg) -> int:
        if self._keys is not None and leg in self._keys:
            return self._keys.index(leg)
        if self._keys is None and isinstance(leg, int) and -len(self._values) <= leg < len(self._values):
            return leg
        raise _nowhere(leg)

    def _insert(self, leg: _Leg, value: bytes) -> None:
        if isinstance(leg, int) and self._keys is None:
            self._values.insert(leg, value)
        elif isinstance(leg, bytes) and self._keys is not None and leg not in self._keys:
            at = bisect([_rank(key) for key in self._keys], _rank(leg))
            self._keys.insert(at, leg)
            self._values.insert(at, value)
        else:
            raise _nowhere(leg)

    def written(self) -> tuple[int, bytes]:
        """(type, value) in the large form, which holds everything."""
        keys = self._keys or []
        end = 8 + 6 * len(keys) + 5 * len(self._values)
        entries: list[bytes] = []
        bodies = list(keys)
        for key in keys:
            entries.append(_KEY(end, len(key)))
            end += len(key)
        for value in self._values:
            kind, body = (value[0], value[1:]) if isinstance(value, bytes) else value.written()
            if is_inlined(kind, 1):
                entries.append(bytes([kind]) + body.ljust(4, b"\x00"))
            else:
                entries.append(_VALUE(kind, end))
                bodies.append(body)
                end += len(body)
        whole = b"".join((_COUNT_AND_SIZE(len(self._values), end), *entries, *bodies))
        return LARGE_ARRAY if self._keys is None else LARGE_OBJECT, whole


def _rank(key: bytes) -> tuple[int, bytes]:
    """Short keys stand before long ones."""
    return len(key), key


def _nowhere(leg: _Leg) -> ValueError:
    return ValueError(f"a difference at {leg!r}, which the document does not have, or has already")
