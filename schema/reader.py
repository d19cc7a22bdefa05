"""An Avro schema bound to readers, from bytes to values that JSON can hold: ours, or those of Kafka Connect.

The envelope of a row has about thirty fields; walking its schema for each event would cost several times what readers
bound once do, and these compile to native code. fastavro judges them in tests.
"""

import struct
from base64 import b64encode
from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, Final

from schema.change import Avro

Read = Callable[[bytes, int], tuple[Any, int]]
"""(bytes, where the value begins) -> (value, where it ends). For one thread at a time. Bytes that do not fit raise one
of MISMATCH, or the value ends elsewhere than the bytes do."""

MISMATCH = (IndexError, ValueError, struct.error)

_VARIABLE_DECIMAL: Final = "io.debezium.data.VariableScaleDecimal"
_FRAMES: Final = (".Source", ".Envelope")
"""Records around a row: most of their fields stay the same from one event to the next..."""
_PER_EVENT: Final = ("sequence", "lsn")
"""...but these."""

_ANY_SIZE: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_LARGEST: Final = 1.7976931348623157e308
_NORMAL: Final = 2.0**-126
_DIGITS: Final = (6, 7, 8)
"""A float has room for six in any case..."""
_FEW_DIGITS: Final = (2, 3, 4, 5, 6, 7, 8)
"""...but for one next to zero."""
_FLOAT: Final = struct.Struct("<f")
_FLOAT_AT: Final = _FLOAT.unpack_from
_DOUBLE_AT: Final = struct.Struct("<d").unpack_from


def compile_reader(schema: Avro, *, connect: bool = False) -> Read:
    """`connect`: values as Kafka Connect's JsonConverter shows them, decimals as base64 of the unscaled number.

    Raises KeyError for a schema that names a type it does not define.
    """
    return _Binder(connect).reader(schema, "").read


def full_name(body: dict[str, Any], namespace: str) -> str:
    """The full name of a record, enum or fixed that stands inside `namespace`."""
    name = str(body["name"])
    inside = body.get("namespace", namespace)
    return name if "." in name or not inside else f"{inside}.{name}"


class _Reader:
    """Reads null, and is the base of the others: (bytes, where the value begins) -> (value, where it ends)."""

    repeats = True
    """Whether a value may be given again where the same bytes stand again: nobody can change it."""

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        return None, at


