"""Values at the edges of their types, which need no engine to be judged."""

import datetime
import io
import json
import math
import random
from decimal import Context, Decimal
from typing import Any

import fastavro
import pytest

from connectors.postgres.types import TypeInfo, column_type, constant_default
from schema.change import UNCHANGED, ColumnType
from schema.errors import Unencodable

BASE = ["bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "money", "bpchar", "varchar", "text"]
BASE += ["bytea", "bit", "varbit", "date", "time", "timestamp", "timestamptz", "timetz", "interval", "uuid", "json"]
BASE += ["jsonb", "xml", "tsvector", "point", "inet", "cidr", "macaddr", "pg_lsn", "polygon"]
OID = {name: 1000 + i for i, name in enumerate(BASE)}
TYPES = {oid: TypeInfo(oid, name, "pg_catalog", "b", 0, -1, 0, []) for name, oid in OID.items()}
TYPES |= {oid + 1000: TypeInfo(oid + 1000, f"_{name}", "pg_catalog", "b", 0, -1, oid, []) for name, oid in OID.items()}
WIDE = Context(prec=200)
MOOD = TypeInfo(1, "mood", "public", "e", 0, -1, 0, ["sad", "ok"])
FEELING = TypeInfo(2, "feeling", "public", "d", 1, -1, 0, [])
PAIR = TypeInfo(3, "pair", "public", "c", 0, -1, 0, [])
HSTORE = TypeInfo(4, "hstore", "extensions", "b", 0, -1, 0, [])
TYPES |= {info.oid: info for info in (MOOD, FEELING, PAIR, HSTORE)}


def of(name: str, typmod: int = -1, *, array: bool = False) -> ColumnType:
    return column_type(OID[name] + 1000 * array, typmod, TYPES)


def shown(kind: ColumnType, text: str | bytes) -> Any:
    """`text` encoded by us and read by fastavro, logical types included."""
    data = kind.encoder(b"\x02")(text.encode() if isinstance(text, str) else text)
    stream = io.BytesIO(data)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(["null", kind.avro]), None)
    assert not stream.read()
    return value


def typmod_of(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


def test_every_day_of_postgres_calendar_counts_as_pythons() -> None:
    date = of("date")
    draw = random.Random(3)
    for ordinal in [1, 2, 59, 60, 719163, 3652059, *(draw.randrange(1, 3652060) for _ in range(5000))]:
        day = datetime.date.fromordinal(ordinal)
        assert shown(date, day.isoformat()) == ordinal - 719163


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0001-12-31 BC", -719163),
        ("0001-02-29 BC", -719469),
        ("4714-11-24 BC", -2440588),
        ("10000-01-01", 2932897),
        ("5874897-12-31", 2145042905),
    ],
)
def test_days_beyond_pythons_calendar_count_on(text: str, days: int) -> None:
    assert shown(of("date"), text) == days


@pytest.mark.parametrize("text", ["infinity", "-infinity"])
def test_an_infinite_day_is_refused(text: str) -> None:
    with pytest.raises(Unencodable, match=f"cannot hold {text}"):
        shown(of("date"), text)


@pytest.mark.parametrize("typmod", [-1, 0, 1, 2, 3, 4, 5, 6])
def test_timestamps_of_every_precision_hold_the_same_instant(typmod: int) -> None:
    digits = 6 if typmod == -1 else typmod
    unit_us = 1000 if digits <= 3 else 1
    instant = datetime.datetime(2024, 2, 29, 23, 59, 59, int("987654"[:digits].ljust(6, "0")), datetime.UTC)
    text = f"2024-02-29 23:59:59{('.' + '987654'[:digits]) if digits else ''}"
    seconds = int(instant.timestamp())
    assert shown(of("timestamp", typmod), text) == (seconds * 1_000_000 + instant.microsecond) // unit_us
    assert shown(of("time", typmod), text[11:]) == (86_399_000_000 + instant.microsecond) // unit_us
    fraction = f".{'987654'[:digits]}" if digits else ""
    assert shown(of("timestamptz", typmod), f"{text}+00") == f"2024-02-29T23:59:59{fraction}Z"


@pytest.mark.parametrize("fraction", ["", ".1", ".12", ".123", ".1234", ".12345", ".123456"])
def test_a_zoned_timestamp_has_all_digits_of_its_precision(fraction: str) -> None:
    zoned = of("timestamptz")
    whole = fraction.removeprefix(".").ljust(6, "0")
    assert shown(zoned, f"2024-02-29 01:02:03{fraction}+00") == f"2024-02-29T01:02:03.{whole}Z"
    assert shown(zoned, f"0044-03-15 01:02:03{fraction}+00 BC") == f"-0043-03-15T01:02:03.{whole}Z"
    assert shown(zoned, f"12024-02-29 01:02:03{fraction}+00") == f"+12024-02-29T01:02:03.{whole}Z"
    assert shown(zoned, f"0001-02-28 01:02:03{fraction}+00 BC") == f"0000-02-28T01:02:03.{whole}Z"


