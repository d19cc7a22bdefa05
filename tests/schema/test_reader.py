"""Compiled readers agree with fastavro on any schema and any value."""

import random
from io import BytesIO
from typing import Any

import fastavro
import pytest

from schema.reader import MISMATCH, compile_reader

LONGS = [0, -1, 63, -64, 64, 8191, 8192, 2**31 - 1, -(2**31), 1_700_000_000_000_000_000, 2**63 - 1, -(2**63)]


class Schemas:
    """Random schemas over every kind of type, and values of them that JSON holds as they are."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._named: list[Any] = []

    def schema(self, depth: int = 3) -> Any:
        simple = ["null", "boolean", "int", "long", "float", "double", "string", {"type": "long", "connect.name": "x"}]
        kinds = ["simple"] * 3 + (["record", "union", "array", "map", "enum", "named"] if depth else [])
        match self._random.choice(kinds):
            case "record":
                fields = [{"name": f"f{n}", "type": self.schema(depth - 1)} for n in range(self._random.randrange(5))]
                return self._remember({"type": "record", **self._name(), "fields": fields})
            case "enum":
                return self._remember({"type": "enum", **self._name(), "symbols": ["A", "B", "C"]})
            case "union":
                return ["null", *self._random.sample(["long", "string", "boolean"], self._random.randrange(1, 3))]
            case "array":
                return {"type": "array", "items": self.schema(depth - 1)}
            case "map":
                return {"type": "map", "values": self.schema(depth - 1)}
            case "named" if self._named:
                known = self._random.choice(self._named)
                return f"{known['namespace']}.{known['name']}"
        return self._random.choice(simple)

    def value(self, schema: Any) -> Any:
        pick = self._random
        if isinstance(schema, list):
            return self.value(pick.choice(schema))
        body = schema if isinstance(schema, dict) else {"type": schema}
        match body["type"]:
            case "record":
                return {field["name"]: self.value(field["type"]) for field in body["fields"]}
            case "enum":
                return pick.choice(body["symbols"])
            case "array":
                return [self.value(body["items"]) for _ in range(pick.randrange(4))]
            case "map":
                return {f"k{n}": self.value(body["values"]) for n in range(pick.randrange(4))}
            case "null":
                return None
            case "boolean":
                return pick.random() < 0.5
            case "int":
                return pick.choice(LONGS[:9])
            case "long":
                return pick.choice(LONGS)
            case "float" | "double":
                return pick.choice([0.0, -0.5, 1.5, 2.0**100])
            case "string":
                return pick.choice(["", "a", 'é"\n', "x" * 100, "y" * 10_000])
            case name:
                known = next(known for known in self._named if name == f"{known['namespace']}.{known['name']}")
                return self.value(known)

    def _name(self) -> dict[str, str]:
        name = self._random.choice(["Value", "Source", "Envelope"])
        return {"name": name, "namespace": f"{self._random.choice(['a.b', 'c'])}{self._random.randrange(1 << 30)}"}

    def _remember(self, body: Any) -> Any:
        self._named.append(body)
        return body


def encode(schema: Any, value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(200))
def test_a_compiled_reader_reads_what_fastavro_reads(seed: int) -> None:
    schemas = Schemas(seed)
    fields = [{"name": f"f{n}", "type": schemas.schema()} for n in range(4)]
    schema = {"type": "record", "name": "Top", "fields": fields}
    read = compile_reader(schema)
    for _ in range(10):
        data = encode(schema, schemas.value(schema))
        assert read(b"12345" + data, 5) == (fastavro.schemaless_reader(BytesIO(data), schema, None), 5 + len(data))


def test_a_type_may_hold_itself() -> None:
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Tree"]}],
    }
    value = {"v": 1, "next": {"v": 2, "next": {"v": 3, "next": None}}}
    assert compile_reader(tree)(encode(tree, value), 0)[0] == value


def test_fields_around_a_row_that_stood_there_before_are_not_mistaken_for_others() -> None:
    """Few values and many events, so that each field now repeats and now does not."""
    nullable: Any = ["null", "string", "long"]
    parts: list[tuple[str, Any]] = [
        ("name", "string"),
        ("ts_ms", "long"),
        ("sequence", nullable),
        ("txId", nullable),
        ("lsn", "long"),
    ]
    fields = [{"name": name, "type": kind} for name, kind in parts]
    source = {"type": "record", "name": "Source", "namespace": "c", "fields": fields}
    schema = {
        "type": "record",
        "name": "Envelope",
        "namespace": "t",
        "fields": [{"name": "op", "type": "string"}, {"name": "source", "type": source}, *fields],
    }
    read = compile_reader(schema)
    pick = random.Random(1)

    def some() -> dict[str, Any]:
        of: dict[str, list[Any]] = {"string": ["", "a", "ab"], "long": [0, 1, 300, 2**40, 2**40 + 1]}
        return {name: pick.choice(of[kind] if isinstance(kind, str) else [None, "a", 300]) for name, kind in parts}

    for _ in range(2000):
        value = {"op": pick.choice("cu"), "source": some(), **some()}
        data = encode(schema, value)
        assert read(data + b"!", 0) == (value, len(data))


def test_an_array_may_come_in_several_blocks_and_say_their_sizes() -> None:
    read = compile_reader({"type": "array", "items": "int"})
    assert read(b"\x02\x02" + b"\x03\x04\x04\x06" + b"\x00", 0) == ([1, 2, 3], 7)


def test_bytes_cut_anywhere_are_noticed() -> None:
    for seed in range(30):
        schemas = Schemas(seed)
        schema = {"type": "record", "name": "Top", "fields": [{"name": "f", "type": schemas.schema()}]}
        data = encode(schema, schemas.value(schema))
        read = compile_reader(schema)
        read(data, 0)
        for cut in range(min(len(data), 300)):
            try:
                _, end = read(data[:cut], 0)
            except MISMATCH:
                continue
            assert end != cut


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("string", b"\x01a"),
        ("bytes", b"\x03ab"),
        ("string", b"\x02\xff"),
        ("long", b"\xff" * 10 + b"\x01"),
        (["null", "long"], b"\x04\x02"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02"),
    ],
    ids=["negative length", "negative size", "not UTF-8", "over 64 bits", "no such branch", "no such symbol"],
)
def test_bytes_that_no_value_has_are_noticed(schema: Any, data: bytes) -> None:
    with pytest.raises(MISMATCH):
        compile_reader(schema)(data, 0)
