"""The copy of tables, chunk by chunk, woven into the stream (the DBLog method).

Source: Andreakis and Papapanagiotou, "DBLog: A Watermark Based Change-Data-Capture Framework", 2020.

For each chunk: a watermark in the log, the rows, a second watermark. The stream goes on; a row of the chunk whose
key changes between the watermarks is dropped, for the change is the newer form. The rest is delivered where the
stream reaches the second watermark, and the chunk's last key is stored with that position. A row whose key moves
during the copy may land where the copy has been; where the log left values of it out, it is read again at the end.

A commit can stand in the log before other sessions see it. Such a transaction may be streamed ahead of the first
watermark and still be missing in the chunk; the chunk's list of running transactions tells, and it is read again.

What a transaction wrote before its table was published is not streamed, however late it commits. So a copy begins
when the transactions that wrote to the table as it was queued have ended: it contains what they did.

A table without a key cannot drop rows, so it is read in one piece. Its changes are left out until then, and behind
it those that its database snapshot already contained.
"""

import time
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import structlog

from connectors.postgres.catalog import Catalog, TableName
from connectors.postgres.chunk import Chunk, Progress, Visible, chunk_query, key_text, parse_line
from connectors.postgres.pgoutput import Relation
from connectors.postgres.stream import copy_out, parse_lsn
from connectors.postgres.table import CapturedTable, Tables
from schema.change import Value

WATERMARK_PREFIX = "tailrace"
CHUNK_TARGET_S = 0.5
CHUNK_LIMIT_BYTES = 8 << 20
CHUNK_FIRST_ROWS = 2_000
CHUNK_MOST_ROWS = 100_000
_TOLD_EVERY_S = 2.0
_BAR_WIDTH = 20
_REMEMBERED_TRANSACTIONS = 10_000
_WRITERS_EVERY_S = 0.2

log = structlog.get_logger("tailrace")


class Copied(NamedTuple):
    """Rows to deliver now, as of the log at `lsn`; behind them `table`'s copy stands at `progress`."""

    table: CapturedTable
    rows: Iterator[list[Value]]
    lsn: int
    name: str


