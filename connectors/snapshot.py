"""The copy of tables, chunk by chunk, woven into the stream (the DBLog method).

Source: Andreakis and Papapanagiotou, "DBLog: A Watermark Based Change-Data-Capture Framework", 2020.

For each chunk: where the log stands, the rows, where the log stands now. The stream goes on; a row of the chunk whose
key changes between the two is dropped, for the change is the newer form. The rest is delivered where the stream has
passed the second, and the chunk's last key is stored with that position. A row whose key moves during the copy may
land where the copy has been; where the log left values of it out, it is read again at the end.

A commit can stand in the log before other sessions see it. Such a transaction may be streamed before a chunk is read
and still be missing in it. Where the engine can tell, the chunk is read again; where it can only say how many
transactions that may concern, the keys of so many are kept, and what they name is dropped.

What an engine does not stream of a table, because it was written before the table was asked for, a copy must contain:
it begins when the engine says that those transactions have ended.

A table without a key cannot drop rows, so it is read in one piece. Its changes are left out until then, and behind
it those that the piece already contained.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple

import structlog

from connectors.asked import hint_again
from connectors.chunk import Chunk, Key, Progress, Read, Recent, TableId
from connectors.copying import Contained, Copying, Limit, N, NotRead, Piece, Reader, T
from schema.change import Value

CHUNK_TARGET_S = 0.5
CHUNK_LIMIT_BYTES = 8 << 20
CHUNK_FIRST_ROWS = 2_000
CHUNK_MOST_ROWS = 100_000
REMEMBERED_TRANSACTIONS = 10_000
_TRY_AGAIN_S = 0.2
_TOLD_EVERY_S = 2.0
_BAR_WIDTH = 20

log = structlog.get_logger("tailrace")


class Copied(NamedTuple, Generic[T]):
    """Rows to deliver now, as of the log at `order`: lines of the engine, or values where the stream knew some."""

    table: T
    rows: Iterator[bytes | list[Value]]
    order: int
    name: str


class _Copy(Generic[N, T]):
    """One table's copy; `chunk` is in hand, `reading` is its query, and `behind` is where its delivery leads."""

    def __init__(self, name: N, progress: Progress) -> None:
        self.name = name
        self.progress = progress
        self.limit_rows = CHUNK_FIRST_ROWS
        self.not_before = 0.0
        self.chunk: Chunk[T] | None = None
        self.reader: Reader[N] | None = None
        self.reading: Future[Read | NotRead] | None = None
        self.behind: Progress | None = None

    def is_ready(self, passed: int) -> bool:
        """The stream has passed the chunk: it can be delivered, or asked for again."""
        return self.chunk is not None and self.chunk.read is not None and self.chunk.read.high <= passed

    def size_next(self, read: Read) -> None:
        """As many rows as take about CHUNK_TARGET_S, in a chunk that is not cut at CHUNK_LIMIT_BYTES."""
        rows, size_bytes = len(read.lines), sum(map(len, read.lines))
        if read.is_last or not rows:
            return
        by_time = rows * min(4.0, CHUNK_TARGET_S / max(read.took_s, 0.001))
        by_size = rows * 0.9 * CHUNK_LIMIT_BYTES / max(1, size_bytes)
        self.limit_rows = int(max(1, min(CHUNK_MOST_ROWS, by_time, by_size)))


