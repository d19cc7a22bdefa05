"""A table's version widened so that readers of its schema can read what the version before it wrote.

Source: Avro 1.12 specification, "Schema Resolution", for what a wider type reads.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from struct import Struct
from typing import Any

from schema.avro import adjusted_name
from schema.change import Avro, Column, ColumnType, Default, Encode, Table
from schema.errors import Unencodable

Convert = Callable[[bytes], bytes]
"""Avro bytes of the narrow type -> Avro bytes of the wide one. Raises Unencodable where the value would change."""

_FLOAT, _DOUBLE = Struct("<f"), Struct("<d")
_KEPT = ("connect.name", "logicalType")


def widened(table: Table, latest: Avro) -> Table:
    """`table` with what `latest`, its key's or its envelope's schema, asks for; the same where that is nothing.

    A number keeps the wider type, a column that may be null stays so, and a new NOT NULL column without a default may
    be null. A key column is only widened from int to long, which leaves its bytes as they are: a key that became
    another would be another row.
    """
    is_whole, row = _row(latest)
    fields = {field["name"]: field["type"] for field in row["fields"]}
    columns = list(table.columns)
    for i in range(len(columns)) if is_whole else table.key:
        columns[i] = _column(columns[i], fields.get(adjusted_name(columns[i].name)), i in table.key)
    return replace(table, columns=tuple(columns))


def _row(schema: Any) -> tuple[bool, Any]:
    """(whether they are all columns, the record that holds them); an empty one where the schema is no table's."""
    if not isinstance(schema, dict) or "fields" not in schema:
        return False, {"fields": []}
    for field in schema["fields"]:
        if field["name"] == "before" and isinstance(field["type"], list):
            rows = [branch for branch in field["type"] if isinstance(branch, dict) and "fields" in branch]
            return (True, rows[0]) if rows else (False, schema)
    return False, schema


def _column(column: Column, known: Avro | None, is_key: bool) -> Column:
    """`known` is the field's type in the latest version, None where it has no such field."""
    if known is None:
        needs_null = not (is_key or column.optional or column.default)
        return replace(column, optional=True) if needs_null else column
    branches = known if isinstance(known, list) else [known]
    values = [branch for branch in branches if branch != "null"]
    convert = _CONVERSIONS.get((_plain(column.type.avro), _plain(values[0]))) if len(values) == 1 else None
    if convert is not None and (convert is _same or not is_key):
        with suppress(Unencodable):  # a default that the wider type would round
            column = _converted(column, _plain(values[0]), convert)
    if "null" in branches and not (column.optional or is_key):
        column = replace(column, optional=True)
    return column


def _plain(avro: Avro) -> str:
    """The primitive type; empty for one that means more than a number."""
    if isinstance(avro, dict):
        return "" if any(name in avro for name in _KEPT) else str(avro["type"])
    return avro if isinstance(avro, str) else ""


def _converted(column: Column, wide: str, convert: Convert) -> Column:
    narrow, default = column.type, column.default
    if default is not None:
        json = float(default.json) if wide in ("float", "double") else default.json
        default = Default(json, convert(default.avro))
    unavailable = None if narrow.unavailable is None else convert(narrow.unavailable)
    encoder = narrow.encoder if convert is _same else partial(_writer, narrow.encoder, convert)
    kind = ColumnType(f"{narrow.name} as {wide}", wide, encoder, convert(narrow.zero), unavailable)
    return replace(column, type=kind, default=default)


def _writer(narrow: Callable[[bytes], Encode], convert: Convert, prefix: bytes) -> Encode:
    write = narrow(b"")

    def encode(value: bytes) -> bytes:
        return prefix + convert(write(value))

    return encode


def _same(avro: bytes) -> bytes:
    return avro


def _integer_as(number: Struct, avro: bytes) -> bytes:
    zigzag = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(avro))
    integer = (zigzag >> 1) ^ -(zigzag & 1)
    packed = number.pack(integer)
    if number.unpack(packed)[0] != integer:
        raise Unencodable(f"{integer} has more digits than the {8 * number.size} bits of its wider type hold")
    return packed


def _float_as_double(avro: bytes) -> bytes:
    return _DOUBLE.pack(*_FLOAT.unpack(avro))


_CONVERSIONS: dict[tuple[str, str], Convert] = {
    ("int", "long"): _same,
    **{(narrow, "float"): partial(_integer_as, _FLOAT) for narrow in ("int", "long")},
    **{(narrow, "double"): partial(_integer_as, _DOUBLE) for narrow in ("int", "long")},
    ("float", "double"): _float_as_double,
}