class Snapshot:
    """What is still to be copied, in order, and the chunk in hand. Methods raise psycopg.Error."""

    def __init__(
        self, connector: str, connection: psycopg.Connection[Any], catalog: Catalog, tables: Tables, publication: str
    ) -> None:
        self._connector = connector
        self._connection = connection
        self._catalog = catalog
        self._tables = tables
        self._publication = publication
        self._pending: deque[tuple[TableName, Progress]] = deque()
        self._chunk_rows = CHUNK_FIRST_ROWS
        self._streamed: deque[int] = deque(maxlen=_REMEMBERED_TRANSACTIONS)
        self._piece_low: str | None = None
        self._piece_ready = False
        self._progress: Progress | None = None
        self._noted: set[str] = set()
        self._writers: dict[int, set[str]] = {}
        self._writers_at = 0.0
        self._is_last = False
        self._told_at = time.monotonic()
        self.chunk: Chunk | None = None
        self.contained: dict[int, Visible | None] = {}

    @property
    def is_pending(self) -> bool:
        return bool(self._pending)

    def add(self, table: TableName, progress: Progress | None) -> None:
        """Queue what is left of a table's copy, all where `progress` is None.

        A done copy may still have transactions to leave out.
        """
        progress = progress or Progress(table.oid)
        if progress.done:
            if progress.contained:
                self.contained[table.oid] = progress.contained
            return
        definition = self._catalog.definition(table.oid)
        if definition is not None and not definition.key:
            self._no_key(table)
        if progress.after is None:
            self._writers[table.oid] = self._catalog.writers(table.oid)
        self._pending.append((table, progress))

    def forget(self, table: TableName) -> None:
        """A copy of the table that is under way, or was made, counts for nothing; `add` begins another."""
        self._noted.add(table.full)
        self._pending = deque(entry for entry in self._pending if entry[0].oid != table.oid)
        self._piece_low, self._piece_ready = None, False
        self.truncated(table.oid)

    def begin(self, xid: int) -> None:
        """The stream enters a transaction."""
        if self._pending:
            self._streamed.append(xid)

    def leaves_out(self, oid: int, xid: int, commit_lsn: int) -> bool:
        """Whether a change of this table is, or will be, in the copy of a table without a key."""
        if oid not in self.contained:
            return False
        visible = self.contained[oid]
        if visible is None:
            return True
        if commit_lsn > visible.until:
            del self.contained[oid]
            return False
        return visible.contains(xid)

    def relation(self, relation: Relation) -> None:
        """The stream announces a table's shape: a chunk of another shape is read again."""
        if self.chunk and self.chunk.table.relation.oid == relation.oid:
            self.chunk.is_stale |= shape(self.chunk.table.relation) != shape(relation)

    def changed(self, table: CapturedTable, key: bytes | None, values: list[Value]) -> None:
        """The stream changes a row: between a chunk's watermarks it takes the row's place.

        What the log left out of `values` is filled in from the chunk.
        """
        chunk = self.chunk
        if chunk and chunk.is_open and not chunk.is_stale and chunk.table.relation.oid == table.relation.oid:
            if key_columns(chunk.table) == key_columns(table):
                chunk.change(key, values)
            else:
                chunk.is_stale = True

    def moved(self, table: CapturedTable, values: list[Value]) -> None:
        """A row got another key while values of it were left out of the log: before its copy ends it is read again."""
        for i, (name, progress) in enumerate(self._pending):
            if name.oid == table.relation.oid and table.key:
                progress = progress._replace(again=(*progress.again, key_text(table, values)))
                self._pending[i] = (name, progress)
                self._noted.add(name.full)

    @property
    def has_noted(self) -> bool:
        return bool(self._noted)

    def noted(self) -> dict[str, str]:
        """Progress to store with the next position, besides what `delivered` gives."""
        noted, self._noted = self._noted, set()
        return {name.full: progress.dump() for name, progress in self._pending if name.full in noted}

    def truncated(self, oid: int) -> None:
        if self.chunk and self.chunk.table.relation.oid == oid:
            self.chunk.is_stale = True

    def watermark(self, content: str) -> bool:
        """The stream reaches one of our watermarks. True: rows wait to be delivered behind this transaction."""
        if content == self._piece_low:
            self._piece_ready = True
            return True
        chunk = self.chunk
        if chunk is None:
            return False
        if content == chunk.low:
            chunk.is_open = True
            chunk.is_stale |= any(map(chunk.visible.lacks, self._streamed))
        elif content == chunk.high:
            chunk.is_open = False
            chunk.is_ready = True
            return True
        return False

    def advance(self) -> None:
        """Between two transactions: read the next chunk, unless one is in hand."""
        if self.chunk is not None or self._piece_low is not None or not self._pending:
            return
        name, progress = self._pending[0]
        if self._is_being_written(name):
            self._pending.rotate(-1)
        elif name.oid in self.contained:
            self._piece_low, _ = self._watermark()
        else:
            self._read_chunk(name, progress)

    def take(self) -> Copied | None:
        """Rows to deliver at this point of the stream, between two transactions."""
        if self._piece_ready:
            return self._take_piece()
        if self.chunk is None or not self.chunk.is_ready:
            return None
        chunk, self.chunk = self.chunk, None
        name, progress = self._pending[0]
        if chunk.is_stale:
            return None
        self._progress = progress.behind(chunk, self._is_last)
        return Copied(chunk.table, chunk.rows(), chunk.lsn, name.full)

    def delivered(self) -> dict[str, str]:
        """The rows of `take` are on their way: the progress to store with this position."""
        name, _ = self._pending[0]
        progress, self._progress = self._progress, None
        assert progress is not None
        if progress.done:
            self._pending.popleft()
            self._chunk_rows = CHUNK_FIRST_ROWS
        else:
            self._pending[0] = (name, progress)
        self._tell(name, progress)
        return {name.full: progress.dump()}

    def _is_being_written(self, name: TableName) -> bool:
        """Whether a transaction is still open that wrote to the table as it was queued."""
        if not self._writers.get(name.oid):
            return False
        now = time.monotonic()
        if now - self._writers_at >= _WRITERS_EVERY_S:
            self._writers_at = now
            self._writers[name.oid] &= self._catalog.writers(name.oid)
        return bool(self._writers[name.oid])

    def _read_chunk(self, name: TableName, progress: Progress) -> None:
        columns, row_filter = self._catalog.published(self._publication, name)
        low, lsn = self._watermark()
        started = time.monotonic()
        with self._connection.transaction():
            visible = self._enter(name)
            relation = self._catalog.relation(name, columns) if visible else None
            if visible is None or relation is None:
                self._drop(name)
                return
            table = self._tables.captured(relation)
            if not table.key:
                self._no_key(name)
                return
            progress = self._of_key(name, progress, table)
            query = chunk_query(name, table, row_filter, progress, self._chunk_rows).as_string(self._connection)
            lines = list(copy_out(self._connection, query, None if progress.ended else CHUNK_LIMIT_BYTES))
        high, _ = self._watermark()
        size = sum(map(len, lines))
        self._is_last = len(lines) < self._chunk_rows and size < CHUNK_LIMIT_BYTES
        self.chunk = Chunk(table, lines, visible, low, high, lsn)
        if not self._is_last:
            self._size_next(len(lines), size, time.monotonic() - started)

    def _no_key(self, name: TableName) -> None:
        log.info("snapshot: no key, so this table is read in one piece", table=name.full)
        self.contained[name.oid] = None

    def _of_key(self, name: TableName, progress: Progress, table: CapturedTable) -> Progress:
        """How far the copy is in the order of the table's key; where that has become another, it begins again."""
        columns = (table.relation.columns[i] for i in table.key)
        key = tuple(f"{column.name} {column.type_oid}" for column in columns)
        if key != progress.key:
            if progress.rows:
                log.warning("snapshot: the key has become another, so the copy begins again", table=name.full)
            progress = Progress(name.oid, key=key)
            self._pending[0] = (name, progress)
        return progress

    def _take_piece(self) -> Copied | None:
        self._piece_low, self._piece_ready = None, False
        name, _ = self._pending[0]
        columns, row_filter = self._catalog.published(self._publication, name)
        self._connection.execute("begin")
        visible = self._enter(name)
        relation = self._catalog.relation(name, columns) if visible else None
        if visible is None or relation is None:
            self._connection.execute("rollback")
            self._drop(name)
            return None
        if any(map(visible.lacks, self._streamed)):  # left out of the stream, and not visible yet
            self._connection.execute("rollback")
            return None
        table = self._tables.captured(relation)
        query = chunk_query(name, table, row_filter, Progress(name.oid), None).as_string(self._connection)
        return Copied(table, self._piece_rows(name, query, visible), visible.until, name.full)

    def _piece_rows(self, name: TableName, query: str, visible: Visible) -> Iterator[list[Value]]:
        rows = 0
        for line in copy_out(self._connection, query, None):
            rows += 1
            yield parse_line(line)
            if rows % CHUNK_FIRST_ROWS == 0:
                self._tell(name, Progress(name.oid, rows=rows))
        self._connection.execute("commit")
        self.contained[name.oid] = visible
        self._progress = Progress(name.oid, done=True, rows=rows, contained=visible)

    def _enter(self, name: TableName) -> Visible | None:
        """Within a transaction: pin the table's shape and a database snapshot. None: the table is gone."""
        self._connection.execute("set transaction isolation level repeatable read, read only")
        lock = f"lock table {name.quoted()} in access share mode"
        try:
            with self._connection.transaction():
                self._connection.execute(lock)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None
        row = self._connection.execute(
            "select pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text"
        ).fetchone()
        assert row is not None
        return Visible.parse(row[0], parse_lsn(row[1]))

    def _watermark(self) -> tuple[str, int]:
        """(its content, its LSN)."""
        content = uuid.uuid4().hex
        return content, emit_message(self._connection, content)

    def _drop(self, name: TableName) -> None:
        self._pending.popleft()
        self.contained.pop(name.oid, None)
        log.warning("snapshot: the table is gone, its copy ends here", table=name.full)

    def _size_next(self, rows: int, size_bytes: int, took_s: float) -> None:
        """As many rows as take about CHUNK_TARGET_S, in a chunk that is not cut at CHUNK_LIMIT_BYTES."""
        if not rows:
            return
        by_time = rows * min(4.0, CHUNK_TARGET_S / max(took_s, 0.001))
        by_size = rows * 0.9 * CHUNK_LIMIT_BYTES / size_bytes
        self._chunk_rows = int(max(1, min(CHUNK_MOST_ROWS, by_time, by_size)))

    def _tell(self, name: TableName, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.done and now - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = now
        total = max(name.row_estimate, progress.rows)
        share = 1.0 if progress.done else progress.rows / max(1, total)
        bar = "#" * int(share * _BAR_WIDTH)
        log.info(
            f"snapshot [{bar:-<{_BAR_WIDTH}}] {share:4.0%}",
            connector=self._connector,
            table=name.full,
            rows=progress.rows,
            tables_left=len(self._pending),
        )


def emit_message(connection: psycopg.Connection[Any], content: str) -> int:
    """Put `content` into the log as a transaction of its own, flushed on return; its LSN."""
    row = connection.execute(
        "select pg_logical_emit_message(true, %s, %s)::text", [WATERMARK_PREFIX, content]
    ).fetchone()
    assert row is not None
    return parse_lsn(row[0])


def shape(relation: Relation) -> list[tuple[str, int, int]]:
    """What must be equal for two sets of values to mean the same."""
    return [(column.name, column.type_oid, column.typmod) for column in relation.columns]


def key_columns(table: CapturedTable) -> list[str]:
    return [table.relation.columns[i].name for i in table.key]
