"""Keys as the value of a header; the text is what Kafka's SimpleHeaderConverter wrote for the same values."""

from io import BytesIO
from typing import Any

import fastavro

from schema.header_text import HeaderText

BY_CONNECT = (
    r'{"b":true,"f":0.1,"d":5.0E-4,"big":1.0E10,"nan":NaN,"s":"a\"b\\c'
    "\n"
    r'ä","y":"AP8=","z":0E-8,"n":-12.50,"v":{"scale":3,"value":"BQ=="},"o":null,"a":["x",null]}'
)
VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
}
TYPES: dict[str, Any] = {
    "b": "boolean",
    "f": "float",
    "d": "double",
    "big": "double",
    "nan": "double",
    "s": {"type": "string", "connect.name": "io.debezium.data.Json"},
    "y": "bytes",
    "z": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 8},
    "n": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
    "v": VARIABLE,
    "o": ["null", "string"],
    "a": {"type": "array", "items": ["null", "string"]},
}
SCHEMA = {"type": "record", "name": "Key", "fields": [{"name": name, "type": kind} for name, kind in TYPES.items()]}


def bare(schema: Any) -> Any:
    """Decimals as the bytes that they are written in."""
    fields = [{**f, "type": "bytes"} if "logicalType" in f["type"] else f for f in schema["fields"]]
    return {**schema, "fields": fields}


def test_every_type_of_a_key_is_shown_as_connects_converter_shows_it() -> None:
    values = {
        "b": True,
        "f": 0.1,
        "d": 0.0005,
        "big": 1e10,
        "nan": float("nan"),
        "s": 'a"b\\c\nä',
        "y": b"\0\xff",
        "z": b"\0",
        "n": (-1250).to_bytes(2, "big", signed=True),
        "v": {"scale": 3, "value": b"\5"},
        "o": None,
        "a": ["x", None],
    }
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(bare(SCHEMA)), values)
    text = HeaderText({7: SCHEMA}.__getitem__).of(b"\0\0\0\0\7" + body.getvalue())
    assert text.decode() == BY_CONNECT
