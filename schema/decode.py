"""Wire bytes back into values, for sinks and commands that show values rather than pass bytes on.

Values are what JSON can hold and lose nothing: a decimal is a string (``"22.2200"``; debezium's VariableScaleDecimal
too), bytes are base64, a float that is no number is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``. Everything else is
as Avro holds it: a date is its count of days.
"""

import struct
from base64 import b64encode
from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from io import BytesIO
from typing import Any

import fastavro
import orjson
from fastavro.read import LOGICAL_READERS

from schema.change import Avro
from schema.errors import Undecodable
from schema.event import Event

HEADER_BYTES = 5
_VARIABLE_DECIMAL = "io.debezium.data.VariableScaleDecimal"
_ANY_SIZE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_LARGEST = 1.7976931348623157e308
_MISMATCH = (EOFError, IndexError, KeyError, OverflowError, TypeError, ValueError, struct.error)


class Decoder:
    """Decodes events of any schema version; a version is prepared once."""

    def __init__(self, schema_of: Callable[[int], Avro]) -> None:
        """`schema_of` gives the parsed JSON of a schema by its id, KeyError where there is none."""
        self._schema_of = schema_of
        self._prepared: dict[bytes, Any] = {}

    def decode(self, wire: bytes) -> Any:
        """0x00, schema id, Avro body -> plain values. Raises Undecodable."""
        head = wire[:HEADER_BYTES]
        schema = self._prepared.get(head)
        if schema is None:
            schema = self._prepared[head] = self._prepare(head)
        stream = BytesIO(wire)
        stream.seek(HEADER_BYTES)
        try:
            value = fastavro.schemaless_reader(stream, schema, None)
        except _MISMATCH as error:
            raise Undecodable(f"the bytes do not match schema {schema_id(head)}: {error}") from error
        if stream.tell() != len(wire):
            raise Undecodable(f"{len(wire) - stream.tell()} bytes follow the value of schema {schema_id(head)}")
        return value

    def line(self, event: Event) -> bytes:
        """``{"topic": ..., "key": ..., "value": ...}`` and a newline. Raises Undecodable."""
        key, value = event.key, event.value
        return orjson.dumps(
            {
                "topic": event.topic,
                "key": None if key is None else self.decode(key),
                "value": None if value is None else self.decode(value),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def _prepare(self, head: bytes) -> Any:
        try:
            return fastavro.parse_schema(_for_json(self._schema_of(schema_id(head)), ""))
        except KeyError as error:
            raise Undecodable(f"schema {schema_id(head)} is not in the registry") from error


def schema_id(wire: bytes) -> int:
    """The schema id that wire bytes begin with. Raises Undecodable."""
    if len(wire) < HEADER_BYTES or wire[0]:
        raise Undecodable(f"not an event: its bytes begin with {wire[:HEADER_BYTES].hex(' ')!r}, not with 00 and an id")
    return int.from_bytes(wire[1:HEADER_BYTES], "big")


def _for_json(schema: Avro, namespace: str) -> Avro:
    """The same schema for fastavro, with the conversions of this module as its only logical types."""
    if isinstance(schema, list):
        return [_for_json(branch, namespace) for branch in schema]
    body = {"type": schema} if isinstance(schema, str) else schema
    kind = body["type"]
    if isinstance(kind, dict | list):
        return _for_json(kind, namespace)
    if kind == "bytes":
        if body.get("logicalType") == "decimal":
            return {"type": kind, "logicalType": "tailrace-decimal", "scale": body.get("scale", 0)}
        return {"type": kind, "logicalType": "tailrace-base64"}
    if kind in ("float", "double"):
        return {"type": kind, "logicalType": "tailrace-float"}
    if kind == "array":
        return {"type": kind, "items": _for_json(body["items"], namespace)}
    if kind == "map":
        return {"type": kind, "values": _for_json(body["values"], namespace)}
    if kind in ("record", "enum", "fixed"):
        return _named(body, full_name(body, namespace))
    return str(kind)


def _named(body: dict[str, Any], name: str) -> Avro:
    namespace = name.rpartition(".")[0]
    if body["type"] == "enum":
        return {"type": "enum", "name": name, "symbols": body["symbols"]}
    if body["type"] == "fixed":
        return {"type": "fixed", "name": name, "size": body["size"], "logicalType": "tailrace-base64"}
    if name == _VARIABLE_DECIMAL:
        fields = [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]
        return {"type": "record", "name": name, "fields": fields, "logicalType": "tailrace-variable-decimal"}
    inner = [{"name": f["name"], "type": _for_json(f["type"], namespace)} for f in body["fields"]]
    return {"type": "record", "name": name, "fields": inner}


def full_name(body: dict[str, Any], namespace: str) -> str:
    """The full name of a record, enum or fixed that stands inside `namespace`."""
    name = str(body["name"])
    inside = body.get("namespace", namespace)
    return name if "." in name or not inside else f"{inside}.{name}"


def _decimal(data: bytes, schema: Any, _: Any = None) -> str:
    return _plain(data, schema["scale"])


def _variable_decimal(row: dict[str, Any], *_: Any) -> str:
    return _plain(row["value"], row["scale"])


def _plain(unscaled: bytes, scale: int) -> str:
    return format(Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-scale, _ANY_SIZE), "f")


def _float(value: float, *_: Any) -> float | str:
    if -_LARGEST <= value <= _LARGEST:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _base64(data: bytes, *_: Any) -> str:
    return b64encode(data).decode("ascii")


# fastavro looks conversions up by "type-logicalType" in one table per process; these names are ours alone.
LOGICAL_READERS.update(
    {
        "bytes-tailrace-decimal": _decimal,
        "bytes-tailrace-base64": _base64,
        "fixed-tailrace-base64": _base64,
        "float-tailrace-float": _float,
        "double-tailrace-float": _float,
        "record-tailrace-variable-decimal": _variable_decimal,
    }
)