@pytest.mark.parametrize("text", ["2024-02-29 01:02:03+02", "2024-02-29 01:02:03.5-07", "2024-02-29 01:02:03+05:30"])
def test_a_zoned_timestamp_that_is_not_in_utc_is_never_passed_on(text: str) -> None:
    with pytest.raises((ValueError, LookupError)):
        shown(of("timestamptz"), text)


def test_the_last_microsecond_of_64_bits_is_held_and_the_next_refused() -> None:
    timestamp = of("timestamp")
    assert shown(timestamp, "294247-01-10 04:00:54.775807") == (1 << 63) - 1
    with pytest.raises(Unencodable, match="64 bits"):
        shown(timestamp, "294247-01-10 04:00:54.775808")
    assert shown(timestamp, "infinity") == 9_223_372_036_825_200_000
    assert shown(of("timestamp", 3), "-infinity") == -9_223_372_036_832_400


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("24:00:00+00", "24:00:00Z"),
        ("00:30:00+01", "23:30:00Z"),
        ("23:00:00.5-05:30:30", "04:30:30.5Z"),
        ("24:00:00-01", "01:00:00Z"),
    ],
)
def test_times_with_a_zone_are_turned_to_utc(text: str, utc: str) -> None:
    assert shown(of("timetz"), text) == utc


def test_an_infinite_interval_is_refused() -> None:
    with pytest.raises(Unencodable, match="cannot hold infinity"):
        shown(of("interval"), "infinity")


def test_an_interval_of_64_bits_in_each_part_reads_exactly() -> None:
    assert shown(of("interval"), "-2562047788:00:54.775807") == -9223372036854775807
    mixed = 11 * 2_629_800_000_000 + 86_400_000_000 - 1_500_000
    assert shown(of("interval"), "1 year -1 mons +1 day -00:00:01.5") == mixed


def test_decimals_drawn_at_random_read_back_digit_by_digit() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        precision = draw.randrange(1, 60)
        scale = draw.randrange(0, precision + 1)
        unscaled = draw.randrange(10**precision) * draw.choice((1, -1))
        text = f"{Decimal(unscaled).scaleb(-scale, WIDE):f}"
        assert shown(of("numeric", typmod_of(precision, scale)), text) == Decimal(text)
        free = shown(of("numeric"), text)
        value = int.from_bytes(free["value"], "big", signed=True)
        assert Decimal(value).scaleb(-free["scale"], WIDE) == Decimal(text)


@pytest.mark.parametrize("n", [0, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769])
def test_unscaled_values_are_as_short_as_can_be(n: int) -> None:
    data = of("numeric", typmod_of(9, 0)).encoder(b"")(str(n).encode())
    size = data[0] // 2
    assert int.from_bytes(data[1:], "big", signed=True) == n and len(data) == size + 1
    assert size == 1 or not -(1 << 8 * size - 9) <= n < 1 << 8 * size - 9


def test_a_decimal_with_more_digits_than_its_scale_is_refused_not_rounded() -> None:
    two = of("numeric", typmod_of(10, 2))
    assert shown(two, "1.5") == Decimal("1.50")
    assert shown(two, "1.500") == Decimal("1.50")
    with pytest.raises(Unencodable, match="more than 2 digits"):
        shown(two, "1.005")


@pytest.mark.parametrize(("precision", "scale", "text"), [(3, 5, "0.00999"), (5, -2, "9999900"), (5, -2, "-100")])
def test_a_scale_that_avro_does_not_know_still_holds_every_digit(precision: int, scale: int, text: str) -> None:
    kind = of("numeric", typmod_of(precision, scale))
    assert isinstance(kind.avro, dict) and 0 <= kind.avro["scale"] <= kind.avro["precision"]
    assert shown(kind, text) == Decimal(text)


@pytest.mark.parametrize("typmod", [-1, typmod_of(10, 2), typmod_of(10, 0)])
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_has_no_decimal(text: str, typmod: int) -> None:
    with pytest.raises(Unencodable, match=f"cannot hold {text}"):
        shown(of("numeric", typmod), text)


def test_a_numeric_of_the_largest_size_reads_back() -> None:
    text = "9" * 131072 + "." + "9" * 16383
    free = shown(of("numeric"), text)
    assert free["scale"] == 16383
    assert int.from_bytes(free["value"], "big", signed=True) == 10**147455 - 1
    fixed = of("numeric", typmod_of(1000, 1000)).encoder(b"")
    assert fixed(b"0." + b"1" * 1000)