class Snapshot(Generic[N, T]):
    """What is still to be copied, in order, and the chunks in hand. Methods raise what `copying` raises."""

    def __init__(self, connector: str, copying: Copying[N, T], parallel: int = 1) -> None:
        """`parallel`: so many tables at once, each read in a thread of its own; 1: read between two transactions."""
        self._connector = connector
        self._copying = copying
        self._parallel = parallel
        self._copies: dict[TableId, _Copy[N, T]] = {}
        self._in_hand: list[_Copy[N, T]] = []
        self._taken: _Copy[N, T] | None = None
        self._readers: list[Reader[N]] = []
        self._idle: list[Reader[N]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._transaction = self._order = self._passed = 0
        self._streamed: deque[int] = deque(maxlen=REMEMBERED_TRANSACTIONS)
        self._recent = Recent(copying.hidden)
        self._noted: set[str] = set()
        self._refused: dict[str, str] = {}
        self._told_at = time.monotonic()
        self.contained: dict[TableId, Contained | None] = {}

    @property
    def is_pending(self) -> bool:
        return bool(self._copies)

    @property
    def is_reading(self) -> bool:
        """A query runs in a thread: look again soon, for the stream need not say when it ends."""
        return any(copy.reading is not None for copy in self._in_hand)

    # -- the tables to copy

    def add(self, name: N, progress: Progress | None) -> None:
        """Queue what is left of a table's copy, all where `progress` is None.

        A done copy may still have transactions to leave out.
        """
        progress = progress or Progress(name.id)
        if progress.done:
            if progress.contained:
                self.contained[name.id] = self._copying.contained(progress.contained)
            return
        if not self._copying.has_key(name):
            self._no_key(name)
        self._copying.queue(name, begins=progress.after is None)
        self._copies[name.id] = _Copy(name, progress)

    def again(self, name: N, where: str | None) -> None:
        """On request: copy the rows that fulfil the SQL condition `where`, or all, whatever was copied before."""
        hint = hint_again(self._connector, name.full)
        if where and not self._copying.has_key(name):
            why = "a table without a key is copied whole or not at all"
            log.warning(f"snapshot: {why}", table=name.full, where=where, hint=hint)
            return
        if where and (reason := self._copying.refusal(name, where)):
            log.warning(
                f"snapshot: the server refuses the condition: {reason}", table=name.full, where=where, hint=hint
            )
            return
        self.forget(name)
        self.add(name, Progress(name.id, where=where))

    def forget(self, name: N) -> None:
        """A copy of the table that is under way, or was made, counts for nothing; `add` begins another."""
        self._noted.add(name.full)
        self.contained.pop(name.id, None)
        self._copies.pop(name.id, None)

    @property
    def has_noted(self) -> bool:
        return bool(self._noted)

    def noted(self) -> dict[str, str]:
        """Progress to store with the next position, besides what `delivered` gives; empty where it is forgotten."""
        noted, self._noted = self._noted, set()
        found = self._refused | {copy.name.full: copy.progress.dump() for copy in self._copies.values()}
        self._refused = {}
        return {full: found.get(full, "") for full in noted}

    # -- what the stream shows

    def begin(self, transaction: int, order: int = 0) -> None:
        """The stream enters a transaction; `order` is where the log has its commit, 0 where that is not known yet."""
        self._transaction, self._order = transaction, order
        if self._copies:
            self._streamed.append(transaction)
            self._recent.begin()

    def leaves_out(self, table: TableId, transaction: int, order: int) -> bool:
        """Whether a change is, or will be, in the copy of a table without a key."""
        if table not in self.contained:
            return False
        contained = self.contained[table]
        if contained is None:
            return True
        if order > contained.until:
            del self.contained[table]
            return False
        return contained.contains(transaction)

    def announced(self, table: T) -> None:
        """The stream shows a table's shape: a chunk of another shape is read again."""
        chunk = self._chunk(table.id)
        if chunk:
            chunk.announced(table)

    def altered(self, table: TableId) -> None:
        """The stream changes a table in a way that names no row: its chunk is read again."""
        chunk = self._chunk(table)
        if chunk:
            chunk.is_stale = True

    def changed(self, table: T, key: bytes | None, values: list[Value] | None) -> None:
        """The stream changes a row, None: deletes it. It takes the place of the row in a chunk.

        What the log left out of `values` is filled in from the chunk. `key` has its header.
        """
        if key is None or table.id not in self._copies:
            return
        chunk = self._chunk(table.id)
        if chunk:
            chunk.change(table, key, values, self._transaction, self._order)
        self._recent.add(table, key, values)

    def taken_back(self, table: TableId) -> None:
        """A change that the stream has shown was rolled back: what it took from chunks belongs there."""
        self.altered(table)
        self._recent.lose()

    def moved(self, table: T, key: Key | None) -> None:
        """A row got another key while values of it were left out of the log: before its copy ends it is read again.

        `key` is the new one; where that is unknown the copy begins again.
        """
        copy = self._copies.get(table.id)
        if copy is None:
            return
        if key is not None:
            copy.progress = copy.progress._replace(again=(*copy.progress.again, key))
        else:
            copy.progress = Progress(copy.progress.id, key=copy.progress.key, where=copy.progress.where)
            self.altered(table.id)
        self._noted.add(copy.name.full)

    def passed(self, order: int) -> bool:
        """The stream has come to `order`, between two transactions. True: stop here, `advance` and `take`."""
        self._passed = order
        if not self._copies:
            return False
        if self._in_hand:
            return any(copy.is_ready(order) for copy in self._in_hand)
        now = time.monotonic()
        return any(copy.not_before <= now for copy in self._copies.values())

    # -- what is read

    def advance(self) -> None:
        """Between two transactions: ask for the next chunks, take in what came."""
        for copy in [copy for copy in self._in_hand if copy.reading and copy.reading.done()]:
            self._arrive(copy)
        if self._recent.take_lost():
            for copy in self._copies.values():
                self._copying.queue(copy.name, begins=False)
        if len(self._in_hand) < self._parallel:
            for copy in [copy for copy in self._copies.values() if not copy.chunk]:
                if len(self._in_hand) == self._parallel:
                    break
                if copy.name.id not in self.contained and self._may_begin(copy):
                    self._ask(copy)
        if not self._copies and self._readers and not self._in_hand:
            self.close()

    def take(self) -> Copied[T] | None:
        """Rows to deliver at this point of the stream, between two transactions."""
        for copy in [copy for copy in self._in_hand if copy.is_ready(self._passed)]:
            chunk, copy.chunk = copy.chunk, None
            self._in_hand.remove(copy)
            assert chunk is not None
            assert chunk.read is not None
            if chunk.is_stale or self._copies.get(copy.name.id) is not copy:
                continue
            copy.behind = copy.progress.behind(chunk.read)
            self._taken = copy
            return Copied(chunk.table, chunk.rows(), chunk.read.low, copy.name.full)
        for copy in list(self._copies.values()):
            if copy.name.id in self.contained and self._may_begin(copy):
                return self._take_piece(copy)
        return None

    def delivered(self) -> dict[str, str]:
        """The rows of `take` are on their way: the progress to store with this position."""
        copy, self._taken = self._taken, None
        assert copy is not None
        progress, copy.behind = copy.behind, None
        assert progress is not None
        if self._copies.get(copy.name.id) is not copy:  # asked for anew meanwhile
            return {}
        copy.progress = progress
        if progress.done:
            del self._copies[copy.name.id]
        self._tell(copy.name, progress)
        return {copy.name.full: progress.dump()}

    def close(self) -> None:
        """End what runs. Harmless when called twice."""
        for reader in self._readers:
            reader.stop()
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
        for reader in self._readers:
            reader.close()
        self._threads, self._readers, self._idle = None, [], []

    def _chunk(self, table: TableId) -> Chunk[T] | None:
        copy = self._copies.get(table)
        return copy.chunk if copy else None

    def _may_begin(self, copy: _Copy[N, T]) -> bool:
        if copy.not_before > time.monotonic():
            return False
        if self._copying.is_being_written(copy.name):
            copy.not_before = time.monotonic() + _TRY_AGAIN_S
            return False
        return True

    def _ask(self, copy: _Copy[N, T]) -> None:
        if not self._readers:
            self._readers = self._copying.readers(self._parallel)
            self._idle = list(self._readers)
            self._threads = ThreadPoolExecutor(self._parallel, "copy") if self._parallel > 1 else None
        copy.chunk = Chunk(self._copying.key, self._copying.values)
        self._recent.replay(copy.name.id, copy.chunk)
        copy.reader = self._idle.pop()
        limit = Limit(copy.limit_rows, CHUNK_LIMIT_BYTES)
        query = (copy.name, copy.progress, limit, tuple(self._streamed))
        self._in_hand.append(copy)
        if self._threads:
            copy.reading = self._threads.submit(copy.reader.read, *query)
        else:
            copy.reading = Future()
            copy.reading.set_result(copy.reader.read(*query))
            self._arrive(copy)

    def _arrive(self, copy: _Copy[N, T]) -> None:
        """A query has ended."""
        assert copy.reading is not None
        assert copy.reader is not None
        assert copy.chunk is not None
        read = copy.reading.result()
        self._idle.append(copy.reader)
        copy.reader = copy.reading = None
        if isinstance(read, NotRead):
            copy.chunk = None
            self._in_hand.remove(copy)
            if self._copies.get(copy.name.id) is copy:
                self._not_read(copy, read)
            return
        if copy.progress.rows and copy.progress.key != read.key:
            log.warning("snapshot: the key has become another, so the copy begins again", table=copy.name.full)
        copy.progress = copy.progress.of_key(read.key)
        copy.chunk.arrived(read, self._copying.captured(read.version))
        copy.size_next(read)

    def _not_read(self, copy: _Copy[N, T], why: NotRead) -> None:
        if why is NotRead.GONE:
            del self._copies[copy.name.id]
            self.contained.pop(copy.name.id, None)
            log.warning("snapshot: the table is gone, its copy ends here", table=copy.name.full)
        elif why is NotRead.REFUSED:
            del self._copies[copy.name.id]
            self._refused[copy.name.full] = Progress(copy.name.id, done=True).dump()
            self._noted.add(copy.name.full)
            log.warning("snapshot: the server refuses the condition, the copy ends here", table=copy.name.full)
        elif why is NotRead.NO_KEY:
            self._no_key(copy.name)
        else:
            copy.not_before = time.monotonic() + _TRY_AGAIN_S

    def _no_key(self, name: N) -> None:
        log.info("snapshot: no key, so this table is read in one piece", table=name.full)
        self.contained[name.id] = None

    def _take_piece(self, copy: _Copy[N, T]) -> Copied[T] | None:
        piece = self._copying.piece(copy.name, tuple(self._streamed))
        if isinstance(piece, NotRead):
            self._not_read(copy, piece)
            return None
        self._taken = copy
        table = self._copying.captured(piece.version)
        return Copied(table, self._piece_rows(copy, piece), piece.contained.until, copy.name.full)

    def _piece_rows(self, copy: _Copy[N, T], piece: Piece) -> Iterator[bytes | list[Value]]:
        rows = 0
        for rows, line in enumerate(piece.lines, 1):
            yield line
            if rows % CHUNK_FIRST_ROWS == 0:
                self._tell(copy.name, Progress(copy.name.id, rows=rows))
        copy.behind = Progress(copy.name.id, done=True, rows=rows, contained=piece.contained.dump())
        if self._copies.get(copy.name.id) is copy:
            self.contained[copy.name.id] = piece.contained

    def _tell(self, name: N, progress: Progress) -> None:
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
            tables_left=len(self._copies),
        )
