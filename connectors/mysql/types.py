"""The types of MySQL and MariaDB as events show them: Debezium's, save for the house differences that docs list.

Each type has two encoders with the same result: one reads a column's bytes in a rows event, without their length
prefix, the other the text of `select_expression` in a session of UTC and utf8mb4. Sources: Debezium's
BinlogValueConverters and BinlogDefaultValueConverter; MySQL's sql/field.cc and libs/mysql/binlog/event/rows_event.h.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from pymysql.constants import FIELD_TYPE

from connectors.errors import SourceError
from connectors.mysql import charsets, scalars, temporal
from connectors.mysql.geometry import geometry_type
from connectors.mysql.json import json_text_type, json_type
from connectors.mysql.names import quoted
from connectors.mysql.shape import ColumnShape
from connectors.mysql.tablemap import COMPRESSED_BLOB, COMPRESSED_VARCHAR, VECTOR
from connectors.mysql.vector import vector_type
from schema import texts
from schema.change import Avro, ColumnType, Default, Encode
from schema.errors import Unencodable
from schema.semantic import UNAVAILABLE, decimal, default_json, semantic
from schema.varint import sized

Encoder = Callable[[bytes], Encode]

TIMESTAMP2, DATETIME2, TIME2, JSON = 17, 18, 19, 245
_BLOBS: Final = frozenset((FIELD_TYPE.TINY_BLOB, FIELD_TYPE.BLOB, FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB))
_COMPRESSED: Final = frozenset((COMPRESSED_BLOB, COMPRESSED_VARCHAR))
_STRINGS: Final = _BLOBS | _COMPRESSED | {FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING}
_LABELLED: Final = frozenset((FIELD_TYPE.ENUM, FIELD_TYPE.SET))
_OLD_TEMPORALS: Final = frozenset((FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIME, FIELD_TYPE.DATETIME))
_TIMESTAMPS: Final = frozenset((TIMESTAMP2, FIELD_TYPE.TIMESTAMP))
_CLOCKS: Final = _TIMESTAMPS | {DATETIME2, FIELD_TYPE.DATETIME}
_FLOATS: Final = frozenset((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE))

_INTEGER_BYTES: Final = {
    FIELD_TYPE.TINY: 1,
    FIELD_TYPE.SHORT: 2,
    FIELD_TYPE.INT24: 3,
    FIELD_TYPE.LONG: 4,
    FIELD_TYPE.LONGLONG: 8,
}
_INTEGER_NAMES: Final = {1: "tinyint", 2: "smallint", 3: "mediumint", 4: "int", 8: "bigint"}
_FIXED_BYTES: Final = {
    **_INTEGER_BYTES,
    FIELD_TYPE.FLOAT: 4,
    FIELD_TYPE.DOUBLE: 8,
    FIELD_TYPE.YEAR: 1,
    FIELD_TYPE.DATE: 3,
    FIELD_TYPE.NEWDATE: 3,
    FIELD_TYPE.TIME: 3,
    FIELD_TYPE.TIMESTAMP: 4,
    FIELD_TYPE.DATETIME: 8,
}
_WHOLE_BYTES: Final = {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}
_INT16: Final[Avro] = {"type": "int", "connect.type": "int16"}
_ADDRESSES: Final = {"uuid": scalars.uuid, "inet4": scalars.inet4, "inet6": scalars.inet6}
_ADDRESS_BYTES: Final = {"uuid": 16, "inet4": 4, "inet6": 16}
_ZERO: Final = b"\x00"
_NOW: Final = "CURRENT_TIMESTAMP"


class _Forms(NamedTuple):
    """A type with the encoder of each form."""

    name: str
    avro: Avro
    log: Encoder
    text: Encoder
    zero: bytes
    unavailable: bytes | None = None


def width(shape: ColumnShape) -> int:
    """The bytes of a value of fixed size; -1 to -4: a length of so many bytes stands before the value."""
    kind, meta = shape.kind, shape.meta
    if kind in _FIXED_BYTES:
        _refuse_old_fraction(shape)
        return _FIXED_BYTES[kind]
    if kind in _WHOLE_BYTES:
        return _WHOLE_BYTES[kind] + temporal.FRACTION_BYTES[meta]
    if kind == FIELD_TYPE.NEWDECIMAL:
        return scalars.decimal_width(meta & 0xFF, meta >> 8)
    if kind in _LABELLED:
        return meta >> 8
    if kind == FIELD_TYPE.BIT:
        return (meta >> 8) + (meta & 0xFF > 0)
    if kind == FIELD_TYPE.STRING:
        return -1 if _char_bytes(meta) < 256 else -2
    if kind in (FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, COMPRESSED_VARCHAR):
        return -1 if meta < 256 else -2
    return -meta


def _char_bytes(meta: int) -> int:
    """The longest value of a STRING in bytes: bits 8 and 9 stand, turned round, in the type's code."""
    return meta >> 8 | ((meta & 0x30) ^ 0x30) << 4


