"""Rows events become events of their table."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from connectors.aside import Aside
from connectors.mysql import resultset, rows
from connectors.mysql.copying import moved_key
from connectors.mysql.json_diff import applied, partial_columns
from connectors.mysql.names import TableName
from connectors.mysql.rows import Cell, Image, MalformedEvent
from connectors.mysql.table import CapturedTable, Tables
from connectors.mysql.types import JSON, width
from connectors.snapshot import Copied, Snapshot
from schema.change import UNCHANGED, Value, completed
from schema.encoder import FAILED, Row, clock
from schema.errors import NullInRequired, Unencodable, VersionRefused
from schema.event import NEW_KEY, NO_OTHER, OLD_KEY, DeadLetter, Event, OtherKey, other_key

_INSERTS = (rows.WRITE, rows.WRITE_V1)
_UPDATES = (rows.UPDATE, rows.UPDATE_V1)
_DELETES = (rows.DELETE, rows.DELETE_V1)


@dataclass(slots=True)
class Group:
    """The transaction whose changes are being read: where it begins, in two forms; `nth` counts its events.

    Of these, the first `taken` are on their way to readers.
    """

    order: int = 0
    file: str = ""
    pos: int = 0
    committed_at_us: int = 0
    server_id: int = 0
    gtid: str = ""
    thread: int | None = None
    query: str = ""
    nth: int = 0
    taken: int = 0


class Change(NamedTuple):
    """One row of a rows event; `raw` are its bytes. In the columns `partial`, `after` has differences to `before`."""

    before: Image | None
    after: Image | None
    partial: list[int]
    raw: bytes


class Bound:
    """A table as the log names it now, with what reads its rows."""

    def __init__(self, table: CapturedTable) -> None:
        self.widths = [width(column) for column in table.shape.columns]
        self.json_columns = [i for i, column in enumerate(table.shape.columns) if column.kind == JSON]
        self._heads: dict[int, bytes] = {}
        """By the kind of event, what stood before rows that had all columns: mostly it stands there again."""
        self.bind(table)

    def whole_at(self, event: bytes) -> int:
        """Where the rows begin, each with all its columns; 0 where it has not. Raises MalformedEvent."""
        kind = event[4]
        usual = self._heads.get(kind)
        if usual is not None and event.startswith(usual, rows.BODY_AT):
            return rows.BODY_AT + len(usual)
        head = rows.head(event)
        if head.columns != len(self.widths):
            raise MalformedEvent(f"rows of {head.columns} columns for the {len(self.widths)} of {self.table.name}")
        if head.before is not None or head.after is not None or kind == rows.PARTIAL_UPDATE:
            return 0
        self._heads[kind] = event[rows.BODY_AT : head.rows_at]
        return head.rows_at

    def bind(self, table: CapturedTable) -> None:
        """Another version of the same columns."""
        self.table = table
        columns = zip(self.widths, table.encoder.columns, strict=True)
        self.cells: list[Cell] = [(size, write, null) for size, (write, null) in columns]


class Changes:
    """Appends to `events`. `dead_letter` takes what no event can hold, `refused` the changes of versions that the
    registry refuses; without them that is an error.
    """

    def __init__(
        self,
        tables: Tables,
        snapshot: Snapshot[TableName, CapturedTable],
        dead_letter: Callable[[DeadLetter], None] | None,
        refused: Callable[[DeadLetter], None] | None,
    ) -> None:
        self._tables = tables
        self._snapshot = snapshot
        self._aside = Aside(tables.topic_prefix, dead_letter, refused)
        self._clock = clock(time.time_ns())
        self.group = Group()
        self.events: list[Event] = []

    def read(self, bound: Bound, event: bytes, pos: int) -> None:
        """The rows event that begins at `pos`. Raises MalformedEvent, SchemaError."""
        rows_at = bound.whole_at(event)
        group = self.group
        if self._snapshot.contained and self._snapshot.leaves_out(bound.table.id, group.order, group.order + 1):
            return
        self._show_source(bound.table, pos)
        if rows_at and not self._snapshot.is_pending and self._whole(bound, event, rows_at):
            return
        for nth, change in enumerate(_changes(bound, event)):
            self._read_one(bound, event[4], change, nth, pos)

    def tick(self) -> None:
        """Events made from here on carry the time of this call."""
        self._clock = clock(time.time_ns())

    def take(self) -> list[Event]:
        """What was made since the last call."""
        taken, self.events = self.events, []
        self.group.taken = self.group.nth
        return taken

    def take_whole(self) -> list[Event]:
        """Likewise, but what is there of the open transaction stays for the next call."""
        at = len(self.events)
        while at and self.events[at - 1].id[0] == self.group.order:
            at -= 1
        taken, self.events = self.events[:at], self.events[at:]
        return taken

    def take_back(self, nth: int) -> bool:
        """The transaction's events from its `nth` on were rolled back. False where some of them are taken already."""
        group = self.group
        if group.taken > nth:
            return False
        while self.events and self.events[-1].id >= (group.order, nth):
            self._snapshot.taken_back(self.events.pop().table)
        group.nth = nth
        return True

    def copied(self, copied: Copied[CapturedTable], source: bytes, limit_bytes: int) -> tuple[int, bool]:
        """Append the next rows of a copy, about `limit_bytes`: (their size, whether more follow)."""
        table = copied.table
        size = 0
        for line in copied.rows:
            try:
                table, row = self._copied_row(table, line)
            except Unencodable as error:
                raw = line if isinstance(line, bytes) else b"\t".join(v if isinstance(v, bytes) else b"" for v in line)
                self._aside.put_copied(error, raw)
                continue
            value = table.encoder.read(row, source, self._clock)
            self._append(table, table.encoder.key(row), value)
            size += len(value)
            if size >= limit_bytes:
                return size, True
        return size, False

    def _copied_row(self, table: CapturedTable, line: bytes | list[Value]) -> tuple[CapturedTable, Row]:
        """With the version of the table that has room for its NULLs."""
        while True:
            try:
                if not isinstance(line, bytes):
                    return table, table.encoder.whole(line)
                try:
                    return table, resultset.written(line, table.copier.columns)
                except FAILED:  # the exact way: it finds the column that is at fault
                    return table, table.copier.row(resultset.cells(line))
            except NullInRequired as error:
                table = self._tables.loosened(table, error.column)

    def truncated(self, table: CapturedTable, pos: int) -> None:
        self._show_source(table, pos)
        try:
            value = table.encoder.truncate(table.block.change(0), self._clock)
        except VersionRefused as error:
            self._put_change_aside(error, b"truncate")
        else:
            self._put(f"{table.topic}.truncate", table.name, None, value)

    def _put_change_aside(self, error: Unencodable, raw: bytes) -> None:
        group = self.group
        self._aside.put(error, raw, f"{group.gtid or f'{group.file}:{group.pos}'}/{group.nth}")
        group.nth += 1

    def _show_source(self, table: CapturedTable, pos: int) -> None:
        group, block = self.group, table.block
        if block.begun != group.order:
            block.begin(group.order, group.committed_at_us, group.server_id, group.gtid, group.file, group.thread)
        block.event(pos, group.query)

    def _whole(self, bound: Bound, event: bytes, rows_at: int) -> bool:
        """The common case, every row with all its columns, in one pass. False: read them one by one."""
        kind = event[4]
        try:
            found = rows.written(event, rows_at, bound.cells, paired=kind in _UPDATES)
        except FAILED:
            return False
        table = bound.table
        encoder, block, now = table.encoder, table.block, self._clock
        if kind in _INSERTS:
            for nth, row in enumerate(found):
                self._append(table, encoder.key(row), encoder.create(row, block.change(nth), now))
        elif kind in _DELETES:
            for nth, row in enumerate(found):
                self._delete(table, row, block.change(nth))
        else:
            pairs = iter(found)
            for nth, (before, after) in enumerate(zip(pairs, pairs, strict=True)):
                self._update(table, before, after, block.change(nth))
        return True

    def _read_one(self, bound: Bound, kind: int, change: Change, nth: int, pos: int) -> None:
        try:
            self._change(bound.table, kind, change, nth)
        except NullInRequired as error:
            bound.bind(self._tables.loosened(bound.table, error.column))
            self._show_source(bound.table, pos)
            self._read_one(bound, kind, change, nth, pos)
        except Unencodable as error:
            self._put_change_aside(error, change.raw)

    def _change(self, table: CapturedTable, kind: int, change: Change, nth: int) -> None:
        table.encoder.admit()
        source = table.block.change(nth)
        if change.before is None:
            assert change.after is not None, "a row is before, after, or both"
            self._slow_insert(table, change.after, source)
        elif change.after is None:
            self._slow_delete(table, change.before, source)
        else:
            self._slow_update(table, change.before, _with_documents(table, change), source)

    def _slow_insert(self, table: CapturedTable, after: Image, source: bytes) -> None:
        if UNCHANGED in after:
            column = table.shape.columns[after.index(UNCHANGED)].name
            raise Unencodable(
                "the log leaves this column of an inserted row out, for its binlog_row_image was not FULL",
                table.name,
                column,
            )
        row = table.encoder.row(after)
        key = table.encoder.key(row)
        if self._snapshot.is_pending:
            self._snapshot.changed(table, key, list[Value](row))
        self._append(table, key, table.encoder.create(row, source, self._clock))

    def _slow_delete(self, table: CapturedTable, before: Image, source: bytes) -> None:
        old = _old_row(table, before)
        if self._snapshot.is_pending:
            self._snapshot.changed(table, table.encoder.key(old), None)
        shown = old if UNCHANGED not in before else _shown(table, before)
        self._delete(table, old if shown is None else shown, source)

    def _slow_update(self, table: CapturedTable, before: Image, after: Image, source: bytes) -> None:
        encoder = table.encoder
        cells = encoder.partial(completed(after, before))
        old = _old_row(table, before)
        if self._snapshot.is_pending:
            self._tell_snapshot(table, encoder.key(old), cells)
        row = encoder.whole(cells)
        shown = old if UNCHANGED not in before else _shown(table, before)
        if encoder.key(old) != encoder.key(row) or shown is not None:
            self._update(table, old if shown is None else shown, row, source)
        else:
            self._append(table, encoder.key(row), encoder.update(None, row, source, self._clock))

    def _tell_snapshot(self, table: CapturedTable, old_key: bytes | None, cells: list[Value]) -> None:
        if any(cells[i] is UNCHANGED for i in table.key):
            return
        key = table.encoder.key([cell if isinstance(cell, bytes) else b"" for cell in cells])
        if old_key != key:
            self._snapshot.changed(table, old_key, None)
        self._snapshot.changed(table, key, cells)
        if old_key != key and UNCHANGED in cells:
            self._snapshot.moved(table, moved_key(table.shape, cells))

    def _update(self, table: CapturedTable, before: Row, after: Row, source: bytes) -> None:
        encoder = table.encoder
        if encoder.same_key(before, after):
            self._append(table, encoder.key(after), encoder.update(before, after, source, self._clock))
        else:
            key = encoder.key(after)
            self._delete(table, before, source, other_key(NEW_KEY, key))
            created = encoder.create(after, source, self._clock)
            self._append(table, key, created, other_key(OLD_KEY, encoder.key(before)))

    def _delete(self, table: CapturedTable, before: Row, source: bytes, headers: OtherKey = NO_OTHER) -> None:
        key = table.encoder.key(before)
        self._append(table, key, table.encoder.delete(before, source, self._clock), headers)
        if key is not None:
            self._append(table, key, None, headers)

    def _append(
        self, table: CapturedTable, key: bytes | None, value: bytes | None, headers: OtherKey = NO_OTHER
    ) -> None:
        self._put(table.topic, table.name, key, value, headers)

    def _put(self, topic: str, name: str, key: bytes | None, value: bytes | None, headers: OtherKey = NO_OTHER) -> None:
        group = self.group
        self.events.append(Event(topic, name, key, value, (group.order, group.nth), headers))
        group.nth += 1


