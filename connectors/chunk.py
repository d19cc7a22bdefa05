"""One chunk of a table's copy: its rows, which of them changed since they were asked for, and how far the copy is."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from schema.change import UNCHANGED, Value, completed
from schema.decode import HEADER_BYTES
from schema.encoder import FAILED
from schema.errors import Unencodable

AGAIN_ROWS = 100
"""How many moved rows are read again at a time."""

RECENT_CHANGES = 200_000
"""How many are remembered at most."""

Key = tuple[str, ...]
"""A row's key as the server's text."""

TableId = int | str
"""Tells a table from one that took its name later, where the engine can: an OID, else the name."""


class Captured(Protocol):
    """One version of a table, as the engine encodes it.

    `form` is equal in its first part where keys mean the same, in its second where lists of values do.
    """

    @property
    def id(self) -> TableId: ...

    @property
    def form(self) -> tuple[object, object]: ...


T = TypeVar("T", bound=Captured)


class Progress(NamedTuple):
    """How far one table's copy is.

    `id` tells a recreated table from the one that was copied; `after` is the last delivered key; `ended` says that no
    row lies behind it. `again` holds the keys of rows that moved while the log left values of theirs out: they may
    have moved to where the copy had already been. `contained` belongs to a table without a key: which transactions'
    changes were in the copy already, in the engine's own form. `key` names the columns of the keys, with their types.
    `where` is the SQL condition that the rows of a copy on request fulfil.
    """

    id: TableId
    done: bool = False
    rows: int = 0
    after: Key | None = None
    ended: bool = False
    again: tuple[Key, ...] = ()
    contained: list[Any] | None = None
    key: tuple[str, ...] = ()
    where: str | None = None

    def of_key(self, key: tuple[str, ...]) -> "Progress":
        """The same where the copy goes by this key; else its begin, for another order has another place in it."""
        if not self.key and self.after is None:
            return self._replace(key=key)
        return self if key == self.key else Progress(self.id, key=key, where=self.where)

    def behind(self, read: "Read") -> "Progress":
        """With what was `read` delivered; more rows may have moved since it was asked for."""
        if self.ended:
            moved = self._replace(again=self.again[read.again :])
        else:
            moved = self._replace(after=read.last_key or self.after, ended=read.is_last)
        return moved._replace(rows=self.rows + len(read.lines), done=moved.ended and not moved.again)

    def dump(self) -> str:
        return json.dumps(list(self) if self.where else list(self[:-1]))

    @classmethod
    def load(cls, text: str) -> "Progress":
        table_id, done, rows, after, ended, again, contained, *later = json.loads(text)
        later += [(), None][len(later) :]  # two fields are younger than the rest
        return cls(
            table_id,
            done,
            rows,
            tuple(after) if after else None,
            ended,
            tuple(map(tuple, again)),
            contained,
            tuple(later[0]),
            later[1],
        )


def in_words(stored: str) -> str:
    """A table's stored progress."""
    known = Progress.load(stored)
    if known.done:
        return "copied"
    return f"{known.rows:,} rows copied, up to key {', '.join(known.after)}" if known.after else "not copied yet"


class Read(NamedTuple):
    """What one query gave. `version` is the engine's word for the table as it then was.

    `lines` are rows in the engine's own form, none of them empty, in the order of `key`; `is_last` says that no row
    lies behind them, `again` how many moved rows were asked for. `low` is where the log
    stood before the query, `high` a position behind all that the query saw. `lacks` tells of a transaction that
    stands before `low` whether the query did not see it yet.
    """

    version: Any
    key: tuple[str, ...]
    lines: list[bytes]
    last_key: Key | None
    is_last: bool
    again: int
    low: int
    high: int
    lacks: Callable[[int], bool]
    took_s: float


class _Change(NamedTuple):
    """A change of the stream. `values` are None where the row is gone, or came whole: nobody needs them again."""

    transaction: int
    order: int
    table: Captured
    key: bytes
    values: list[Value] | None