def log_type(shape: ColumnShape) -> ColumnType:
    """The type whose encoder reads the log's bytes. Raises SourceError for one that cannot be read."""
    if shape.kind == JSON:
        return json_type()
    forms = _forms(shape)
    return ColumnType(forms.name, forms.avro, forms.log, forms.zero, forms.unavailable)


def text_type(shape: ColumnShape) -> ColumnType:
    """The same type with the encoder that reads what `select_expression` gives."""
    if shape.kind == JSON:
        return json_text_type()
    forms = _forms(shape)
    return ColumnType(forms.name, forms.avro, forms.text, forms.zero, forms.unavailable)


def _forms(shape: ColumnShape) -> _Forms:
    kind, meta = shape.kind, shape.meta
    if kind in _INTEGER_BYTES:
        return _integer(_INTEGER_BYTES[kind], shape.unsigned)
    if kind == VECTOR or shape.declared.startswith("vector("):
        # MariaDB logs one as VARBINARY.
        return _same(vector_type(shape.declared or "vector"))
    if kind in _STRINGS:
        return _string(shape)
    if kind in _LABELLED:
        return _labelled(shape)
    if kind == FIELD_TYPE.NEWDECIMAL:
        precision, scale = meta & 0xFF, meta >> 8
        log, text = partial(scalars.decimal, precision, scale), partial(texts.decimal, scale)
        return _Forms(f"decimal({precision},{scale})", decimal(scale, precision), log, text, b"\x02\x00")
    if kind == FIELD_TYPE.BIT:
        return _bits((meta >> 8) * 8 + (meta & 0xFF))
    if kind == FIELD_TYPE.GEOMETRY:
        return _same(geometry_type(shape.declared or "geometry"))
    if kind == FIELD_TYPE.FLOAT:
        # A FLOAT with digits of its own is Debezium's double.
        if shape.declared.startswith("float("):
            return _Forms("float", "double", scalars.widened, texts.double, bytes(8))
        return _Forms("float", "float", scalars.verbatim, texts.real, bytes(4))
    if kind == FIELD_TYPE.DOUBLE:
        return _Forms("double", "double", scalars.verbatim, texts.double, bytes(8))
    if kind == FIELD_TYPE.YEAR:
        return _Forms("year", semantic("int", "io.debezium.time.Year"), scalars.year, texts.integer, _ZERO)
    return _temporal(shape)


def _same(both: ColumnType) -> _Forms:
    return _Forms(both.name, both.avro, both.encoder, both.encoder, both.zero, both.unavailable)


def _integer(size: int, unsigned: bool) -> _Forms:
    name = f"{_INTEGER_NAMES[size]}{' unsigned' if unsigned else ''}"
    if size == 8 and unsigned:
        return _Forms(name, decimal(0, 20), scalars.unsigned_bigint, partial(texts.decimal, 0), b"\x02\x00")
    avro: Avro = "int"
    if size == 1 or (size == 2 and not unsigned):
        avro = _INT16
    elif size == 8 or (size == 4 and unsigned):
        avro = "long"
    if size == 1:
        return _Forms(name, avro, partial(scalars.tiny, unsigned), texts.integer, _ZERO)
    if size == 3:
        return _Forms(name, avro, partial(scalars.medium, unsigned), texts.integer, _ZERO)
    return _Forms(name, avro, partial(scalars.integer, size, unsigned), texts.integer, _ZERO)


