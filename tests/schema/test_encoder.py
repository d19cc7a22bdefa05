"""What a table's encoder does with NULL, with what the log leaves out, and with what it cannot hold."""

import io
from typing import Any

import fastavro
import pytest

from connectors.postgres.envelope import SOURCE_SCHEMA, SourceBlock
from connectors.postgres.types import TypeInfo, column_type, constant_default
from schema.avro import key_schema, topic_name, value_schema
from schema.change import UNCHANGED, Column, Table, Value, completed
from schema.encoder import TableEncoder, clock
from schema.errors import Incompatible, NullInRequired, Unencodable

OIDS = {"int4": 23, "text": 25, "numeric": 1700, "float4": 700, "bool": 16}
TYPES = {oid: TypeInfo(oid, name, "pg_catalog", "b", 0, -1, 0, []) for name, oid in OIDS.items()}


def column(name: str, kind: str = "int4", *, optional: bool = False, default: str | None = None) -> Column:
    shown = column_type(OIDS[kind], -1, TYPES)
    return Column(name, shown, optional, constant_default(default, shown))


def table(*columns: Column, key: tuple[int, ...] = (0,)) -> Table:
    return Table("shop.orders", columns, key)


def source() -> bytes:
    block = SourceBlock("1.2.3", "shop", "shopdb", "public", "orders")
    block.begin(100, 200, 717_465_600_123_456, 42)
    return block.change(150)


def event(shown: Table, wire: bytes) -> Any:
    schema = fastavro.parse_schema(value_schema(shown, topic_name("shop", shown.name), SOURCE_SCHEMA))
    assert wire[:5] == b"\x00\x00\x00\x00\x09"
    stream = io.BytesIO(wire[5:])
    value = fastavro.schemaless_reader(stream, schema, None)
    assert not stream.read()
    return value


ORDERS = table(
    column("id"),
    column("note", "text", optional=True),
    column("state", "text", default="'new'::text"),
    column("count", optional=True, default="7"),
    column("size"),
)


def created(shown: Table, *values: Value) -> Any:
    encoder = TableEncoder(shown, 8, 9)
    return event(shown, encoder.create(encoder.row(values), source(), clock(0)))


def test_a_null_is_a_null_also_where_the_column_has_a_default() -> None:
    after = created(ORDERS, b"1", None, b"old", None, b"2")["after"]
    assert after == {"id": 1, "note": None, "state": "old", "count": None, "size": 2}


def test_a_key_image_shows_defaults_and_zeros_where_a_column_takes_no_null() -> None:
    encoder = TableEncoder(ORDERS, 8, 9)
    wire = encoder.delete(encoder.row([b"1", None, None, None, None], key_only=True), source(), clock(0))
    deleted = event(ORDERS, wire)
    assert deleted["op"] == "d" and deleted["after"] is None
    assert deleted["before"] == {"id": 1, "note": None, "state": "new", "count": None, "size": 0}


def test_a_null_in_a_whole_image_is_not_taken_for_a_default() -> None:
    with pytest.raises(NullInRequired, match=r"shop\.orders\.state is NULL"):
        TableEncoder(ORDERS, 8, 9).row([b"1", None, None, None, b"2"])


def test_a_null_in_a_required_column_names_it() -> None:
    encoder = TableEncoder(ORDERS, 8, 9)
    with pytest.raises(NullInRequired) as caught:
        encoder.row([b"1", None, b"old", None, None])
    assert (caught.value.table, caught.value.column) == ("shop.orders", "size")


def test_what_the_log_left_out_is_taken_from_the_whole_old_row() -> None:
    old: list[Value] = [b"1", b"long", b"old", b"3", b"2"]
    assert completed([b"1", UNCHANGED, b"new", b"3", b"2"], old) == [b"1", b"long", b"new", b"3", b"2"]


def test_an_update_without_an_old_row_shows_the_placeholder_for_what_the_log_left_out() -> None:
    encoder = TableEncoder(ORDERS, 8, 9)
    wire = encoder.update(None, encoder.row([b"1", UNCHANGED, b"new", None, b"2"]), source(), clock(0))
    updated = event(ORDERS, wire)
    assert updated["before"] is None and updated["op"] == "u"
    assert updated["after"]["note"] == "__debezium_unavailable_value"


