"""Postgres' types as events show them: Debezium's, save for the house differences that docs list.

What Debezium drops or garbles is the server's text: composites, multiranges, shapes, unknown types, and arrays of
elements that it has no array for. Sources: Debezium's PostgresValueConverter and PostgresDefaultValueConverter; the
goldens in tests/golden/postgres are a real engine's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from connectors.postgres import scalars, temporal
from connectors.postgres.arrays import array
from schema import texts
from schema.change import Avro, ColumnType, Default, Encode
from schema.errors import Unencodable
from schema.geometry import POINT
from schema.semantic import UNAVAILABLE, decimal, default_json, semantic
from schema.varint import long, sized

SESSION_SETTINGS: Final = {
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
"""What the sessions that give us text must be set to."""

TYPES_SQL: Final = """
    with recursive wanted(oid) as (
        select unnest(%(oids)s::oid[])
        union
        select part.oid from wanted join pg_type t on t.oid = wanted.oid
        cross join lateral (values (t.typbasetype), (case when t.typinput = 'array_in'::regproc then t.typelem end))
            as part(oid)
        where part.oid <> 0
    )
    select t.oid::bigint, t.typname, n.nspname, t.typtype::text, t.typbasetype::bigint, t.typtypmod,
           case when t.typinput = 'array_in'::regproc then t.typelem::bigint else 0 end,
           array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder)
    from wanted join pg_type t on t.oid = wanted.oid join pg_namespace n on n.oid = t.typnamespace
"""
"""The types of ``oids`` and all that they are made of, in TypeInfo's order."""


class TypeInfo(NamedTuple):
    """A row of pg_type. `base` and `typmod` are a domain's; `element` is an array's, 0 for what is no array."""

    oid: int
    name: str
    schema: str
    kind: str
    base: int
    typmod: int
    element: int
    labels: Sequence[str]


_UNAVAILABLE_UUID: Final = b"b68a35a7-17ad-35b3-af2a-ae46edb4545a"
_UNLIMITED: Final = 2147483647

_EMPTY: Final = b"\x00"
_MILLIS_MAX_DIGITS: Final = 3
_MICRO_DIGITS: Final = 6


def column_type(oid: int, typmod: int, types: Mapping[int, TypeInfo]) -> ColumnType:
    """The type of a column; `types` holds what TYPES_SQL gave. A type that it does not hold is text."""
    info = types.get(oid)
    if info is None:
        return _text(f"type {oid}")
    name = info.name if info.schema == "pg_catalog" else f"{info.schema}.{info.name}"
    while info is not None and info.kind == "d":
        typmod = info.typmod if info.typmod != -1 else typmod
        info = types.get(info.base)
    if info is None:
        return _text(name)
    if info.element:
        return _array(name, typmod, types.get(info.element))
    return _scalar(info, name, typmod)


def _array(name: str, typmod: int, element: TypeInfo | None) -> ColumnType:
    if element is None or not (element.kind in "er" or element.name in _IN_ARRAYS):
        return _text(name)
    item = _scalar(element, element.name, typmod)
    return ColumnType(
        f"{item.name}[]",
        {"type": "array", "items": ["null", item.avro]},
        partial(array, item.encoder),
        _EMPTY,
        _unavailable_array(item),
    )


def _unavailable_array(item: ColumnType) -> bytes:
    """The placeholder alone; of numbers one for each of its bytes, of booleans one for each of its bits.

    Debezium does so for strings and integers, and shows NULL for the rest; a NULL here is always the table's own.
    """
    kind = item.avro["type"] if isinstance(item.avro, dict) else item.avro
    write = item.encoder(b"\x02")
    if kind in ("int", "long"):
        items = [b"\x02" + long(byte) for byte in UNAVAILABLE]
    elif kind in ("float", "double"):
        items = [write(b"%d" % byte) for byte in UNAVAILABLE]
    elif kind == "boolean":
        items = [write(b"t" if byte >> bit & 1 else b"f") for byte in UNAVAILABLE for bit in range(7, -1, -1)]
    elif item.name == "uuid":
        items = [write(_UNAVAILABLE_UUID)]
    else:
        items = [b"\x02" + (item.unavailable or b"")]
    return b"".join((long(len(items)), *items, b"\x00"))


def _scalar(info: TypeInfo, name: str, typmod: int) -> ColumnType:
    if info.kind == "e":
        avro = semantic("string", "io.debezium.data.Enum", {"allowed": ",".join(info.labels)})
        return _text(name, avro)
    if info.kind == "b" and (info.schema == "pg_catalog" or info.name in _EXTENSIONS):
        known = _KNOWN.get(info.name)
        if known is not None:
            return known(name, typmod)
    return _text(name)