def _bits(count: int) -> _Forms:
    if count == 1:
        return _Forms("bit(1)", "boolean", scalars.bit, scalars.bit, _ZERO)
    avro = semantic("bytes", "io.debezium.data.Bits", {"length": str(count)})
    return _Forms(f"bit({count})", avro, scalars.bits, scalars.bits, sized(bytes((count + 7) // 8)))


def _string(shape: ColumnShape) -> _Forms:
    declared = shape.declared
    if shape.kind == FIELD_TYPE.STRING and declared in _ADDRESSES:
        avro: Avro = semantic("string", "io.debezium.data.Uuid") if declared == "uuid" else "string"
        log = _ADDRESSES[declared]
        return _Forms(declared, avro, log, texts.string, log(b"")(bytes(_ADDRESS_BYTES[declared])), sized(UNAVAILABLE))
    if shape.charset == "binary":
        avro, text = "bytes", texts.string
        name, log = "varbinary", texts.string
        if shape.kind == FIELD_TYPE.STRING:
            name, log = "binary", partial(scalars.padded, _char_bytes(shape.meta))
    else:
        avro = semantic("string", "io.debezium.data.Json") if declared == "json" else "string"
        name = "char" if shape.kind == FIELD_TYPE.STRING else "varchar"
        log = text = partial(charsets.text, shape.charset)
    if shape.kind in _BLOBS or shape.kind == COMPRESSED_BLOB:
        name = "blob" if shape.charset == "binary" else "text"
    if shape.kind in _COMPRESSED:
        log = partial(scalars.compressed, log)
    zero = log(b"")(b"")
    return _Forms(name, avro, log, text, zero, sized(UNAVAILABLE))


def _labelled(shape: ColumnShape) -> _Forms:
    labels = [label.encode() for label in shape.labels]
    is_enum = shape.kind == FIELD_TYPE.ENUM
    parameters = {"allowed": ",".join([label.replace(",", "\\,") for label in shape.labels])}
    avro = semantic("string", "io.debezium.data.Enum" if is_enum else "io.debezium.data.EnumSet", parameters)
    log: Encoder = partial(scalars.enum if is_enum else scalars.members, labels)
    text: Encoder = partial(scalars.enum_text if is_enum else scalars.members_text, labels)
    return _Forms("enum" if is_enum else "set", avro, log, text, _ZERO, sized(UNAVAILABLE))


def _temporal(shape: ColumnShape) -> _Forms:
    kind, digits = shape.kind, shape.meta
    name = f"({digits})" if digits else ""
    _refuse_old_fraction(shape)
    if kind in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE):
        return _Forms("date", semantic("int", "io.debezium.time.Date"), temporal.log_date, temporal.date, _ZERO)
    if kind in (DATETIME2, FIELD_TYPE.DATETIME):
        meaning = "Timestamp" if digits <= temporal.MILLIS_DIGITS else "MicroTimestamp"
        avro = semantic("long", f"io.debezium.time.{meaning}")
        log = partial(temporal.log_datetime, digits) if kind == DATETIME2 else temporal.log_old_datetime
        return _Forms(f"datetime{name}", avro, log, partial(temporal.datetime, digits), _ZERO)
    if kind in (TIMESTAMP2, FIELD_TYPE.TIMESTAMP):
        avro = semantic("string", "io.debezium.time.ZonedTimestamp")
        log = partial(temporal.log_timestamp, digits) if kind == TIMESTAMP2 else temporal.log_old_timestamp
        return _Forms(f"timestamp{name}", avro, log, temporal.timestamp, sized(b"1970-01-01T00:00:00Z"))
    if kind in (TIME2, FIELD_TYPE.TIME):
        avro = semantic("long", "io.debezium.time.MicroTime")
        log = partial(temporal.log_time, digits) if kind == TIME2 else temporal.log_old_time
        return _Forms(f"time{name}", avro, log, temporal.time, _ZERO)
    raise SourceError(
        f"{shape.name} has the type {kind}, which this version does not know", "leave its table out of source.tables"
    )


_FRACTION: Final = re.compile(r"\w+\([1-6]\)")


def _refuse_old_fraction(shape: ColumnShape) -> None:
    """MariaDB 5.3 stored fractions in a form of its own whose size the log does not tell."""
    if shape.kind in _OLD_TEMPORALS and _FRACTION.match(shape.declared):
        raise SourceError(
            f"{shape.name} is stored in the format of MariaDB 5.3, which the log does not describe",
            "run ALTER TABLE ... FORCE on its table with mysql56_temporal_format=ON",
        )


def select_expression(shape: ColumnShape) -> str:
    """What a SELECT must ask for so that the encoder of `text_type` reads it.

    Text in a charset other than UTF-8 comes in its own bytes, so that a code without a character is not shown as
    another; floats come with all their digits; ENUM and SET as the number that the log has.
    """
    column = quoted(shape.name)
    if shape.kind in _FLOATS:
        return f"{column} * 1e0"
    if shape.kind in _LABELLED:
        return f"cast({column} as unsigned)"
    if shape.kind in _STRINGS and shape.charset not in ("", "binary", *charsets.UTF8):
        return f"cast({column} as binary)"
    return column


def key_expression(shape: ColumnShape) -> str:
    """What is compared with `key_literal`: the column itself, so that an index serves. Rows are sorted by the column.

    MariaDB walks through the index of an ENUM and filters, and compares a SET as a signed number unless it is cast.
    """
    return select_expression(shape) if shape.kind == FIELD_TYPE.SET else quoted(shape.name)


def key_literal(shape: ColumnShape, value: bytes) -> str:
    """`value`, which `select_expression` gave of a row, as SQL that finds the row and those behind it."""
    kind = shape.kind
    if kind == FIELD_TYPE.BIT:
        return str(int.from_bytes(value, "big"))
    if kind in _FLOATS:
        return value.decode() if b"e" in value else f"{value.decode()}e0"
    if kind in _STRINGS and shape.declared not in _ADDRESSES:
        return f"x'{value.hex()}'" if shape.charset == "binary" else f"_{shape.charset} x'{value.hex()}'"
    if kind in _INTEGER_BYTES or kind in _LABELLED or kind == FIELD_TYPE.NEWDECIMAL:
        return value.decode()
    return f"'{value.decode()}'"


def may_be_null(shape: ColumnShape) -> bool:
    """As the schema has it: for Debezium any geometry but a POINT may be."""
    return shape.optional or (shape.kind == FIELD_TYPE.GEOMETRY and shape.declared != "point")


def constant_default(shape: ColumnShape) -> Default | None:
    """A column's default as its schema shows it; None for none, and for one that the type cannot hold.

    CURRENT_TIMESTAMP is the type's zero, as Debezium has it, but of a TIMESTAMP that may be NULL, which has none there.
    """
    column = text_type(shape)
    if shape.default is None:
        return None
    if shape.default == _NOW and shape.kind in _CLOCKS:
        if shape.optional and shape.kind in _TIMESTAMPS:
            return None
        return Default(default_json(column.avro, column.zero), column.zero)
    try:
        avro = _default(shape, column)
    except (ValueError, LookupError, Unencodable):
        return None
    if shape.kind == FIELD_TYPE.FLOAT:
        # As written: 0.1 and not 0.10000000149011612.
        return Default(float(shape.default), avro)
    return Default(default_json(column.avro, avro), avro)


def _default(shape: ColumnShape, column: ColumnType) -> bytes:
    text = (shape.default or "").encode()
    if shape.kind == FIELD_TYPE.BIT:
        digits = int(text.removeprefix(b"b").strip(b"'"), 2)
        return column.encoder(b"")(digits.to_bytes(width(shape), "big"))
    if shape.kind in _STRINGS or shape.kind in _LABELLED:
        return sized(text)
    return column.encoder(b"")(text)
