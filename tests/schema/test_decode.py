"""Decoded events hold exactly what the wire held, in values that JSON can carry."""

import json
import math
from io import BytesIO
from typing import Any

import fastavro
import pytest

from schema.decode import Decoder
from schema.errors import Undecodable
from schema.event import Event

VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.version": 1,
}


def encode(kind: Any, *values: Any) -> tuple[Decoder, bytes]:
    """A record whose fields `f0`, `f1`... have one type each, and its wire bytes."""
    kinds = kind if isinstance(kind, tuple) else (kind,) * len(values)
    fields = [{"name": f"f{n}", "type": k} for n, k in enumerate(kinds)]
    schema = {"type": "record", "name": "Envelope", "namespace": "shop.public.t", "fields": fields}
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, {f"f{n}": value for n, value in enumerate(values)})
    return Decoder({7: schema}.__getitem__), b"\0\0\0\0\7" + out.getvalue()


def decoded(kind: Any, *values: Any) -> list[Any]:
    decoder, wire = encode(kind, *values)
    return list(decoder.decode(wire).values())


def raw_decimal(scale: int) -> Any:
    return {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": scale, "connect.version": 1}


def unscaled(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


@pytest.mark.parametrize(
    ("number", "scale", "text"),
    [
        (222200, 4, "22.2200"),
        (-5, 2, "-0.05"),
        (0, 2, "0.00"),
        (12, 0, "12"),
        (12, -3, "12000"),
        (0, 1, "0.0"),
        (10**130_000 + 1, 0, f"1{'0' * 129_999}1"),
    ],
    ids=["trailing zeros", "below one", "zero", "whole", "negative scale", "zero tenth", "130,001 digits"],
)
def test_a_decimal_is_a_string_with_every_digit(number: int, scale: int, text: str) -> None:
    plain = {"type": "record", "name": "E", "fields": [{"name": "f", "type": "bytes"}]}
    out = BytesIO()
    fastavro.schemaless_writer(out, plain, {"f": unscaled(number)})
    schema = {"type": "record", "name": "E", "fields": [{"name": "f", "type": raw_decimal(scale)}]}
    decoder = Decoder({7: schema}.__getitem__)
    assert decoder.decode(b"\0\0\0\0\7" + out.getvalue()) == {"f": text}


def test_a_decimal_that_carries_its_scale_is_a_string_wherever_its_type_is_named() -> None:
    name = "io.debezium.data.VariableScaleDecimal"
    values = [{"scale": 3, "value": unscaled(-1500)}, {"scale": 0, "value": unscaled(7)}, None]
    kinds = (VARIABLE, ["null", name], ["null", name])
    assert decoded(kinds, *values) == ["-1.500", "7", None]


def test_bytes_are_base64_at_any_depth() -> None:
    kinds = (
        "bytes",
        ["null", {"type": "bytes", "connect.name": "io.debezium.data.Bits"}],
        {"type": "array", "items": ["null", "bytes"]},
        {"type": "map", "values": "bytes"},
        {"type": "fixed", "name": "Two", "size": 2},
    )
    assert decoded(kinds, b"\0\xff", b"", [b"a", None], {"k": b"b"}, b"ab") == [
        "AP8=", "", ["YQ==", None], {"k": "Yg=="}, "YWI=",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["float", "double", {"type": "double", "connect.name": "x"}], ids=str)
def test_floats_that_are_no_numbers_stay_valid_json(kind: Any) -> None:
    decoder, wire = encode(["null", kind], math.nan, math.inf, -math.inf, 0.5, None)
    line = decoder.line(Event("t", "t", None, wire, (1, 1)))
    assert list(json.loads(line)["value"].values()) == ["NaN", "Infinity", "-Infinity", 0.5, None]


def test_dates_and_identifiers_are_as_avro_holds_them() -> None:
    kinds = ({"type": "int", "logicalType": "date"}, {"type": "string", "logicalType": "uuid"})
    assert decoded(kinds, 19000, "not-a-uuid") == [19000, "not-a-uuid"]


def test_a_line_shows_topic_key_and_value() -> None:
    decoder, wire = encode("string", 'a "quoted"\nline', "é")
    shown = {"f0": 'a "quoted"\nline', "f1": "é"}
    assert decoder.line(Event("s.t", "t", wire, None, (1, 1))).endswith(b"}\n")
    assert json.loads(decoder.line(Event("s.t", "t", wire, None, (1, 1)))) == {
        "topic": "s.t", "key": shown, "value": None,
    }  # fmt: skip
    assert json.loads(decoder.line(Event("s.t", "t", None, wire, (1, 1)))) == {
        "topic": "s.t", "key": None, "value": shown,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (lambda wire: wire[:-1], "do not match schema 7"),
        (lambda wire: wire + b"!", "do not match schema 7: 11 bytes, not 10"),
        (lambda wire: b"\0\0\0\0\x09" + wire[5:], "schema 9 is not in the registry"),
        (lambda wire: b"{" + wire[1:], "not an event"),
        (lambda wire: b"", "not an event"),
    ],
    ids=["cut short", "too long", "unknown schema", "no header", "empty"],
)
def test_bytes_that_are_no_event_are_refused_with_the_reason(cut: Any, reason: str) -> None:
    decoder, wire = encode("string", "text")
    with pytest.raises(Undecodable, match=reason):
        decoder.decode(cut(wire))
