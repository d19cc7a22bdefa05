"""The goldens in tests/golden/postgres as the program's own objects."""

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from connectors.postgres.types import TypeInfo, column_type, constant_default
from schema.avro import adjusted_name
from schema.change import UNCHANGED, Avro, Column, Table, Value

GOLDEN = Path(__file__).parent.parent / "golden" / "postgres"


class GoldenTable(NamedTuple):
    table: Table
    topic: str
    key_schema: Any
    value_schema: Any


class GoldenChange(NamedTuple):
    """`kind` is r, c, u or d; `image` what `old` is: K, O or N; `events` the engine's (key, value) bodies."""

    table: str
    kind: str
    image: str
    old: list[Value] | None
    new: list[Value] | None
    events: list[tuple[bytes | None, bytes | None]]


@cache
def golden_tables() -> dict[str, GoldenTable]:
    content = json.loads((GOLDEN / "tables.json").read_text())
    types = {info.oid: info for info in (TypeInfo(*row) for row in content["types"])}
    return {name: _table(name, shown, types) for name, shown in content["tables"].items()}


def _table(name: str, shown: dict[str, Any], types: dict[int, TypeInfo]) -> GoldenTable:
    columns = []
    for c in shown["columns"]:
        kind = column_type(c["oid"], c["typmod"], types)
        columns.append(Column(c["name"], kind, not c["not_null"], constant_default(c["default"], kind)))
    at = {adjusted_name(column.name): i for i, column in enumerate(columns)}
    key_schema = shown["key_schema"]
    key = tuple(at[field["name"]] for field in key_schema["fields"]) if key_schema else ()
    return GoldenTable(Table(name, tuple(columns), key), shown["topic"], key_schema, shown["value_schema"])


@cache
def golden_changes() -> list[GoldenChange]:
    lines = (GOLDEN / "changes.jsonl").read_text().splitlines()
    return [_change(json.loads(line)) for line in lines]


def _change(shown: dict[str, Any]) -> GoldenChange:
    return GoldenChange(
        shown["table"],
        shown["kind"],
        shown.get("image", "N"),
        _values(shown.get("old")),
        _values(shown.get("new")),
        [(_body(event["key"]), _body(event["value"])) for event in shown["events"]],
    )


def _values(texts: Sequence[Any] | None) -> list[Value] | None:
    if texts is None:
        return None
    return [None if text is None else UNCHANGED if isinstance(text, dict) else text.encode() for text in texts]


def _body(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def decoded(body: bytes, schema: Avro) -> Any:
    """`body` read whole, logical types left as they are written. Fails where a byte is left over."""
    stream = io.BytesIO(body)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(_bare(schema)), None)
    assert not stream.read()
    return value


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    nested = {name: _bare(schema[name]) for name in ("type", "fields", "items") if name in schema}
    return {name: schema[name] for name in ("name", "namespace") if name in schema} | nested