def test_floats_read_back_bit_by_bit() -> None:
    for text in ("0.1", "5e-324", "1.7976931348623157e+308", "-0", "Infinity", "-Infinity"):
        assert math.copysign(1, shown(of("float8"), text)) == math.copysign(1, float(text))
        assert shown(of("float8"), text) == float(text)
    assert math.isnan(shown(of("float8"), "NaN")) and math.isnan(shown(of("float4"), "NaN"))
    assert shown(of("float4"), "3.4028235e+38") == 3.4028234663852886e38


@pytest.mark.parametrize("text", ["{{1,2},{3,4}}", "[0:1]={7,8}", "[2:2]={1}", "{{}}", "[1:1][1:2]={{1,2}}"])
def test_an_array_of_other_than_one_dimension_from_one_is_refused(text: str) -> None:
    with pytest.raises(Unencodable, match="one dimension"):
        shown(of("int4", array=True), text)


def test_array_text_reads_back_whatever_its_elements_hold() -> None:
    draw = random.Random(11)
    pieces = ['"', "\\", ",", "{", "}", " ", "NULL", "null", "é", "a", "\n", "'", ";"]
    for _ in range(3000):
        texts = ["".join(draw.choices(pieces, k=draw.randrange(5))) for _ in range(draw.randrange(1, 5))]
        items = [draw.choice((None, text)) for text in texts]
        assert shown(of("text", array=True), "{" + ",".join(map(quoted, items)) + "}") == items


def quoted(item: str | None) -> str:
    """As array_out does."""
    if item is None:
        return "NULL"
    if item and item.upper() != "NULL" and not set(item) & set('"\\,{} \n\t'):
        return item
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize("name", ["money", "interval", "xml", "bit", "varbit", "point", "pg_lsn", "polygon"])
def test_an_array_that_debezium_has_no_form_for_is_text(name: str) -> None:
    kind = of(name, array=True)
    assert kind.avro == "string" and shown(kind, "{{1,2},{3,4}}") == "{{1,2},{3,4}}"


def test_composites_unknown_types_and_dropped_types_are_text() -> None:
    for oid in (3, OID["polygon"], 99999):
        assert column_type(oid, -1, TYPES).avro == "string"
        assert shown(column_type(oid, -1, TYPES), '(1,"a")') == '(1,"a")'


def test_a_domain_over_an_enum_is_the_enum() -> None:
    kind = column_type(2, -1, TYPES)
    assert isinstance(kind.avro, dict) and kind.avro["connect.parameters"] == {"allowed": "sad,ok"}


def test_hstore_is_json_whatever_its_keys_hold() -> None:
    text = r'"a\"b"=>"c\\d", "e, "=>NULL, "f=>"=>"", "ü"=>"NULL"'
    assert json.loads(shown(column_type(4, -1, TYPES), text)) == {'a"b': "c\\d", "e, ": None, "f=>": "", "ü": "NULL"}


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("name", BASE)
def test_no_encoder_takes_an_unchanged_value_for_a_value(name: str, array: bool) -> None:
    encode = of(name, array=array).encoder(b"\x02")
    with pytest.raises((TypeError, ValueError, LookupError, AttributeError)):
        encode(UNCHANGED)  # type: ignore[arg-type]


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("name", BASE)
def test_zeros_and_placeholders_are_values_of_their_type(name: str, array: bool) -> None:
    kind = of(name, array=array)
    for data in (kind.zero, kind.unavailable):
        if data is not None:
            stream = io.BytesIO(data)
            fastavro.schemaless_reader(stream, fastavro.parse_schema(kind.avro), None)
            assert not stream.read()


@pytest.mark.parametrize(
    ("name", "expression", "json_value"),
    [
        ("int4", "nextval('s'::regclass)", 0),
        ("timestamptz", "(now() + '1 day'::interval)", "1970-01-01T00:00:00.000000Z"),
        ("text", "CURRENT_USER", ""),
        ("text", "('a'::text || 'b'::text)", None),
        ("int4", "(1 + 1)", None),
        ("text", "NULL::text", None),
        ("date", "'infinity'::date", None),
        ("float4", "0.1", 0.1),
        ("float8", "'NaN'::double precision", "NaN"),
        ("int4", "'none'::text", None),
    ],
)
def test_a_default_is_shown_where_it_is_a_constant_or_a_function(name: str, expression: str, json_value: Any) -> None:
    default = constant_default(expression, of(name))
    assert (None if default is None else default.json) == json_value
