"""What changed between two versions of an event, in words, and whether old events can still be read."""

import io
from typing import Any

import fastavro
import pytest

from schema.versions import Difference, diff

TIMESTAMP = {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}
MILLIS = {"type": "long", "connect.name": "io.debezium.time.Timestamp"}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def row(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Value", "namespace": "shop.public.orders", "fields": list(fields)}


def column(name: str, kind: Any, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **attributes}


def envelope(*fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": "shop.public.orders",
        "fields": [
            {"name": "before", "type": ["null", row(*fields)], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    }


def of_column(old: Any, new: Any) -> Difference:
    return diff(envelope(column("price", old)), envelope(column("price", new)))


def test_equal_versions_have_no_difference() -> None:
    version = envelope(column("id", "long"), column("price", ["null", decimal(10, 2)], default=None))
    assert diff(version, version) == Difference([], [])


def test_a_column_that_may_be_null_can_be_added_and_removed() -> None:
    small, large = (
        envelope(column("id", "long")),
        envelope(column("id", "long"), column("note", ["null", "string"], default=None)),
    )
    assert diff(small, large) == Difference(["note was added: string or null, default None"], [])
    assert diff(large, small) == Difference(["note was removed"], [])


def test_a_column_without_a_default_cannot_be_added() -> None:
    found = diff(envelope(column("id", "long")), envelope(column("id", "long"), column("note", "string")))
    assert found.conflicts == ["note was added: string, without a default for events that lack it"]


def test_a_column_that_may_no_longer_be_null_is_a_conflict() -> None:
    assert of_column(["null", "string"], "string").conflicts == ["price may no longer be null"]
    assert of_column("string", ["null", "string"]) == Difference(["price may now be null"], [])


@pytest.mark.parametrize(
    ("old", "new", "sentence", "is_compatible"),
    [
        ("int", "long", "price changed from int to long", True),
        ("long", "int", "price changed from long to int", False),
        ("long", "string", "price changed from long to string", False),
        (decimal(10, 2), decimal(12, 2), "price changed from bytes (decimal 10,2) to bytes (decimal 12,2)", True),
        (decimal(12, 2), decimal(10, 2), "price changed from bytes (decimal 12,2) to bytes (decimal 10,2)", False),
        (decimal(10, 2), decimal(10, 3), "price changed from bytes (decimal 10,2) to bytes (decimal 10,3)", False),
        ("bytes", decimal(10, 2), "price changed from bytes to bytes (decimal 10,2)", False),
        (
            MILLIS,
            TIMESTAMP,
            "price changed from long (io.debezium.time.Timestamp) to long (io.debezium.time.MicroTimestamp)",
            False,
        ),
        ("int", TIMESTAMP, "price changed from int to long (io.debezium.time.MicroTimestamp)", False),
        (
            {"type": "array", "items": "int"},
            {"type": "array", "items": "string"},
            "price[] changed from int to string",
            False,
        ),
        ({"type": "array", "items": "int"}, "int", "price changed from array of int to int", False),
    ],
)
def test_a_change_of_type_is_named_and_judged(old: Any, new: Any, sentence: str, is_compatible: bool) -> None:
    for found in (of_column(old, new), of_column(["null", old], ["null", new])):
        assert found.changes == [sentence]
        assert found.is_compatible is is_compatible


def test_a_default_that_changed_is_named_and_keeps_nobody_from_reading() -> None:
    found = diff(row(column("n", "int", default=1)), row(column("n", "int", default=2)))
    assert found == Difference(["n: default changed from 1 to 2"], [])


def test_another_record_name_is_a_conflict() -> None:
    other = {**row(column("id", "long")), "namespace": "crm.public.orders"}
    found = diff(row(column("id", "long")), other)
    assert found.conflicts == ["the event is the record crm.public.orders.Value instead of shop.public.orders.Value"]


def test_a_lost_enum_symbol_is_a_conflict_and_a_new_one_is_not() -> None:
    old, new = ({"type": "enum", "name": "mood", "symbols": symbols} for symbols in (["SAD", "OK"], ["OK", "HAPPY"]))
    found = of_column(old, new)
    assert found == Difference(
        ["price lost the symbol SAD", "price gained the symbol HAPPY"], ["price lost the symbol SAD"]
    )


VALUES = {"int": 1, "long": 2, "float": 0.5, "double": 0.25, "string": "a", "bytes": b"a", "boolean": True}


@pytest.mark.parametrize("old", VALUES)
@pytest.mark.parametrize("new", VALUES)
def test_the_verdict_on_plain_types_is_that_of_an_avro_reader(old: str, new: str) -> None:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, row(column("price", old)), {"price": VALUES[old]})
    written.seek(0)
    try:
        fastavro.schemaless_reader(written, row(column("price", old)), row(column("price", new)))
        reads = True
    except fastavro.read.SchemaResolutionError:
        reads = False
    assert diff(row(column("price", old)), row(column("price", new))).is_compatible is reads
