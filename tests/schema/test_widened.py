"""A version that keeps what the one before allowed, judged by fastavro and by our own comparison."""

import io
import struct
from typing import Any

import fastavro
import pytest

from schema import texts
from schema.avro import key_schema, value_schema
from schema.change import Column, ColumnType, Default, Table
from schema.encoder import TableEncoder
from schema.errors import Unencodable
from schema.varint import long
from schema.versions import diff
from schema.widened import widened

SOURCE: Any = {"type": "record", "name": "Source", "fields": []}
INT = ColumnType("int4", "int", texts.integer, b"\x00", None)
SMALL = ColumnType("int2", {"type": "int", "connect.type": "int16"}, texts.integer, b"\x00", None)
LONG = ColumnType("int8", "long", texts.integer, b"\x00", None)
REAL = ColumnType("float4", "float", texts.real, bytes(4), None)
DOUBLE = ColumnType("float8", "double", texts.double, bytes(8), None)
TEXT = ColumnType("text", "string", texts.string, b"\x00", None)
DATE = ColumnType("date", {"type": "int", "connect.name": "io.debezium.time.Date"}, texts.integer, b"\x00", None)


def table(*columns: Column, key: tuple[int, ...] = ()) -> Table:
    return Table("public.orders", columns, key)


def column(name: str, kind: ColumnType, *, optional: bool = False, default: Default | None = None) -> Column:
    return Column(name, kind, optional, default)


def envelope(of: Table) -> Any:
    return value_schema(of, "shop.public.orders", SOURCE)


def written(of: Table, *values: bytes | None) -> dict[str, Any]:
    """A row as a reader of its version sees it."""
    encoder = TableEncoder(of, None, 1)
    wire = encoder.create(encoder.row(values), b"", b"\x00\x00\x00")
    event: Any = fastavro.schemaless_reader(io.BytesIO(wire[5:]), fastavro.parse_schema(envelope(of)), None)
    after: dict[str, Any] = event["after"]
    return after


@pytest.mark.parametrize(
    ("was", "now", "text", "value"),
    [
        (LONG, INT, b"-7", -7),
        (LONG, SMALL, b"7", 7),
        (DOUBLE, REAL, b"0.1", struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        (DOUBLE, INT, b"-2147483648", -2147483648.0),
        (DOUBLE, LONG, b"9007199254740992", 9007199254740992.0),
        (REAL, SMALL, b"-32768", -32768.0),
    ],
)
def test_a_number_is_written_in_the_wider_type(was: ColumnType, now: ColumnType, text: bytes, value: Any) -> None:
    old = table(column("n", was))
    wide = widened(table(column("n", now)), envelope(old))
    assert envelope(wide) == envelope(old)
    assert written(wide, text) == {"n": value}


def test_a_number_that_the_wider_type_would_round_is_refused() -> None:
    wide = widened(table(column("n", LONG)), envelope(table(column("n", DOUBLE))))
    with pytest.raises(Unencodable, match="9007199254740993 has more digits than the 64 bits"):
        written(wide, b"9007199254740993")


def test_null_stays_allowed_and_is_allowed_for_a_new_column() -> None:
    old = table(column("id", INT), column("note", TEXT, optional=True))
    wide = widened(table(column("id", INT), column("note", TEXT), column("flag", INT)), envelope(old))
    assert diff(envelope(old), envelope(wide)).is_compatible
    assert written(wide, b"1", b"a", b"2") == {"id": 1, "note": "a", "flag": 2}


def test_a_default_is_widened_with_its_column() -> None:
    old = table(column("n", DOUBLE, optional=True))
    wide = widened(table(column("n", INT, default=Default(5, long(5)))), envelope(old))
    (field,) = envelope(wide)["fields"][0]["type"][1]["fields"]
    assert field == {"name": "n", "type": [{"type": "double", "connect.default": 5.0}, "null"], "default": 5.0}
    assert written(wide, b"6") == {"n": 6.0}


def test_of_a_key_only_what_keeps_its_bytes_is_widened() -> None:
    old = table(column("id", LONG), column("part", DOUBLE), key=(0, 1))
    now = table(column("id", INT), column("part", REAL), column("zone", INT), key=(0, 1, 2))
    key = key_schema(old, "shop.public.orders")
    assert key is not None
    for latest in (key, envelope(old)):
        wide = widened(now, latest)
        assert [c.type.avro for c in wide.columns] == ["long", "float", "int"]
        assert not any(c.optional for c in wide.columns)


def test_a_type_that_means_more_than_a_number_is_left_as_it_is() -> None:
    for was, now in ((LONG, DATE), (DATE, LONG), (TEXT, INT), (INT, LONG)):
        new = table(column("n", now))
        assert widened(new, envelope(table(column("n", was)))) == new


def test_a_default_that_the_wider_type_would_round_leaves_the_column_as_it_is() -> None:
    new = table(column("n", LONG, default=Default(2**53 + 1, long(2**53 + 1))))
    assert widened(new, envelope(table(column("n", DOUBLE)))) == new


@pytest.mark.parametrize("latest", ["string", ["null", "int"], {"type": "record", "name": "Other", "fields": []}])
def test_a_subject_that_holds_something_else_widens_nothing(latest: Any) -> None:
    new = table(column("n", INT), key=(0,))
    assert widened(new, latest) == new
