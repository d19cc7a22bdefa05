"""How an Avro schema names what its bytes mean: Debezium's semantic types, io.debezium.data and io.debezium.time."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from fastavro import schemaless_reader

from schema.change import Avro

UNAVAILABLE: Final = b"__debezium_unavailable_value"
"""What stands for a text that the log left out."""


def semantic(avro: str, name: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`avro` that means `name`: ``{"type": "int", ..., "connect.name": "io.debezium.time.Date"}``."""
    shown: dict[str, Any] = {"type": avro, "connect.version": 1}
    if parameters is not None:
        shown["connect.parameters"] = dict(parameters)
    return {**shown, "connect.name": name}


def decimal(scale: int, precision: int, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A decimal with `scale` digits behind the point and `precision` in all."""
    shown = {"scale": str(scale), "connect.decimal.precision": str(precision)} if parameters is None else parameters
    return {
        "type": "bytes",
        "scale": scale,
        "precision": precision,
        "connect.version": 1,
        "connect.parameters": dict(shown),
        "connect.name": "org.apache.kafka.connect.data.Decimal",
        "logicalType": "decimal",
    }


def default_json(schema: Avro, avro: bytes) -> Any:
    """The value `avro` as the default in a schema: bytes as ISO-8859-1."""
    value = schemaless_reader(BytesIO(avro), schema["type"] if isinstance(schema, dict) else schema, None)
    return value.decode("iso-8859-1") if isinstance(value, bytes) else value
