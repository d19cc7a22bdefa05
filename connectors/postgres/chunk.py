"""One chunk of a table's copy: its rows, what the database snapshot behind it contains, and how far the copy is."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from connectors.postgres.catalog import TableName
from connectors.postgres.table import CapturedTable
from schema.change import UNCHANGED, Value, completed
from schema.decode import HEADER_BYTES

_ESCAPES = {ord("b"): 8, ord("f"): 12, ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("v"): 11}
AGAIN_ROWS = 100
"""How many moved rows are read again at a time."""
_BACKSLASH = ord("\\")
_NULL = b"\\N"


class Visible(NamedTuple):
    """Which transactions a database snapshot contains; `until` is an LSN behind the last of them.

    Source: PostgreSQL manual, "pg_snapshot Components".
    """

    first_running: int
    first_unborn: int
    running: frozenset[int]
    until: int

    @classmethod
    def parse(cls, snapshot: str, until: int) -> "Visible":
        """`snapshot` as pg_current_snapshot() prints it: ``10:20:10,14,15``."""
        first, last, running = snapshot.split(":")
        return cls(int(first), int(last), frozenset(int(xid) for xid in running.split(",") if xid), until)

    def contains(self, xid: int) -> bool:
        """`xid` is the log's: 32 bits, without the epoch."""
        full = self._with_epoch(xid)
        return full < self.first_running or (full < self.first_unborn and full not in self.running)

    def lacks(self, xid: int) -> bool:
        return not self.contains(xid)

    def dump(self) -> list[Any]:
        return [self.first_running, self.first_unborn, sorted(self.running), self.until]

    @classmethod
    def load(cls, parts: Sequence[Any]) -> "Visible":
        return cls(parts[0], parts[1], frozenset(parts[2]), parts[3])

    def _with_epoch(self, xid: int) -> int:
        full = (self.first_unborn & ~0xFFFFFFFF) | xid
        return full - (1 << 32) if full > self.first_unborn + (1 << 31) else full


class Progress(NamedTuple):
    """How far one table's copy is.

    `oid` tells a recreated table from the one that was copied; `after` is the last delivered key, as text; `ended`
    says that no row lies behind it. `again` holds the keys of rows that moved while the log left values of theirs
    out: they may have moved to where the copy had already been. `contained` belongs to a table without a key:
    transactions whose changes were in the copy already. `key` names the columns of the keys, with their types.
    """

    oid: int
    done: bool = False
    rows: int = 0
    after: tuple[str, ...] | None = None
    ended: bool = False
    again: tuple[tuple[str, ...], ...] = ()
    contained: Visible | None = None
    key: tuple[str, ...] = ()

    def behind(self, chunk: "Chunk", is_last: bool) -> "Progress":
        """With `chunk` delivered; `is_last`: no row lies behind it."""
        if self.ended:
            moved = self._replace(again=self.again[AGAIN_ROWS:])
        else:
            moved = self._replace(after=chunk.last_key or self.after, ended=is_last)
        return moved._replace(rows=self.rows + len(chunk.lines), done=moved.ended and not moved.again)

    def dump(self) -> str:
        return json.dumps([*self[:6], self.contained.dump() if self.contained else None, self.key])

    @classmethod
    def load(cls, text: str) -> "Progress":
        oid, done, rows, after, ended, again, contained, *key = json.loads(text)
        return cls(
            oid,
            done,
            rows,
            tuple(after) if after else None,
            ended,
            tuple(map(tuple, again)),
            Visible.load(contained) if contained else None,
            tuple(*key),
        )