class Chunk(Generic[T]):
    """Rows of one table between two keys: asked for, then read, then delivered but for what the stream changed.

    `key_of` gives the Avro key of a line, without the schema's id; `values_of` its values, as the stream has them.
    """

    def __init__(self, key_of: Callable[[T, bytes], bytes], values_of: Callable[[T, bytes], Sequence[Value]]) -> None:
        self._key_of = key_of
        self._values_of = values_of
        self._table: T | None = None
        self._read: Read | None = None
        self._seen: Captured | None = None
        self._same_keys = self._same_rows = False
        self._early: list[_Change] = []
        self._row_of_key: dict[bytes, int] | None = None
        self._newer: dict[int, list[Value]] = {}
        self.is_stale = False
        """It must be asked for again."""

    @property
    def read(self) -> Read | None:
        """None while the query runs."""
        return self._read

    @property
    def table(self) -> T:
        assert self._table is not None, "the chunk is not read yet"
        return self._table

    def arrived(self, read: Read, table: T) -> None:
        """The query has ended. What the stream changed meanwhile takes the rows' place."""
        self._read, self._table = read, table
        for change in self._early:
            self._apply(change, is_early=True)
        self._early = []

    def announced(self, table: Captured) -> None:
        """The stream shows the table in this shape."""
        if self._table is None:
            self._early.append(_Change(0, 0, table, b"", None))
        else:
            self.is_stale |= table.form != self._table.form

    def change(self, table: Captured, key: bytes, values: list[Value] | None, transaction: int, order: int) -> None:
        """The stream changed the row of `key`: it leaves the chunk, None where it is gone.

        A value that the log left out is taken from the chunk, for no reader has seen it yet; before the chunk is
        read, the chunk's row is kept, with what this change says of it.
        """
        if self._table is not None:
            self._apply(_Change(transaction, order, table, key[HEADER_BYTES:], values), is_early=False)
        else:
            self._early.append(_Change(transaction, order, table, key[HEADER_BYTES:], _left_out(values)))

    def rows(self) -> Iterator[bytes | list[Value]]:
        """Lines that the stream has not changed, in key order, and values where it changed a part of them."""
        assert self._read is not None
        for i, line in enumerate(self._read.lines):
            if line:
                yield self._merged(i, line) if i in self._newer else line

    def _apply(self, change: _Change, *, is_early: bool) -> None:
        assert self._read is not None
        assert self._table is not None
        if not change.key:
            self.announced(change.table)
            return
        if change.table is not self._seen:
            (key, row), (key_now, row_now) = change.table.form, self._table.form
            self._same_keys, self._same_rows = key == key_now, row == row_now
            self._seen = change.table
        self.is_stale |= not (
            self._same_keys and (self._same_rows or change.values is None or UNCHANGED not in change.values)
        )
        if self.is_stale:
            return
        if 0 < change.order < self._read.low:  # the query saw it
            self.is_stale |= self._read.lacks(change.transaction)
            return
        row = self._rows().get(change.key)
        if row is None or not self._read.lines[row]:
            return
        if change.values is None or UNCHANGED not in change.values:
            self._read.lines[row] = b""
        elif is_early:
            older = self._newer.get(row)
            self._newer[row] = completed(change.values, older) if older else change.values
        else:
            row_now = self._merged(row, self._read.lines[row])
            if not isinstance(row_now, bytes):
                change.values[:] = completed(change.values, row_now)
                self._read.lines[row] = b""

    def _merged(self, i: int, line: bytes) -> bytes | list[Value]:
        """The row with what the stream said of it; the bare line where that cannot be told, and nor can an event."""
        try:
            values = list(self._values_of(self.table, line))
        except Unencodable:
            return line
        newer = self._newer.get(i)
        return completed(newer, values) if newer else values

    def _rows(self) -> dict[bytes, int]:
        """A key without its schema's id: stream and chunk may have learnt of a new enum label at other times."""
        if self._row_of_key is None:
            assert self._read is not None
            self._row_of_key = {}
            for i, line in enumerate(self._read.lines):
                try:
                    self._row_of_key[self._key_of(self.table, line)] = i
                except FAILED:  # no event can hold this row, so the stream has none for it either
                    continue
        return self._row_of_key


class Recent:
    """What the last `count` transactions of the stream changed: a query may not see them yet. 0: it always does."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._transactions: deque[list[_Change]] = deque([[]], max(1, count))
        self._changes = 0
        self._has_lost = False

    def begin(self) -> None:
        """The stream enters a transaction."""
        if len(self._transactions) == self._transactions.maxlen:
            self._changes -= len(self._transactions[0])
        self._transactions.append([])

    def add(self, table: Captured, key: bytes, values: list[Value] | None) -> None:
        if not self._count:
            return
        if self._changes == RECENT_CHANGES:
            self.lose()
        self._changes += 1
        self._transactions[-1].append(_Change(0, 0, table, key, _left_out(values)))

    def replay(self, table: TableId, chunk: Chunk[Any]) -> None:
        for transaction in self._transactions:
            for change in transaction:
                if change.table.id == table:
                    chunk.change(change.table, change.key, change.values, 0, 0)

    def lose(self) -> None:
        """Forget all changes."""
        self._has_lost = bool(self._count)
        self._changes = 0
        self._transactions.clear()
        self._transactions.append([])

    def take_lost(self) -> bool:
        """Whether, since the last call, changes were forgotten."""
        has_lost, self._has_lost = self._has_lost, False
        return has_lost


def _left_out(values: list[Value] | None) -> list[Value] | None:
    """What must be kept of a change: nothing where it came whole."""
    return None if values is None or UNCHANGED not in values else list(values)
