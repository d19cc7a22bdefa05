"""An Avro schema compiled to a function from bytes to values that JSON can hold.

The envelope of a row has about thirty fields, half of them unions; walking the schema for each event costs more than
twice what a function written for that schema does. fastavro judges it in tests.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

from schema.change import Avro

Read = Callable[[bytes, int], tuple[Any, int]]
"""(bytes, where the value begins) -> (value, where it ends). For one thread at a time. Bytes that do not fit raise one
of MISMATCH, or the value ends elsewhere than the bytes do."""

MISMATCH = (IndexError, ValueError, struct.error)
_VARIABLE_DECIMAL = "io.debezium.data.VariableScaleDecimal"
_ANY_SIZE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_LARGEST = 1.7976931348623157e308
_NO_LONG = b"\xff" * 11
_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


def compile_reader(schema: Avro) -> Read:
    """Raises KeyError for a schema that names a type it does not define."""
    return _Compiler().compile(schema)


def full_name(body: dict[str, Any], namespace: str) -> str:
    """The full name of a record, enum or fixed that stands inside `namespace`."""
    name = str(body["name"])
    inside = body.get("namespace", namespace)
    return name if "." in name or not inside else f"{inside}.{name}"


class _Compiler:
    """Writes one Python function per record, and one for the schema itself.

    In them `b` are the bytes, `i` is the place reached, `n` the last count read; values are `v0`, `v1`...
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {
            "tail": _tail,
            "plain": _plain,
            "base64": _base64,
            "number": _number,
            "float_at": struct.Struct("<f").unpack_from,
            "double_at": struct.Struct("<d").unpack_from,
        }
        self._functions: dict[str, str] = {}  # full name of a record -> its function's
        self._bodies: dict[str, dict[str, Any]] = {}  # every named type by its full name
        self._count = 0

    def compile(self, schema: Avro) -> Read:
        read: Read = self._define("read", ["v = None", *self._value(schema, "v", ""), "return v, i"])
        return read

    def _define(self, name: str, lines: list[str]) -> Any:
        for variable in re.findall(r"global (\w+)", "\n".join(lines)):
            self._known[variable] = _NO_LONG
        source = f"def {name}(b, i):\n" + "\n".join(f"    {line}" for line in lines)
        exec(compile(source, f"<avro {name}>", "exec"), self._known)  # every name and literal in it is ours or a repr
        return self._known[name]

    def _new(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _value(self, schema: Avro, to: str, namespace: str) -> Iterator[str]:
        """The lines that read one value into the variable `to`."""
        if isinstance(schema, list):
            yield from self._union(schema, to, namespace)
            return
        body: dict[str, Any] = {"type": schema} if isinstance(schema, str) else schema
        kind = body["type"]
        if isinstance(kind, dict | list):
            yield from self._value(kind, to, namespace)
        elif kind in ("array", "map"):
            yield from self._blocks(body, to, namespace)
        elif kind in ("record", "enum", "fixed"):
            yield from self._named(body, full_name(body, namespace), to)
        elif kind in _PRIMITIVES:
            yield from _primitive(body, to)
        else:
            yield from self._reference(kind if "." in kind or not namespace else f"{namespace}.{kind}", to)

    def _union(self, branches: list[Any], to: str, namespace: str) -> Iterator[str]:
        yield "n = b[i]; i += 1"
        for at, branch in enumerate(branches):
            yield f"{'el' * bool(at)}if n == {2 * at}:"
            yield from _indented(self._value(branch, to, namespace))
        yield f"else: raise ValueError('branch %d of {len(branches)}' % (n >> 1))"

    def _blocks(self, body: dict[str, Any], to: str, namespace: str) -> Iterator[str]:
        is_map = body["type"] == "map"
        item, key, end = self._new("v"), self._new("k"), self._new("c")
        yield f"{to} = {'{}' if is_map else '[]'}"
        yield "while True:"
        yield from _indented(_count())
        yield f"    {end} = n >> 1 ^ -(n & 1)"
        yield f"    if not {end}: break"
        yield f"    if {end} < 0:"
        yield f"        {end} = -{end}"
        yield from _indented(_indented(_count()))
        yield f"    for _ in range({end}):"
        lines = [*_primitive({"type": "string"}, key)] if is_map else []
        lines += self._value(body["values" if is_map else "items"], item, namespace)
        lines += [f"{to}[{key}] = {item}" if is_map else f"{to}.append({item})"]
        yield from _indented(_indented(lines))

    def _named(self, body: dict[str, Any], name: str, to: str) -> Iterator[str]:
        self._bodies[name] = body
        if body["type"] == "record":
            self._functions[name] = self._new("record_")
            self._record(body, name)
        yield from self._reference(name, to)

    def _reference(self, name: str, to: str) -> Iterator[str]:
        body = self._bodies[name]
        if body["type"] == "record":
            yield f"{to}, i = {self._functions[name]}(b, i)"
        elif body["type"] == "enum":
            yield from _count()
            yield f"{to} = {tuple(body['symbols'])!r}[n >> 1]"
        else:
            yield f"{to} = base64(b[i:i + {int(body['size'])}]); i += {int(body['size'])}"

    def _record(self, body: dict[str, Any], name: str) -> None:
        lines: list[str] = []
        values: list[tuple[str, str]] = []
        raw = name == _VARIABLE_DECIMAL
        for field in body["fields"]:
            to = self._new("v")
            values.append((field["name"], to))
            if raw and field["name"] == "value":
                lines += [*_slice(), f"{to} = b[i:j]; i = j"]
            else:
                lines += self._value(field["type"], to, name.rpartition(".")[0])
        if raw:
            of = dict(values)
            lines.append(f"return plain({of['value']}, {of['scale']}), i")
        else:
            lines.append(f"return {{{', '.join(f'{field!r}: {to}' for field, to in values)}}}, i")
        self._define(self._functions[name], lines)


def _primitive(body: dict[str, Any], to: str) -> Iterator[str]:
    kind = body["type"]
    if kind == "null":
        yield f"{to} = None"
    elif kind == "boolean":
        yield f"{to} = b[i] == 1; i += 1"
    elif kind in ("int", "long"):
        yield from _long(to)
    elif kind in ("float", "double"):
        yield f"{to} = number({kind}_at(b, i)[0]); i += {4 if kind == 'float' else 8}"
    else:
        yield from _slice()
        if kind == "string":
            yield f"{to} = b[i:j].decode(); i = j"
        elif body.get("logicalType") == "decimal":
            yield f"{to} = plain(b[i:j], {int(body.get('scale', 0))}); i = j"
        else:
            yield f"{to} = base64(b[i:j]); i = j"


def _count() -> Iterator[str]:
    """`n`: a long, still in zigzag."""
    yield "n = b[i]; i += 1"
    yield "if n > 127: n, i = tail(b, i, n)"


def _long(to: str) -> Iterator[str]:
    """A time or transaction id is often the one that stood here last: its bytes are compared before they are read."""
    yield f"global seen_{to}, was_{to}"
    yield "n = b[i]"
    yield "if n < 128:"
    yield f"    {to} = n >> 1 ^ -(n & 1); i += 1"
    yield f"elif b.startswith(seen_{to}, i):"
    yield f"    {to} = was_{to}; i += len(seen_{to})"
    yield "else:"
    yield "    n, j = tail(b, i + 1, n)"
    yield f"    was_{to} = {to} = n >> 1 ^ -(n & 1); seen_{to} = b[i:j]; i = j"


def _slice() -> Iterator[str]:
    """`j`: where the bytes that begin at `i` end."""
    yield from _count()
    yield "if n & 1: raise ValueError('negative length')"
    yield "j = i + (n >> 1)"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}"


def _tail(b: bytes, i: int, n: int) -> tuple[int, int]:
    """The rest of a long whose first byte was `n`, still in zigzag."""
    n &= 0x7F
    shift = 7
    while True:
        byte = b[i]
        i += 1
        if byte < 0x80:
            return n | byte << shift, i
        n |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _plain(unscaled: bytes, scale: int) -> str:
    return format(Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-scale, _ANY_SIZE), "f")


def _number(value: float) -> float | str:
    if -_LARGEST <= value <= _LARGEST:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
