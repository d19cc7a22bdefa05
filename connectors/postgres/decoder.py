"""Frames become changes of one transaction, changes become events."""

import time
from collections.abc import Callable

from connectors.aside import Aside
from connectors.patterns import selected
from connectors.postgres import pgoutput
from connectors.postgres.catalog import TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.copying import WATERMARK_PREFIX, key_text, parse_line
from connectors.postgres.pgoutput import DELETE, INSERT, MESSAGE_AT, TRUNCATE, TUPLE_AT, UPDATE, MalformedFrame
from connectors.postgres.stream import format_lsn
from connectors.postgres.table import CapturedTable, Tables
from connectors.snapshot import Copied, Snapshot
from schema.change import UNCHANGED, Value, completed
from schema.encoder import FAILED, Row, clock
from schema.errors import NullInRequired, Unencodable, VersionRefused
from schema.event import NEW_KEY, NO_OTHER, OLD_KEY, DeadLetter, Event, OtherKey, other_key


class Decoder:
    """Holds the tables that the stream has announced and the open transaction; appends to `events`.

    `end_lsn` is the position behind the last whole transaction; `inside` says that one is open, `is_cut` that some of
    its events were taken. `decode` raises
    MalformedFrame, SchemaError, psycopg.Error (the catalogue is asked where a table's shape is new).
    """

    def __init__(
        self,
        config: PostgresConfig,
        tables: Tables,
        snapshot: Snapshot[TableName, CapturedTable],
        end_lsn: int,
        dead_letter: Callable[[DeadLetter], None] | None = None,
        refused: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        self._config = config
        self._tables = tables
        self._snapshot = snapshot
        self._captured: dict[bytes, CapturedTable | None] = {}
        self._aside = Aside(tables.topic_prefix, dead_letter, refused)
        self._clock = clock(time.time_ns())
        self._xid = 0
        self._previous_lsn = self._commit_lsn = end_lsn
        self._committed_at_us = 0
        self._nth = 0
        self.end_lsn = end_lsn
        self._changes = {INSERT: self._insert, UPDATE: self._update, DELETE: self._delete}
        self.inside = False
        self.is_cut = False
        self.events: list[Event] = []
        self.marks: set[str] = set()

    def tick(self) -> None:
        """Events decoded from here on carry the time of this call."""
        self._clock = clock(time.time_ns())

    def take_events(self) -> list[Event]:
        """What was decoded since the last call."""
        events, self.events = self.events, []
        self.is_cut |= self.inside and bool(events) and events[-1].id[0] == self._commit_lsn
        return events

    def take_whole(self) -> list[Event]:
        """Likewise, but what is there of an open transaction stays for the next call."""
        at = len(self.events)
        while self.inside and at and self.events[at - 1].id[0] == self._commit_lsn:
            at -= 1
        events, self.events = self.events[:at], self.events[at:]
        return events

    def decode(self, frame: bytes) -> bool:
        """One WAL frame. True: stop here, between two transactions, for copied rows are to be delivered."""
        kind = frame[MESSAGE_AT]
        change = self._changes.get(kind)
        if change is not None:
            try:
                change(frame)
            except NullInRequired as error:
                self._loosen(pgoutput.relation_oid(frame), error.column)
                return self.decode(frame)
            except Unencodable as error:
                self._aside.put(error, frame, f"{format_lsn(self._commit_lsn)}/{self._nth}")
                self._nth += 1
        elif kind == pgoutput.BEGIN:
            self._begin(frame)
        elif kind == pgoutput.COMMIT:
            return self._commit(frame)
        elif kind == pgoutput.RELATION:
            self._relation(frame)
        elif kind == TRUNCATE:
            self._truncate(frame)
        elif kind == pgoutput.LOGICAL:
            self._message(frame)
        elif kind not in (pgoutput.TYPE, pgoutput.ORIGIN):
            raise MalformedFrame(f"unknown message {chr(kind)!r}")
        return False

    def copied(self, copied: Copied[CapturedTable], limit_bytes: int) -> tuple[int, bool]:
        """Append the next rows of a copy as events, about `limit_bytes`: (their size, whether more follow)."""
        table = copied.table
        now_ns = time.time_ns()
        source = table.block.snapshot(copied.order, now_ns)
        size = 0
        for line in copied.rows:
            values = parse_line(line) if isinstance(line, bytes) else line
            try:
                table, row = self._copied_row(table, values)
            except Unencodable as error:
                raw = b"\t".join(v if isinstance(v, bytes) else b"\\N" for v in values)
                self._aside.put_copied(error, raw)
                continue
            value = table.encoder.read(row, source, self._clock)
            self._append(table, table.encoder.key(row), value)
            size += len(value)
            if size >= limit_bytes:
                return size, True
        return size, False

    def _copied_row(self, table: CapturedTable, values: list[Value]) -> tuple[CapturedTable, Row]:
        """With the version of the table that has room for its NULLs."""
        while True:
            try:
                return table, table.encoder.row(values)
            except NullInRequired as error:
                table = self._tables.loosened(table, error.column)

    # -- transactions

    def _begin(self, frame: bytes) -> None:
        self._previous_lsn = self._commit_lsn
        self._commit_lsn, self._committed_at_us, self._xid = pgoutput.begin(frame)
        self._nth = 0
        self.inside = True
        self._snapshot.begin(self._xid, self._commit_lsn)

    def _commit(self, frame: bytes) -> bool:
        self.inside = self.is_cut = False
        self.end_lsn = pgoutput.commit(frame).end_lsn
        return self._snapshot.passed(self.end_lsn)

    def _message(self, frame: bytes) -> None:
        message = pgoutput.logical_message(frame)
        if message.prefix == WATERMARK_PREFIX:
            content = message.content.decode(errors="replace")  # anybody may write one
            self.marks.discard(content)

    def _relation(self, frame: bytes) -> None:
        relation = pgoutput.relation(frame)
        wanted = selected(self._config.tables, f"{relation.schema}.{relation.name}")
        table = self._tables.captured(relation) if wanted else None
        self._captured[pgoutput.relation_oid(frame)] = table
        if table is not None:
            self._snapshot.announced(table)

    # -- changes

    def _insert(self, frame: bytes) -> None:
        table = self._table(pgoutput.relation_oid(frame))
        if table is None:
            return
        encoder = table.encoder
        row = self._new_row(table, frame, TUPLE_AT)
        self._append(table, encoder.key(row), encoder.create(row, self._source(table, frame), self._clock))

    def _update(self, frame: bytes) -> None:
        table = self._table(pgoutput.relation_oid(frame))
        if table is None:
            return
        encoder = table.encoder
        kind, before, at = pgoutput.updated(frame)
        old = None if before is None else encoder.row(before, key_only=kind == "K")
        row = self._new_row(table, frame, at, before, kind)
        source = self._source(table, frame)
        key = encoder.key(row)
        old_key = key if old is None else encoder.key(old)
        if old is not None and old_key != key:
            moved = other_key(NEW_KEY, key)
            self._append(table, old_key, encoder.delete(old, source, self._clock), moved)
            self._append(table, old_key, None, moved)
            self._append(table, key, encoder.create(row, source, self._clock), other_key(OLD_KEY, old_key))
        else:
            self._append(table, key, encoder.update(old if kind == "O" else None, row, source, self._clock))

    def _delete(self, frame: bytes) -> None:
        table = self._table(pgoutput.relation_oid(frame))
        if table is None:
            return
        encoder = table.encoder
        kind, before = pgoutput.deleted(frame)
        old = encoder.row(before, key_only=kind == "K")
        key = encoder.key(old)
        self._snapshot.changed(table, key, None)
        self._append(table, key, encoder.delete(old, self._source(table, frame), self._clock))
        if key is not None:
            self._append(table, key, None)

    def _new_row(
        self, table: CapturedTable, frame: bytes, at: int, before: list[Value] | None = None, kind: str = "N"
    ) -> Row:
        """The new tuple at `at`. While tables are copied the snapshot must see it; else it is written as it is read."""
        encoder = table.encoder
        if before is None and not self._snapshot.is_pending:
            try:
                row = pgoutput.written(frame, at, encoder.columns)
            except FAILED:
                row = None
            if row is not None:
                return row
        after = pgoutput.values(frame, at)[0]
        if before is not None:
            after = completed(after, before) if kind == "O" else _with_key(after, before)
        row = encoder.row(after)
        if not self._snapshot.is_pending:
            return row
        key = encoder.key(row)
        old_key = encoder.key(encoder.row(before, key_only=kind == "K")) if before is not None else key
        if old_key != key:
            self._snapshot.changed(table, old_key, None)
        self._snapshot.changed(table, key, after)
        if old_key != key and table.key and UNCHANGED in after:
            self._snapshot.moved(table, key_text(table.key, after))
        return encoder.row(after)

    def _truncate(self, frame: bytes) -> None:
        for oid in pgoutput.truncated(frame):
            table = self._table(oid)
            if table is not None:
                self._snapshot.altered(table.id)
                try:
                    value = table.encoder.truncate(self._source(table, frame), self._clock)
                except VersionRefused as error:  # of this table alone
                    self._aside.put(error, frame, f"{format_lsn(self._commit_lsn)}/{self._nth}")
                else:
                    identity = self._commit_lsn, self._nth
                    self.events.append(Event(f"{table.topic}.truncate", table.name, None, value, identity))
                self._nth += 1

    def _loosen(self, oid: bytes, column: str) -> None:
        """Let `column` be nullable: the catalogue's NOT NULL is younger than the change at hand."""
        table = self._captured[oid]
        assert table is not None, "only a captured table is encoded"
        self._captured[oid] = self._tables.loosened(table, column)

    def _table(self, oid: bytes) -> CapturedTable | None:
        try:
            table = self._captured[oid]
        except KeyError:
            raise MalformedFrame(f"a change of a relation never announced: {int.from_bytes(oid, 'big')}") from None
        if (
            table is not None
            and self._snapshot.contained
            and self._snapshot.leaves_out(table.relation.oid, self._xid, self._commit_lsn)
        ):
            return None
        return table

    def _source(self, table: CapturedTable, frame: bytes) -> bytes:
        block = table.block
        if block.commit_lsn != self._commit_lsn:
            block.begin(self._previous_lsn, self._commit_lsn, self._committed_at_us, self._xid)
        return block.change(pgoutput.lsn_of(frame))

    def _append(
        self, table: CapturedTable, key: bytes | None, value: bytes | None, headers: OtherKey = NO_OTHER
    ) -> None:
        self.events.append(Event(table.topic, table.name, key, value, (self._commit_lsn, self._nth), headers))
        self._nth += 1


def _with_key(after: list[Value], key: list[Value]) -> list[Value]:
    """`after` with the parts of its key that the log left out; in `key` the other columns are None."""
    return [old if new is UNCHANGED and old is not None else new for new, old in zip(after, key, strict=True)]
