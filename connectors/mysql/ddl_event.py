"""DDL statements as events on the topic named like the connector's prefix (`source.ddl`).

Source: Debezium's SchemaChangeEvent, ConnectTableChangeSerializer and SchemaFactory; JDBC's java.sql.Types. What no
catalogue told us of a table (its default charset, which columns count themselves up or are generated) is null.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any, Literal

from connectors.mysql.envelope import SOURCE_SCHEMA, SourceBlock
from connectors.mysql.shape import ColumnShape, TableShape
from schema.change import Avro
from schema.event import Event
from schema.registry import Registry
from schema.varint import long, sized

_WIRE_HEADER = Struct(">xI").pack
_NULL = b"\x00"
_PRESENT = b"\x02"
_NAMESPACE = "io.debezium.connector.schema"
_CREATE_TABLE = re.compile(r"(?:\s|/\*.*?\*/|(?:--|#)[^\n]*\n)*create\s+(?:or\s+replace\s+)?table\b", re.I | re.S)
_DECLARED = re.compile(r"(\w+)(?:\(([^)]*)\))?(.*)")
_OTHER = 1111
_JDBC = {
    **dict.fromkeys(("INT", "MEDIUMINT", "YEAR"), 4),
    **dict.fromkeys(("TINYINT", "SMALLINT"), 5),
    **dict.fromkeys(("CHAR", "ENUM", "SET"), 1),
    **dict.fromkeys(("VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"), 12),
    **dict.fromkeys(("TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"), 2004),
    "BIGINT": -5,
    "BINARY": -2,
    "VARBINARY": -3,
    "BIT": -7,
    "DECIMAL": 3,
    "FLOAT": 6,
    "DOUBLE": 8,
    "DATE": 91,
    "TIME": 92,
    "DATETIME": 93,
    "TIMESTAMP": 2014,
}


class DdlTopic:
    """Makes the events; their schemas are registered on the way in. `version` is tailrace's own."""

    def __init__(self, registry: Registry, prefix: str, flavor: Literal["mysql", "mariadb"], version: str) -> None:
        """Raises RegistryFailed."""
        self._topic = prefix
        self._flavor: Literal["mysql", "mariadb"] = flavor
        self._version = version
        self._key_header = _WIRE_HEADER(registry.register(f"{prefix}-key", key_schema(flavor)).id)
        self._value_header = _WIRE_HEADER(registry.register(f"{prefix}-value", value_schema(flavor)).id)

    def block(self, database: str, tables: Iterable[str]) -> SourceBlock:
        """Writes the `source` of a statement about these tables of `database`."""
        return SourceBlock(self._flavor, self._version, self._topic, database, ",".join(tables))

    def event(
        self,
        statement: str,
        database: str,
        source: bytes,
        now_ns: int,
        shapes: Mapping[str, TableShape | None],
        identity: tuple[int, int],
    ) -> Event:
        """`statement` as the log has it. `shapes` are those of the tables it names, ``database.table``, when it is
        done; None where the table is gone. `identity` becomes the event's `id`.
        """
        is_new = _CREATE_TABLE.match(statement) is not None
        changes = [_change(name, shape, is_new) for name, shape in shapes.items()]
        name = _string(database)
        value = b"".join(
            (source, long(now_ns // 1_000_000), _PRESENT, name, _NULL, _PRESENT, _string(statement), _array(changes))
        )
        return Event(self._topic, self._topic, self._key_header + name, self._value_header + value, identity)


def key_schema(flavor: str) -> Avro:
    return _record(f"io.debezium.connector.{flavor}", "SchemaChangeKey", [{"name": "databaseName", "type": "string"}])


def value_schema(flavor: str) -> Avro:
    # A name's namespace is that of the record around it, so it is written out only where it changes.
    source = dict(SOURCE_SCHEMA[flavor])  # type: ignore[arg-type]
    del source["namespace"]
    column = _record(
        None,
        "Column",
        [
            {"name": "name", "type": "string"},
            {"name": "jdbcType", "type": "int"},
            _optional_field("nativeType", "int"),
            {"name": "typeName", "type": "string"},
            _optional_field("typeExpression", "string"),
            _optional_field("charsetName", "string"),
            _optional_field("length", "int"),
            _optional_field("scale", "int"),
            {"name": "position", "type": "int"},
            _optional_field("optional", "boolean"),
            _optional_field("autoIncremented", "boolean"),
            _optional_field("generated", "boolean"),
            _optional_field("comment", "string"),
            _optional_field("defaultValueExpression", "string"),
            _optional_field("enumValues", {"type": "array", "items": "string"}),
        ],
    )
    table = _record(
        None,
        "Table",
        [
            _optional_field("defaultCharsetName", "string"),
            _optional_field("primaryKeyColumnNames", {"type": "array", "items": "string"}),
            {"name": "columns", "type": {"type": "array", "items": column}},
            _optional_field("comment", "string"),
        ],
    )
    change = _record(
        _NAMESPACE,
        "Change",
        [{"name": "type", "type": "string"}, {"name": "id", "type": "string"}, _optional_field("table", table)],
    )
    fields = [
        {"name": "source", "type": source},
        {"name": "ts_ms", "type": "long"},
        _optional_field("databaseName", "string"),
        _optional_field("schemaName", "string"),
        _optional_field("ddl", "string"),
        {"name": "tableChanges", "type": {"type": "array", "items": change}},
    ]
    return _record(f"io.debezium.connector.{flavor}", "SchemaChangeValue", fields)


def _record(namespace: str | None, name: str, fields: list[Any]) -> dict[str, Any]:
    """`namespace` None: that of the record around it, which is Debezium's for tables."""
    return {
        "type": "record",
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "fields": fields,
        "connect.version": 1,
        "connect.name": f"{namespace or _NAMESPACE}.{name}",
    }


def _optional_field(name: str, avro: Avro) -> dict[str, Any]:
    return {"name": name, "type": ["null", avro], "default": None}


def _change(name: str, shape: TableShape | None, is_new: bool) -> bytes:
    kind = "DROP" if shape is None else "CREATE" if is_new else "ALTER"
    database, _, table = name.partition(".")
    quoted = _string(f'"{database}"."{table}"')
    return _string(kind) + quoted + _optional(None if shape is None else _table(shape), bytes)


def _table(shape: TableShape) -> bytes:
    key = _array([_string(shape.columns[i].name) for i in shape.key])
    columns = _array([_column(column, position) for position, column in enumerate(shape.columns, 1)])
    return b"".join((_NULL, _PRESENT, key, columns, _NULL))


def _column(column: ColumnShape, position: int) -> bytes:
    match = _DECLARED.match(column.declared)
    base, inside, rest = match.groups("") if match else ("", "", "")
    name = (base + rest).upper()
    length, scale = _size(column, inside)
    charset = column.charset if column.charset != "binary" else ""
    labels = [_string("'" + label.replace("'", "''") + "'") for label in column.labels]
    parts = (
        _string(column.name),
        long(_JDBC.get(base.upper(), _OTHER)),
        _NULL,
        _string(name),
        _optional(name, _string),
        _optional(charset or None, _string),
        _optional(length, long),
        _optional(scale, long),
        long(position),
        _PRESENT + (b"\x01" if column.optional else b"\x00"),
        _NULL,
        _NULL,
        _NULL,
        _optional(column.default, _string),
        _optional(_array(labels) if labels else None, bytes),
    )
    return b"".join(parts)


def _size(column: ColumnShape, inside: str) -> tuple[int | None, int | None]:
    """What the parentheses say; of a choice, how many characters its labels' numbers would take (Debezium's way)."""
    if column.labels:
        is_set = column.declared.lower().startswith("set")
        return (2 * len(column.labels) - 1 if is_set else 1), None
    numbers = [int(part) for part in inside.split(",") if part.strip().isdigit()]
    return (numbers[0] if numbers else None), (numbers[1] if len(numbers) > 1 else None)


def _array(items: list[bytes]) -> bytes:
    return long(len(items)) + b"".join(items) + _NULL if items else _NULL


def _optional(value: Any, write: Callable[[Any], bytes]) -> bytes:
    return _NULL if value is None else _PRESENT + write(value)


def _string(text: str) -> bytes:
    return sized(text.encode())