class Chunk:
    """Rows of one table between two keys, as COPY lines, and which of them changed since they were read.

    `low` and `high` are the contents of its watermarks; `lsn` is where the log stood at the first.
    """

    def __init__(
        self, table: CapturedTable, lines: list[bytes], visible: Visible, low: str, high: str, lsn: int
    ) -> None:
        self.table = table
        self.lines = lines
        self.visible = visible
        self.low = low
        self.high = high
        self.lsn = lsn
        self.last_key = key_text(table, parse_line(lines[-1])) if lines and table.key else None
        self.is_open = False
        self.is_stale = False
        self.is_ready = False
        self._row_of_key: dict[bytes, int] | None = None

    def change(self, key: bytes | None, values: list[Value]) -> None:
        """The stream changed the row of `key`: it leaves the chunk.

        A value that the log left out is taken from it, for no reader has seen it yet.
        """
        if self._row_of_key is None:
            encoder = self.table.encoder
            keys = (encoder.key(encoder.row(parse_line(line))) for line in self.lines)
            self._row_of_key = {_without_version(key): i for i, key in enumerate(keys)}
        row = self._row_of_key.pop(_without_version(key), None)
        if row is None:
            return
        if UNCHANGED in values:
            values[:] = completed(values, parse_line(self.lines[row]))
        self.lines[row] = b""

    def rows(self) -> Iterator[list[Value]]:
        """What the stream has not changed, in key order."""
        for line in self.lines:
            if line:
                yield parse_line(line)


def chunk_query(
    name: TableName, table: CapturedTable, row_filter: str | None, progress: Progress, limit: int | None
) -> sql.Composed:
    """The next rows, in key order, at most `limit`: behind the last key; where that has ended, those to read again."""
    columns = [sql.Identifier(column.name) for column in table.relation.columns]
    key = sql.SQL(", ").join(columns[i] for i in table.key)
    only = sql.SQL("") if name.is_partitioned else sql.SQL("only ")
    query = sql.SQL("select {} from {}{}").format(
        sql.SQL(", ").join(columns), only, sql.Identifier(name.schema, name.name)
    )
    conditions = []
    if row_filter:
        conditions.append(sql.SQL("({})").format(sql.SQL(row_filter)))
    if progress.ended:
        moved = sql.SQL(", ").join(map(_row, progress.again[:AGAIN_ROWS]))
        conditions.append(sql.SQL("({}) in ({})").format(key, moved))
    elif progress.after is not None:
        conditions.append(sql.SQL("({}) > {}").format(key, _row(progress.after)))
    if conditions:
        query += sql.SQL(" where ") + sql.SQL(" and ").join(conditions)
    if table.key:
        query += sql.SQL(" order by {}").format(key)
    if limit is not None:
        query += sql.SQL(" limit {}").format(sql.Literal(limit))
    return query


def key_text(table: CapturedTable, values: Sequence[Value]) -> tuple[str, ...]:
    """The key of a row as the server's text."""
    key = [values[i] for i in table.key]
    assert all(isinstance(value, bytes) for value in key), "a key column is NOT NULL and never left out"
    return tuple(value.decode() for value in key if isinstance(value, bytes))


def _without_version(key: bytes | None) -> bytes:
    """The same row's key in the chunk and in the stream, which may have learnt of a new enum label at other times."""
    return b"" if key is None else key[HEADER_BYTES:]


def _row(key: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, key)))


def parse_line(line: bytes) -> list[Value]:
    """One line of COPY's text format, newline included, as values in column order.

    Source: PostgreSQL manual, COPY, "Text Format"; CopyAttributeOutText writes no octal or hexadecimal escapes.
    """
    fields: list[Value] = line[:-1].split(b"\t")  # type: ignore[assignment]
    backslashes = line.count(b"\\")
    if not backslashes:
        return fields
    if backslashes == fields.count(_NULL):  # nothing else is escaped: nearly every row with a NULL
        return [None if field == _NULL else field for field in fields]
    return [
        None if field == _NULL else _unescape(field) if b"\\" in field else field  # type: ignore[operator, arg-type]
        for field in fields
    ]


def _unescape(field: bytes) -> bytes:
    out = bytearray()
    rest = iter(field)
    for byte in rest:
        if byte == _BACKSLASH:
            byte = next(rest)
            byte = _ESCAPES.get(byte, byte)
        out.append(byte)
    return bytes(out)