def _changes(bound: Bound, event: bytes) -> Iterator[Change]:
    head = rows.head(event)
    at, end = head.rows_at, len(event)
    kind = event[4]
    if at == end and kind in _INSERTS:  # one row whose image leaves every column out takes no bytes
        yield Change(None, [UNCHANGED] * len(bound.widths), [], b"")
    while at < end:
        begins = at
        before: Image | None = None
        after: Image | None = None
        partial: list[int] = []
        if kind not in _INSERTS:
            before, at = rows.image(event, at, bound.widths, head.before)
        if kind == rows.PARTIAL_UPDATE:
            partial, at = partial_columns(event, at, bound.json_columns)
        if kind not in _DELETES:
            after, at = rows.image(event, at, bound.widths, head.after)
        yield Change(before, after, partial, event[begins:at])


def _with_documents(table: CapturedTable, change: Change) -> Image:
    """The new row with its JSON documents whole."""
    assert change.before is not None and change.after is not None, "differences are an update's"
    after = list(change.after)
    for i in change.partial:
        diffs, document = after[i], change.before[i]
        if not isinstance(diffs, bytes):
            continue
        if not isinstance(document, bytes):
            raise Unencodable(
                "the log has only what changed in this document, and not the document before"
                " (binlog_row_value_options is PARTIAL_JSON, binlog_row_image not FULL)",
                table.name,
                table.shape.columns[i].name,
            )
        try:
            after[i] = applied(document, diffs)
        except (ValueError, LookupError) as error:
            raise Unencodable(f"the change of this document cannot be done to it: {error}", table.name, "") from None
    return after


def _old_row(table: CapturedTable, before: Image) -> Row:
    """What the log has of the old row; where it is not whole, with the form that a key-only image has for the rest."""
    if UNCHANGED not in before:
        return table.encoder.row(before)
    for i in table.key:
        if before[i] is UNCHANGED:
            name = table.shape.columns[i].name
            raise Unencodable("the log leaves this part of the key out of the old row", table.name, name)
    return table.encoder.row([None if value is UNCHANGED else value for value in before], key_only=True)


def _shown(table: CapturedTable, before: Image) -> Row | None:
    """An old row that lacks only what has a form for being left out; None for a row that lacks more."""
    try:
        return table.encoder.whole(table.encoder.partial(before))
    except Unencodable:
        return None
