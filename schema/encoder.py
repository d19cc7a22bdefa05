"""A table's changes as wire bytes: writers bound once per version, no dict and no object per row.

Wire bytes are 0x00, the schema's id as 4 bytes big-endian, the Avro body (Confluent's wire format).
"""

from collections.abc import Sequence
from struct import Struct

from schema.change import UNCHANGED, Column, Encode, Table, Value
from schema.errors import NullInRequired, Unencodable, VersionRefused
from schema.varint import long

_WIRE_HEADER = Struct(">xI").pack
_NULL_THEN_ROW = b"\x00\x02"
FAILED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, Unencodable)


Row = list[bytes]
"""Each column's Avro bytes, union branch included, in column order."""


def clock(now_ns: int) -> bytes:
    """An event's `ts_ms, ts_us, ts_ns`, all of one instant, with their union branches."""
    return b"".join((b"\x02", long(now_ns // 1_000_000), b"\x02", long(now_ns // 1000), b"\x02", long(now_ns)))


class TableEncoder:
    """Binds one version of `table` to its schemas' ids.

    `row` turns values into Avro; the other methods join rows to wire bytes. `source` is the Avro of the source
    struct, `clock` what the function of that name gives. `columns` holds for each
    column its writer and what stands for NULL (None: nothing may), for a decoder that writes while it reads.
    """

    def __init__(self, table: Table, key_id: int | None, value_id: int) -> None:
        self.table = table
        self.columns = [(_writer(column), _null(column) if column.optional else None) for column in table.columns]
        self._absent = [(_writer(column), _absent(column)) for column in table.columns]
        self._key_header = b"" if key_id is None else _WIRE_HEADER(key_id)
        self._key = table.key
        header = _WIRE_HEADER(value_id)
        self._header = header
        self._only_after = header + _NULL_THEN_ROW
        self._has_before = header + b"\x02"

    def row(self, values: Sequence[Value], *, key_only: bool = False) -> Row:
        """`values` come in column order, as the log gives them; `key_only`: those outside the key are None.

        Raises Unencodable for a value that its type cannot hold, and NullInRequired for a NULL in a NOT NULL column;
        both name table and column.
        """
        columns = self._absent if key_only else self.columns
        if len(values) != len(columns):
            raise ValueError(f"a row of {len(values)} values for the {len(columns)} columns of {self.table.name}")
        try:
            # The lengths are known to agree, and zip's keyword would cost as much as a column.
            cells = zip(columns, values)  # noqa: B905
            return [
                write(value) if value is not None else null if null is not None else _required()  # type: ignore[arg-type]
                for (write, null), value in cells
            ]
        except FAILED:
            # The exact way: it finds the unchanged values, or the column that is at fault.
            return [self._cell(i, columns[i][1], value) for i, value in enumerate(values)]

    def partial(self, values: Sequence[Value]) -> list[Value]:
        """Like `row`, but what the log left out stays UNCHANGED."""
        return [
            UNCHANGED if value is UNCHANGED else self._cell(i, self.columns[i][1], value)
            for i, value in enumerate(values)
        ]

    def whole(self, cells: Sequence[Value]) -> Row:
        """`partial`'s cells with the type's own form for what is left out. Raises Unencodable where it has none."""
        return [cell if isinstance(cell, bytes) else self._cell(i, None, cell) for i, cell in enumerate(cells)]

    def key(self, row: Row) -> bytes | None:
        """The row's identity; None for a table without one."""
        if not self._key:
            return None
        if len(self._key) == 1:
            return self._key_header + row[self._key[0]]
        return self._key_header + b"".join([row[i] for i in self._key])

    def same_key(self, one: Row, other: Row) -> bool:
        """Whether both are one row's; without a key, they are."""
        return all(one[i] == other[i] for i in self._key)

    def create(self, row: Row, source: bytes, clock: bytes) -> bytes:
        """An insert."""
        return b"".join((self._only_after, *row, source, b"\x00\x02c", clock))

    def read(self, row: Row, source: bytes, clock: bytes) -> bytes:
        """A row of a snapshot."""
        return b"".join((self._only_after, *row, source, b"\x00\x02r", clock))

    def update(self, before: Row | None, after: Row, source: bytes, clock: bytes) -> bytes:
        """`before` is the whole old row where the log has it."""
        if before is None:
            return b"".join((self._only_after, *after, source, b"\x00\x02u", clock))
        return b"".join((self._has_before, *before, b"\x02", *after, source, b"\x00\x02u", clock))

    def delete(self, before: Row, source: bytes, clock: bytes) -> bytes:
        """`before` is the whole old row, or one made with `key_only`."""
        return b"".join((self._has_before, *before, b"\x00", source, b"\x00\x02d", clock))

    def truncate(self, source: bytes, clock: bytes) -> bytes:
        """The table was emptied: neither row."""
        return b"".join((self._header, b"\x00\x00", source, b"\x00\x02t", clock))

    def admit(self) -> None:
        """Raise VersionRefused where the registry will have no event of this version."""

    def _cell(self, i: int, null: bytes | None, value: Value) -> bytes:
        column = self.table.columns[i]
        if value is None:
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
            return self.columns[i][0](value)
        except Unencodable as error:
            raise Unencodable(error.reason, self.table.name, column.name) from None
        except FAILED as error:
            shown = value[:60].decode(errors="replace")
            raise Unencodable(f"{shown!r} is no {column.type.name}: {error}", self.table.name, column.name) from None


class RefusingEncoder(TableEncoder):
    """Of a version that the registry refuses: no row becomes an event, every one raises VersionRefused."""

    def __init__(self, table: Table, reasons: str) -> None:
        super().__init__(table, None, 0)
        self._reasons = reasons
        self.columns = [(self._refuse, None) for _ in table.columns]

    def admit(self) -> None:
        raise VersionRefused(self.table.name, self._reasons)

    def row(self, values: Sequence[Value], *, key_only: bool = False) -> Row:
        raise VersionRefused(self.table.name, self._reasons)

    def partial(self, values: Sequence[Value]) -> list[Value]:
        raise VersionRefused(self.table.name, self._reasons)

    def whole(self, cells: Sequence[Value]) -> Row:
        raise VersionRefused(self.table.name, self._reasons)

    def key(self, row: Row) -> bytes | None:
        raise VersionRefused(self.table.name, self._reasons)

    def truncate(self, source: bytes, clock: bytes) -> bytes:
        raise VersionRefused(self.table.name, self._reasons)

    def _refuse(self, value: bytes) -> bytes:
        raise VersionRefused(self.table.name, self._reasons)


def _required() -> bytes:
    raise LookupError("nothing stands for NULL")


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