def _text(name: str, avro: Avro = "string") -> ColumnType:
    return ColumnType(name, avro, texts.string, _EMPTY, sized(UNAVAILABLE))


def _plain(avro: Avro, encoder: Callable[[bytes], Encode], zero: bytes) -> Callable[[str, int], ColumnType]:
    """A type of fixed size: never left out of the log."""
    return lambda name, typmod: ColumnType(name, avro, encoder, zero, None)


def _string(meaning: str) -> Callable[[str, int], ColumnType]:
    return lambda name, typmod: _text(name, semantic("string", meaning))


def _limited(name: str, typmod: int) -> ColumnType:
    return _text(name if typmod < 4 else f"{name}({typmod - 4})")


def _bits(name: str, typmod: int) -> ColumnType:
    if typmod == 1:
        return ColumnType(f"{name}(1)", "boolean", scalars.bit, b"\x00", None)
    length = str(_UNLIMITED if typmod < 0 else typmod)
    avro = semantic("bytes", "io.debezium.data.Bits", {"length": length})
    shown = name if typmod < 0 else f"{name}({typmod})"
    return ColumnType(shown, avro, scalars.bits, _EMPTY, sized(UNAVAILABLE))


def _numeric(name: str, typmod: int) -> ColumnType:
    if typmod < 4:
        return ColumnType(
            name, _VARIABLE_SCALE, scalars.variable_scale_decimal, b"\x00\x02\x00", _EMPTY + sized(UNAVAILABLE)
        )
    precision = (typmod - 4) >> 16 & 0xFFFF
    scale = (((typmod - 4) & 0x7FF) ^ 1024) - 1024
    shown = f"numeric({precision},{scale})"
    # Avro knows neither a negative scale nor one above the precision: both get the digits that hold every value.
    precision, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    avro = decimal(scale, precision)
    return ColumnType(shown, avro, partial(texts.decimal, scale), b"\x02\x00", sized(UNAVAILABLE))


def _adaptive(
    millis: tuple[dict[str, Any], Callable[[bytes], Encode]], micros: tuple[dict[str, Any], Callable[[bytes], Encode]]
) -> Callable[[str, int], ColumnType]:
    """Milliseconds up to three digits behind the second, else microseconds."""

    def known(name: str, typmod: int) -> ColumnType:
        avro, encoder = millis if 0 <= typmod <= _MILLIS_MAX_DIGITS else micros
        return ColumnType(name if typmod < 0 else f"{name}({typmod})", avro, encoder, b"\x00", None)

    return known


def _zoned_timestamp(name: str, typmod: int) -> ColumnType:
    digits = _MICRO_DIGITS if typmod < 0 else typmod
    return ColumnType(
        name if typmod < 0 else f"{name}({typmod})",
        semantic("string", "io.debezium.time.ZonedTimestamp"),
        partial(temporal.zoned_timestamp, digits),
        sized(b"1970-01-01T00:00:00Z"),
        sized(UNAVAILABLE),
    )


def _hstore(name: str, typmod: int) -> ColumnType:
    unavailable = sized(b'{"%b":"%b"}' % (UNAVAILABLE, UNAVAILABLE))
    return ColumnType(name, semantic("string", "io.debezium.data.Json"), scalars.hstore, sized(b"{}"), unavailable)


_VARIABLE_SCALE: Final = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.doc": "Variable scaled decimal",
    "connect.version": 1,
    "connect.name": "io.debezium.data.VariableScaleDecimal",
}

