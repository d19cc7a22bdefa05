"""A table's changes as wire bytes: writers bound once per version, no dict and no object per row.

Wire bytes are 0x00, the schema's id as 4 bytes big-endian, the Avro body (Confluent's wire format).
"""

from collections.abc import Sequence
from struct import Struct

from schema.change import UNCHANGED, Column, Encode, Table, Value, completed
from schema.errors import NullInRequired, Unencodable

_WIRE_HEADER = Struct(">xI").pack
_NULL_THEN_ROW = b"\x00\x02"
_FAILED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, Unencodable)


class TableEncoder:
    """Binds one version of `table` to its schemas' ids.

    `values` come in column order, as the log gives them. `source` is the Avro of the source struct, `clock` that of
    the fields `ts_ms, ts_us, ts_ns` with their union branches. All methods raise Unencodable for a value that its
    type cannot hold, and NullInRequired for a NULL in a NOT NULL column; both name table and column.
    """

    def __init__(self, table: Table, key_id: int | None, value_id: int) -> None:
        self.table = table
        self._width = len(table.columns)
        self._writers = [_writer(column) for column in table.columns]
        # What stands for NULL; None makes the row fail, since nothing may.
        self._nulls = [_null(column) if column.optional else None for column in table.columns]
        self._absent = [_absent(column) for column in table.columns]
        self._key_header = b"" if key_id is None else _WIRE_HEADER(key_id)
        self._key = table.key
        header = _WIRE_HEADER(value_id)
        self._header = header
        self._only_after = header + _NULL_THEN_ROW
        self._has_before = header + b"\x02"

    def key(self, values: Sequence[Value]) -> bytes | None:
        """The wire bytes of the row's identity; None for a table without one."""
        if not self._key:
            return None
        if len(self._key) == 1:
            return self._key_header + self._cell(self._key[0], values[self._key[0]])
        return self._key_header + b"".join([self._cell(i, values[i]) for i in self._key])

    def create(self, values: Sequence[Value], source: bytes, clock: bytes) -> bytes:
        """An insert."""
        return b"".join((self._only_after, self._row(values, self._nulls), source, b"\x00\x02c", clock))

    def read(self, values: Sequence[Value], source: bytes, clock: bytes) -> bytes:
        """A row of a snapshot."""
        return b"".join((self._only_after, self._row(values, self._nulls), source, b"\x00\x02r", clock))

    def update(self, before: Sequence[Value] | None, after: Sequence[Value], source: bytes, clock: bytes) -> bytes:
        """`before` is the whole old row where the log has it; it also gives what the log left out of `after`."""
        if before is None:
            return b"".join((self._only_after, self._row(after, self._nulls), source, b"\x00\x02u", clock))
        new = self._row(completed(after, before), self._nulls)
        old = self._row(before, self._nulls)
        return b"".join((self._has_before, old, b"\x02", new, source, b"\x00\x02u", clock))

    def delete(self, before: Sequence[Value], source: bytes, clock: bytes, *, key_only: bool) -> bytes:
        """`key_only`: the log has the key's columns alone, the others are None."""
        row = self._row(before, self._absent if key_only else self._nulls)
        return b"".join((self._has_before, row, b"\x00", source, b"\x00\x02d", clock))

    def truncate(self, source: bytes, clock: bytes) -> bytes:
        """The table was emptied: neither row."""
        return b"".join((self._header, b"\x00\x00", source, b"\x00\x02t", clock))

    def _row(self, values: Sequence[Value], nulls: Sequence[bytes | None]) -> bytes:
        if len(values) != self._width:
            raise ValueError(f"a row of {len(values)} values for the {self._width} columns of {self.table.name}")
        try:
            # The lengths are known to agree, and zip's keyword would cost as much as a column.
            cells = zip(self._writers, nulls, values)  # noqa: B905
            return b"".join([null if value is None else write(value) for write, null, value in cells])  # type: ignore[arg-type, misc]
        except _FAILED:
            # The exact way: it finds the unchanged values, or the column that is at fault.
            return b"".join(
                [
                    null if value is None and null is not None else self._cell(i, value)
                    for i, (null, value) in enumerate(zip(nulls, values, strict=True))
                ]
            )

    def _cell(self, i: int, value: Value) -> bytes:
        column = self.table.columns[i]
        if value is None:
            null = self._nulls[i]
            if null is None:
                raise NullInRequired(self.table.name, column.name)
            return null
        if value is UNCHANGED:
            if column.type.unavailable is None:
                raise Unencodable(
                    f"the log left an unchanged value out, and {column.type.name} has no form for that",
                    self.table.name,
                    column.name,
                )
            return _branch(column) + column.type.unavailable
        try:
            return self._writers[i](value)
        except Unencodable as error:
            raise Unencodable(error.reason, self.table.name, column.name) from None
        except _FAILED as error:
            shown = value[:60].decode(errors="replace")
            raise Unencodable(f"{shown!r} is no {column.type.name}: {error}", self.table.name, column.name) from None


def _branch(column: Column) -> bytes:
    """The union branch of a value: ``[T, null]`` with a default, else ``[null, T]``."""
    if not column.optional:
        return b""
    return b"\x02" if column.default is None else b"\x00"


def _null(column: Column) -> bytes:
    return b"\x00" if column.default is None else b"\x02"


def _writer(column: Column) -> Encode:
    return column.type.encoder(_branch(column))


def _absent(column: Column) -> bytes:
    """What a column shows where the log carries only the key."""
    if column.optional:
        return _null(column)
    return column.type.zero if column.default is None else column.default.avro
