"""A table's Avro schemas: Debezium's, to the order of the attributes.

Source: Debezium's SchemaFactory, Envelope and SchemaNameAdjuster (`schema.name.adjustment.mode` and
`field.name.adjustment.mode` = `avro`); Confluent's AvroData for the order of the `connect.*` attributes.
"""

import re
from collections.abc import Iterable
from struct import Struct
from typing import Any

from schema.change import Avro, Column, Table
from schema.errors import Incompatible

_FLOAT = Struct("f")
_CLOCK = [{"name": name, "type": ["null", "long"], "default": None} for name in ("ts_ms", "ts_us", "ts_ns")]
_TRANSACTION = {
    "type": "record",
    "name": "block",
    "namespace": "event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total_order", "type": "long"},
        {"name": "data_collection_order", "type": "long"},
    ],
    "connect.version": 1,
    "connect.name": "event.block",
}
SOURCE_FIELDS: list[Avro] = [
    {"name": "version", "type": "string"},
    {"name": "connector", "type": "string"},
    {"name": "name", "type": "string"},
    {"name": "ts_ms", "type": "long"},
    {
        "name": "snapshot",
        "type": [
            {
                "type": "string",
                "connect.version": 1,
                "connect.parameters": {
                    "allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"
                },
                "connect.default": "false",
                "connect.name": "io.debezium.data.Enum",
            },
            "null",
        ],
        "default": "false",
    },
    {"name": "db", "type": "string"},
    {"name": "sequence", "type": ["null", "string"], "default": None},
    {"name": "ts_us", "type": ["null", "long"], "default": None},
    {"name": "ts_ns", "type": ["null", "long"], "default": None},
]
"""What the `source` struct of every database begins with (Debezium's AbstractSourceInfoStructMaker)."""


def topic_name(prefix: str, table: str) -> str:
    """``prefix.schema.table`` with what a topic may not hold replaced by ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{prefix}.{table}")


def key_schema(table: Table, topic: str) -> Avro | None:
    """The schema of a row's identity, None for a table without one. Raises Incompatible."""
    if not table.key:
        return None
    namespace = adjusted_full_name(topic)
    return {
        "type": "record",
        "name": "Key",
        "namespace": namespace,
        "fields": _fields(table, [table.columns[i] for i in table.key]),
        "connect.name": f"{namespace}.Key",
    }


def value_schema(table: Table, topic: str, source_schema: Avro) -> Avro:
    """The envelope around a table's rows. Raises Incompatible."""
    namespace = adjusted_full_name(topic)
    row = {
        "type": "record",
        "name": "Value",
        "fields": _fields(table, table.columns),
        "connect.name": f"{namespace}.Value",
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": namespace,
        "fields": [
            {"name": "before", "type": ["null", row], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "source", "type": source_schema},
            {"name": "transaction", "type": ["null", _TRANSACTION], "default": None},
            {"name": "op", "type": "string"},
            *_CLOCK,
        ],
        "connect.version": 2,
        "connect.name": f"{namespace}.Envelope",
    }


def adjusted_name(name: str) -> str:
    """`name` as Avro allows it: ``order-id`` is ``order_id``, ``1st`` is ``_1st``."""
    replaced = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{replaced}" if replaced[:1].isdigit() else replaced


def adjusted_full_name(name: str) -> str:
    """As Debezium, which looks at the very first character alone for a digit: ``p.public.2nd`` stays."""
    replaced = re.sub(r"[^A-Za-z0-9_.]", "_", name)
    return f"_{replaced}" if replaced[:1].isdigit() else replaced


def _fields(table: Table, columns: Iterable[Column]) -> list[dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    declared: set[str] = set()
    for column in columns:
        name = adjusted_name(column.name)
        if name in fields:
            raise Incompatible(
                f"{table.name}: columns {origin[name]} and {column.name} would both be the Avro field {name}",
                "rename one of the columns, or leave one out of the publication's column list",
            )
        origin[name] = column.name
        fields[name] = _field(name, column, declared)
    return list(fields.values())


def _field(name: str, column: Column, declared: set[str]) -> dict[str, Any]:
    avro = _once(column.type.avro, declared)
    if column.default is not None:
        avro = _with_default(avro, column.default.json)
        shown: Avro = [avro, "null"] if column.optional else avro
        return {"name": name, "type": shown, "default": _field_default(column.type.avro, column.default.json)}
    if column.optional:
        return {"name": name, "type": ["null", avro], "default": None}
    return {"name": name, "type": avro}


def _field_default(avro: Avro, default: Any) -> Any:
    """A float stands in `connect.default` as it was declared, and here as the double of the same value."""
    return _FLOAT.unpack(_FLOAT.pack(default))[0] if avro == "float" and isinstance(default, float) else default


def _once(avro: Avro, declared: set[str]) -> Avro:
    """A record is declared where it first occurs and named ever after."""
    if isinstance(avro, list):
        return [_once(branch, declared) for branch in avro]
    if isinstance(avro, str):
        return avro
    if avro["type"] == "array":
        return {**avro, "items": _once(avro["items"], declared)}
    if avro["type"] == "record":
        full_name = f"{avro['namespace']}.{avro['name']}"
        if full_name in declared:
            return full_name
        declared.add(full_name)
    return avro


def _with_default(avro: Avro, default: Any) -> Avro:
    """`connect.default` stands before `connect.name` and `connect.type`."""
    if not isinstance(avro, dict):
        return {"type": avro, "connect.default": default}
    late = ("connect.name", "connect.type", "logicalType")
    early = {name: value for name, value in avro.items() if name not in late}
    return {**early, "connect.default": default, **{name: avro[name] for name in late if name in avro}}