_KNOWN: Final[Mapping[str, Callable[[str, int], ColumnType]]] = {
    "bool": _plain("boolean", scalars.boolean, b"\x00"),
    "int2": _plain({"type": "int", "connect.type": "int16"}, texts.integer, b"\x00"),
    "int4": _plain("int", texts.integer, b"\x00"),
    "int8": _plain("long", texts.integer, b"\x00"),
    "oid": _plain("long", texts.integer, b"\x00"),
    "float4": _plain("float", texts.real, bytes(4)),
    "float8": _plain("double", texts.double, bytes(8)),
    "numeric": _numeric,
    "money": _plain(decimal(2, 64, {"scale": "2"}), scalars.money, b"\x02\x00"),
    "bpchar": _limited,
    "varchar": _limited,
    "bytea": lambda name, typmod: ColumnType(name, "bytes", scalars.binary, _EMPTY, sized(UNAVAILABLE)),
    "bit": _bits,
    "varbit": _bits,
    "date": _plain(semantic("int", "io.debezium.time.Date"), temporal.date, b"\x00"),
    "time": _adaptive(
        (semantic("int", "io.debezium.time.Time"), temporal.time_millis),
        (semantic("long", "io.debezium.time.MicroTime"), temporal.time_micros),
    ),
    "timestamp": _adaptive(
        (semantic("long", "io.debezium.time.Timestamp"), temporal.timestamp_millis),
        (semantic("long", "io.debezium.time.MicroTimestamp"), temporal.timestamp_micros),
    ),
    "timestamptz": _zoned_timestamp,
    "timetz": lambda name, typmod: ColumnType(
        name,
        semantic("string", "io.debezium.time.ZonedTime"),
        temporal.zoned_time,
        sized(b"00:00:00Z"),
        sized(UNAVAILABLE),
    ),
    "interval": _plain(semantic("long", "io.debezium.time.MicroDuration"), temporal.interval, b"\x00"),
    "uuid": _string("io.debezium.data.Uuid"),
    "json": _string("io.debezium.data.Json"),
    "jsonb": _string("io.debezium.data.Json"),
    "xml": _string("io.debezium.data.Xml"),
    "tsvector": _string("io.debezium.data.Tsvector"),
    "point": _plain(POINT, scalars.point, scalars.point(b"")(b"(0,0)")),
    "ltree": _string("io.debezium.data.Ltree"),
    "hstore": _hstore,
}

_EXTENSIONS: Final = frozenset({"ltree", "hstore"})
"""Types known by name wherever their extension was put."""

_IN_ARRAYS: Final = frozenset(_KNOWN) - {"money", "bit", "varbit", "interval", "xml", "tsvector", "point"} | {
    "text",
    "citext",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
}
"""The elements that Debezium has an array for, with enums and ranges."""

_COMPUTED: Final[Mapping[str, bytes]] = {
    "bool": b"f",
    **dict.fromkeys(("int2", "int4", "int8", "float4", "float8", "numeric"), b"0"),
    **dict.fromkeys(("text", "varchar", "bpchar", "xml"), b""),
    **dict.fromkeys(("json", "jsonb"), b"{}"),
    "date": b"1970-01-01",
    "time": b"00:00:00",
    "timestamp": b"1970-01-01 00:00:00",
    "timestamptz": b"1970-01-01 00:00:00+00",
    "interval": b"00:00:00",
    "uuid": b"00000000-0000-0000-0000-000000000000",
    "bit": b"0",
    "varbit": b"0",
}
"""The types whose defaults are shown, and what stands for one that the server computes."""

_LITERAL: Final = re.compile(r"'((?:[^']|'')*)'(?:::[\w \".\[\](),]+)?", re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_FUNCTION: Final = re.compile(r"\(*(?:[A-Za-z0-9_.]+\(|CURRENT_|LOCALTIME|SESSION_USER)")
_INFINITE: Final = (b"infinity", b"-infinity")


def constant_default(expression: str | None, column: ColumnType) -> Default | None:
    """A column's default as its schema shows it; `expression` is pg_get_expr's, with SESSION_SETTINGS.

    A constant is shown, a function's result as the type's zero, as Debezium does (`now()` is 1970); anything else,
    and a constant that the type cannot hold, is not shown.
    """
    kind = column.name.partition("(")[0]
    is_enum = isinstance(column.avro, dict) and column.avro.get("connect.name") == "io.debezium.data.Enum"
    if expression is None or not (kind in _COMPUTED or is_enum) or column.avro is _VARIABLE_SCALE:
        return None
    text = _constant(expression, _COMPUTED.get(kind))
    if text is None or (text in _INFINITE and kind.startswith(("date", "time"))):
        return None
    try:
        avro = column.encoder(b"")(text)
    except (ValueError, LookupError, Unencodable):
        return None
    return Default(_default_json(column.avro, avro, text), avro)


def _constant(expression: str, computed: bytes | None) -> bytes | None:
    """The text of the value, None where the expression is no constant."""
    if expression in ("true", "false"):
        return expression[:1].encode()
    if _NUMBER.fullmatch(expression):
        return expression.encode()
    if literal := _LITERAL.fullmatch(expression):
        return literal[1].replace("''", "'").encode()
    return computed if _FUNCTION.match(expression) else None


def _default_json(schema: Avro, avro: bytes, text: bytes) -> Any:
    """A default as an Avro schema writes it: what JSON has no number for as a string."""
    primitive = schema["type"] if isinstance(schema, dict) else schema
    if primitive in ("float", "double"):
        number = float(text)
        return number if abs(number) < float("inf") else text.decode()
    return default_json(schema, avro)