def test_a_value_that_its_type_cannot_hold_is_refused_with_table_column_and_reason() -> None:
    priced = table(column("id"), Column("price", column_type(1700, (10 << 16 | 2) + 4, TYPES), True))
    for text in (b"NaN", b"Infinity", b"-Infinity"):
        with pytest.raises(Unencodable, match=rf"shop\.orders\.price: .*cannot hold {text.decode()}"):
            created(priced, b"1", text)


def test_text_that_is_no_value_of_the_type_is_refused_with_the_text() -> None:
    with pytest.raises(Unencodable, match=r"shop\.orders\.size: 'many' is no int4"):
        created(ORDERS, b"1", None, b"old", None, b"many")


def test_a_row_of_another_width_is_never_encoded() -> None:
    with pytest.raises(ValueError, match="a row of 4 values for the 5 columns of shop"):
        created(ORDERS, b"1", None, b"old", None)


def test_keys_are_in_key_order_and_absent_without_one() -> None:
    pair = table(column("a", "text"), column("b"), key=(1, 0))
    encoder = TableEncoder(pair, 8, 9)
    wire = encoder.key(encoder.row([b"x", b"5"]))
    schema = key_schema(pair, "shop.shop.orders")
    assert wire is not None and wire[:5] == b"\x00\x00\x00\x00\x08" and schema is not None
    assert fastavro.schemaless_reader(io.BytesIO(wire[5:]), schema, None) == {"b": 5, "a": "x"}
    keyless = TableEncoder(table(column("a"), key=()), None, 9)
    assert keyless.key(keyless.row([b"1"])) is None
    assert key_schema(table(column("a"), key=()), "shop.shop.orders") is None


def test_a_truncate_holds_neither_row() -> None:
    emptied = event(ORDERS, TableEncoder(ORDERS, 8, 9).truncate(source(), clock(0)))
    assert (emptied["before"], emptied["after"], emptied["op"]) == (None, None, "t")


def test_the_source_block_tells_the_transaction_and_the_place_in_the_log() -> None:
    assert created(ORDERS, b"1", None, b"s", None, b"2")["source"] == {
        "version": "1.2.3",
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": 1664150400123,
        "snapshot": "false",
        "db": "shopdb",
        "sequence": '["100","150"]',
        "ts_us": 1664150400123456,
        "ts_ns": 1664150400123456000,
        "schema": "public",
        "table": "orders",
        "txId": 42,
        "lsn": 150,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }


def test_the_source_block_of_a_copy_has_a_watermark_and_no_transaction() -> None:
    block = SourceBlock("1.2.3", "shop", "shopdb", "public", "orders")
    encoder = TableEncoder(ORDERS, 8, 9)
    row = encoder.row([b"1", None, b"s", None, b"2"])
    wire = encoder.read(row, block.snapshot(77, 1_700_000_000_123_456_789), clock(5_000_001))
    shown = event(ORDERS, wire)
    told = {name: shown["source"][name] for name in ("snapshot", "sequence", "lsn", "txId", "ts_ms", "ts_us", "ts_ns")}
    assert told == {
        "snapshot": "true",
        "sequence": '[null,"77"]',
        "lsn": 77,
        "txId": None,
        "ts_ms": 1_700_000_000_123,
        "ts_us": 1_700_000_000_123_456,
        "ts_ns": 1_700_000_000_123_456_789,
    }
    assert (shown["op"], shown["ts_ms"], shown["ts_us"], shown["ts_ns"]) == ("r", 5, 5000, 5_000_001)


def test_the_first_transaction_seen_knows_of_none_before() -> None:
    block = SourceBlock("1", "shop", "shopdb", "public", "orders")
    block.begin(0, 200, 0, 42)
    encoder = TableEncoder(ORDERS, 8, 9)
    wire = encoder.create(encoder.row([b"1", None, b"s", None, b"2"]), block.change(150), clock(0))
    assert event(ORDERS, wire)["source"]["sequence"] == '[null,"150"]'


def test_two_columns_that_avro_would_call_the_same_are_incompatible() -> None:
    with pytest.raises(Incompatible, match="columns a-b and a b would both be the Avro field a_b"):
        value_schema(table(column("a-b"), column("a b")), "shop.orders", SOURCE_SCHEMA)


@pytest.mark.parametrize(
    ("table_name", "topic"),
    [("public.orders", "shop.public.orders"), ("my-app.größe x", "shop.my-app.gr__e_x"), ("a.$b", "shop.a._b")],
)
def test_a_topic_holds_only_what_kafka_allows(table_name: str, topic: str) -> None:
    assert topic_name("shop", table_name) == topic