class _Boolean(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        return data[at] == 1, at + 1


class _Long(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        n = data[at]
        at += 1
        if n > 127:
            n, at = _tail(data, at, n)
        return -(n >> 1) - 1 if n & 1 else n >> 1, at


class _Float(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        return _number(_FLOAT_AT(data, at)[0]), at + 4


class _ShortFloat(_Reader):
    """With no more digits than tell it from other floats, as Java writes it."""

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        return _number(_shortest(_FLOAT_AT(data, at)[0])), at + 4


class _Double(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        return _number(_DOUBLE_AT(data, at)[0]), at + 8


class _String(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        n = data[at]
        at += 1
        if n > 127:
            n, at = _tail(data, at, n)
        end = at + (n >> 1)
        if n & 1 or end > len(data):
            raise _no_room(n, at, data)
        return data[at:end].decode(), end


class _Bytes(_Reader):
    def read(self, data: bytes, at: int) -> tuple[object, int]:
        taken, at = _sized(data, at)
        return b64encode(taken).decode(), at


class _Fixed(_Reader):
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        end = at + self.size_bytes
        if end > len(data):
            raise _no_room(2 * self.size_bytes, at, data)
        return b64encode(data[at:end]).decode(), end


class _Decimal(_Reader):
    def __init__(self, scale: int) -> None:
        self.scale = scale

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        unscaled, at = _sized(data, at)
        return _plain(unscaled, self.scale), at


class _VariableDecimal(_Reader):
    """Its fields are the scale, then the unscaled number."""

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        scale, at = _long(data, at)
        unscaled, at = _sized(data, at)
        return _plain(unscaled, scale), at


class _Enum(_Reader):
    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        symbol, at = _long(data, at)
        if symbol < 0:
            raise ValueError(f"symbol {symbol} of {len(self.symbols)}")
        return self.symbols[symbol], at


class _Union(_Reader):
    """Of fewer than 64 branches: its number is one byte."""

    def __init__(self, branches: list[_Reader], null: int) -> None:
        """`null`: the branch that is null, or -1."""
        self.branches = branches
        self.null = null * 2
        self.repeats = all(branch.repeats for branch in branches)

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        n = data[at]
        if n == self.null:
            return None, at + 1
        if n & 1 or n >> 1 >= len(self.branches):
            raise ValueError(f"branch {n >> 1} of {len(self.branches)}")
        return self.branches[n >> 1].read(data, at + 1)


class _Array(_Reader):
    def __init__(self, items: _Reader) -> None:
        self.items = items
        self.repeats = False

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        values: list[object] = []
        count, at = _block(data, at)
        while count:
            for _ in range(count):
                value, at = self.items.read(data, at)
                values.append(value)
            count, at = _block(data, at)
        return values, at


class _Map(_Reader):
    def __init__(self, items: _Reader) -> None:
        self.items = items
        self.repeats = False

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        values: dict[str, object] = {}
        count, at = _block(data, at)
        while count:
            for _ in range(count):
                key, at = _sized(data, at)
                values[key.decode()], at = self.items.read(data, at)
            count, at = _block(data, at)
        return values, at


class _Field:
    def __init__(self, name: str, reader: _Reader) -> None:
        self.name = name
        self.reader = reader


class _Run:
    """Fields side by side; where `kept`, the bytes of the last event stand for its values when they stand again."""

    def __init__(self, kept: bool) -> None:
        self.kept = kept
        self.fields: list[_Field] = []
        self.seen = b""
        self.was: dict[str, object] = {}

    def read(self, data: bytes, at: int) -> int:
        """Brings `was` up to date; returns where the run ends."""
        end = at + len(self.seen)
        if self.seen and end <= len(data) and data[at:end] == self.seen:
            return end
        was: dict[str, object] = {}
        end = at
        for field in self.fields:
            was[field.name], end = field.reader.read(data, end)
        if end > len(data):
            raise _no_room(0, end, data)
        self.was, self.seen = was, data[at:end]
        return end


class _Record(_Reader):
    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self.repeats = False

    def bind(self, fields: list[_Field], frame: bool) -> None:
        """Apart from `__init__`: a field may hold the record itself."""
        for field in fields:
            kept = frame and field.reader.repeats and field.name not in _PER_EVENT
            if not self.runs or self.runs[-1].kept != kept:
                self.runs.append(_Run(kept))
            self.runs[-1].fields.append(field)

    def read(self, data: bytes, at: int) -> tuple[object, int]:
        record: dict[str, object] = {}
        for run in self.runs:
            if run.kept:
                at = run.read(data, at)
                record.update(run.was)
            else:
                for field in run.fields:
                    record[field.name], at = field.reader.read(data, at)
        return record, at


class _Binder:
    """Makes the readers of one schema, each named type once."""

    def __init__(self, connect: bool) -> None:
        self._connect = connect
        self._named: dict[str, _Reader] = {}

    def reader(self, schema: Avro, namespace: str) -> _Reader:
        if isinstance(schema, list):
            readers = [self.reader(branch, namespace) for branch in schema]
            return _Union(readers, schema.index("null") if "null" in schema else -1)
        body: dict[str, Any] = {"type": schema} if isinstance(schema, str) else schema
        kind = body["type"]
        if isinstance(kind, (dict, list)):
            return self.reader(kind, namespace)
        if kind == "array":
            return _Array(self.reader(body["items"], namespace))
        if kind == "map":
            return _Map(self.reader(body["values"], namespace))
        if kind == "record":
            return self._record(body, full_name(body, namespace))
        if kind in ("enum", "fixed"):
            reader = _Enum(list(body["symbols"])) if kind == "enum" else _Fixed(int(body["size"]))
            self._named[full_name(body, namespace)] = reader
            return reader
        primitive = _primitive(kind, body, self._connect)
        return primitive or self._named[kind if "." in kind or not namespace else f"{namespace}.{kind}"]

    def _record(self, body: dict[str, Any], name: str) -> _Reader:
        if name == _VARIABLE_DECIMAL and not self._connect:
            self._named[name] = _VariableDecimal()
            return self._named[name]
        self._named[name] = record = _Record()
        inside = name.rpartition(".")[0]
        fields = [_Field(field["name"], self.reader(field["type"], inside)) for field in body["fields"]]
        record.bind(fields, name.endswith(_FRAMES))
        return record


def _primitive(kind: str, body: dict[str, Any], connect: bool) -> _Reader | None:
    if kind == "bytes" and body.get("logicalType") == "decimal" and not connect:
        return _Decimal(int(body.get("scale", 0)))
    readers: dict[str, type[_Reader]] = {
        "null": _Reader,
        "boolean": _Boolean,
        "int": _Long,
        "long": _Long,
        "float": _ShortFloat if connect else _Float,
        "double": _Double,
        "bytes": _Bytes,
        "string": _String,
    }
    return readers[kind]() if kind in readers else None


def _tail(data: bytes, at: int, n: int) -> tuple[int, int]:
    """The rest of a long whose first byte was `n`, still in zigzag."""
    n &= 0x7F
    shift = 7
    while shift <= 63:
        byte = data[at]
        at += 1
        if byte < 0x80:
            return n | byte << shift, at
        n |= (byte & 0x7F) << shift
        shift += 7
    raise ValueError("a number of more than 64 bits")


def _long(data: bytes, at: int) -> tuple[int, int]:
    n = data[at]
    at += 1
    if n > 127:
        n, at = _tail(data, at, n)
    return -(n >> 1) - 1 if n & 1 else n >> 1, at


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    """Avro `bytes` and `string`."""
    n = data[at]
    at += 1
    if n > 127:
        n, at = _tail(data, at, n)
    end = at + (n >> 1)
    if n & 1 or end > len(data):
        raise _no_room(n, at, data)
    return data[at:end], end


def _no_room(zigzag: int, at: int, data: bytes) -> ValueError:
    size_bytes = -(zigzag >> 1) - 1 if zigzag & 1 else zigzag >> 1
    return ValueError(f"{size_bytes} bytes at {at} of {len(data)}")


def _block(data: bytes, at: int) -> tuple[int, int]:
    """How many items follow; a negative count has the block's size in bytes behind it."""
    count, at = _long(data, at)
    if count < 0:
        _, at = _long(data, at)
        return -count, at
    return count, at


def _plain(unscaled: bytes, scale: int) -> str:
    number = int.from_bytes(unscaled, "big", signed=True)
    if len(unscaled) > 16 or scale < 0 or scale > 100:
        return format(Decimal(number).scaleb(-scale, _ANY_SIZE), "f")
    digits = str(abs(number)).zfill(scale + 1)
    sign = "-" if number < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def _shortest(value: float) -> float:
    for digits in _DIGITS if abs(value) >= _NORMAL else _FEW_DIGITS:
        shown = float(f"{value:.{digits}g}")
        if _FLOAT.unpack(_FLOAT.pack(shown))[0] == value:
            return shown
    return float(f"{value:.9g}")


def _number(value: float) -> float | str:
    if -_LARGEST <= value <= _LARGEST:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
