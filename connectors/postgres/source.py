"""Postgres as a source: the stream, and between its transactions the chunks of the snapshot."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
import structlog

from connectors import asked
from connectors.chunk import Progress, in_words
from connectors.errors import SourceError, SourceRefused, SourceUnreachable
from connectors.postgres import pgoutput, preflight, reach
from connectors.postgres.catalog import TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.copying import PostgresCopying, emit_message
from connectors.postgres.decoder import Decoder
from connectors.postgres.opening import OpenLog, View, captured_tables, ensure_published, open_log
from connectors.postgres.pgoutput import KEEPALIVE, MalformedFrame
from connectors.postgres.slot import publication_exists, published_tables
from connectors.postgres.stream import format_lsn, source_error
from connectors.postgres.table import CapturedTable, Tables
from connectors.snapshot import Copied, Snapshot
from offsets.position import Offset, Position
from schema.event import Batch, DeadLetter
from schema.preflight import Finding
from schema.registry import Registry

BATCH_BYTES = 256 << 10
LINGER_S = 0.002
LINGER_INSIDE_S = 0.05
READING_S = 0.02
IDLE_CHECKPOINT_S = 10.0
DISCOVER_EVERY_S = 5.0
ACK_EVERY_S = 1.0
STATUS_EVERY_S = 5.0
SILENCE_ASKS_S = 20.0
SILENCE_LIMIT_S = 60.0

log = structlog.get_logger("tailrace")


class PostgresSource:
    """One database's committed changes in commit order, and a copy of what was there before them."""

    Config = PostgresConfig
    positions = staticmethod(reach.positions)
    position = staticmethod(reach.position)
    topics = staticmethod(reach.topics)
    copied = staticmethod(reach.copied)
    copies = staticmethod(reach.copies)
    progress = staticmethod(in_words)
    size_bytes = staticmethod(reach.size_bytes)

    def __init__(
        self,
        config: PostgresConfig,
        *,
        connector: str,
        topic_prefix: str,
        registry: Registry,
        version: str,
        dead_letter: Callable[[DeadLetter], None] | None = None,
        refused: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        """`dead_letter` takes changes that no event can hold, `refused` those of versions that the registry refuses;
        without them they are errors.
        """
        self._config = config
        self._connector = connector
        self._topic_prefix = topic_prefix
        self._registry = registry
        self._version = version
        self._dead_letter = dead_letter
        self._refused = refused
        self._log: OpenLog | None = None
        self._frames: Iterator[bytes] = iter(())
        self._copied: Copied[CapturedTable] | None = None
        self._received = self._sent = self._returned_lsn = 0
        self._status_at = self._idle_at = self._discover_at = 0.0
        self._reply_asked = False
        self._owes_position = False  # for events that went without one
        self._known: set[tuple[int, str]] = set()
        self._left_out: set[int] = set()

    @staticmethod
    def check(config: PostgresConfig) -> Iterator[Finding]:
        return preflight.check(config)

    def open(self, after: Offset | None) -> None:
        self._open(after, after.snapshot if after else {})

    def open_view(self, start: str) -> None:
        self._config = self._config.model_copy(update={"snapshot": "never"})
        self._open(View(start), {})

    def _open(self, after: Offset | View | None, stored: Mapping[str, str]) -> None:
        self._log = opened = open_log(self._config, self._connector, after)
        self._origin = opened.position.origin
        self._received = opened.position.order
        self._sent = opened.confirmed
        tables = Tables(opened.catalog, self._registry, self._topic_prefix, self._config.database, self._version)
        copying = PostgresCopying(self._config, self._connector, opened.connection, opened.catalog, tables)
        self._snapshot = Snapshot(self._connector, copying, self._config.snapshot_parallel)
        self._decoder = Decoder(
            self._config, tables, self._snapshot, opened.position.order, self._dead_letter, self._refused
        )
        self._is_new = after is None
        self._returned_lsn = opened.position.order
        self._discover_at = self._idle_at = time.monotonic()
        with self._translated():
            self._status_every_s = _status_every_s(opened)
            self._begin(opened, stored)

    def read(self, timeout_s: float) -> Batch | None:
        with self._translated():
            return self._read(timeout_s)

    def snapshot(self, tables: Sequence[str], where: str | None) -> None:
        with self._translated():
            known = {table.full: table for table in captured_tables(self._config, self._opened().catalog)}
            for full in tables:
                if full in known:
                    self._snapshot.again(known[full], where)
                else:
                    asked.report_unknown(self._connector, full, known)

    def ack(self, position: Position | None) -> None:
        """Postgres wants to hear from us within wal_sender_timeout; a status goes out when due or asked for."""
        flushed = self._sent
        if position is not None:
            flushed = max(flushed, position.order - self._config.rewind_bytes)
        now = time.monotonic()
        moved = flushed > self._sent and now - self._status_at >= ACK_EVERY_S
        if not (moved or self._reply_asked or now - self._status_at >= self._status_every_s):
            return
        stream = self._opened().stream
        stream.send_status(self._received, flushed, ask_reply=stream.silent_s > SILENCE_ASKS_S)
        self._sent = flushed
        self._status_at = now
        self._reply_asked = False

    def caught_up(self) -> bool:
        return not (self._decoder.marks or self._copied or self._snapshot.is_pending)

    def finished(self) -> bool:
        return self._config.snapshot == "only" and self.caught_up()

    def close(self) -> None:
        if self._log is not None:
            self._snapshot.close()
            self._log.stream.close()
            self._log.connection.close()
            self._log = None

    def _read(self, timeout_s: float) -> Batch | None:
        if not self._decoder.inside:
            self._between_transactions()
        if self._copied is not None:
            return self._read_copied(self._copied)
        marked = bool(self._decoder.marks)
        size = self._decode_frames(min(timeout_s, READING_S) if self._snapshot.is_reading else timeout_s)
        due = self._is_new or self._snapshot.has_noted or (marked and not self._decoder.marks)
        due |= self._owes_position and not self._decoder.inside
        due |= time.monotonic() - self._idle_at >= IDLE_CHECKPOINT_S
        return self._batch(size, {}) if self._decoder.events or due else None

    def _read_copied(self, copied: Copied[CapturedTable]) -> Batch | None:
        self._decoder.tick()
        size, more = self._decoder.copied(copied, BATCH_BYTES)
        if more:
            return Batch(self._decoder.take_events(), None, size, {})
        self._copied = None
        return self._batch(size, self._snapshot.delivered())

    def _batch(self, size: int, progress: dict[str, str]) -> Batch | None:
        end_lsn = self._decoder.end_lsn
        is_due = end_lsn > self._returned_lsn or progress or self._is_new or self._snapshot.has_noted
        if self._decoder.is_cut or not is_due:
            events = self._decoder.take_events()
            self._owes_position |= bool(events)
            return Batch(events, None, size, {}) if events else None
        self._returned_lsn = end_lsn
        self._idle_at = time.monotonic()
        self._is_new = self._owes_position = False
        position = Position(end_lsn, format_lsn(end_lsn), self._origin)
        return Batch(self._decoder.take_whole(), position, size, self._snapshot.noted() | progress)

    def _decode_frames(self, timeout_s: float) -> int:
        """Decode until a batch is full, or nothing more comes soon: the size of what was decoded, in bytes."""
        stream = self._opened().stream
        decoder = self._decoder
        decoder.tick()
        size = 0
        started = 0.0
        while True:
            for frame in self._frames:
                if frame[0] == KEEPALIVE:
                    self._keepalive(frame)
                    continue
                size += len(frame)
                if decoder.decode(frame):
                    return size
            if size >= BATCH_BYTES or (size and time.monotonic() - started >= self._linger_s()):
                return size
            if size:
                stream.linger()
            frames = stream.receive(0.0 if size else timeout_s, BATCH_BYTES)
            if frames:
                started = started or time.monotonic()
                self._received = max(self._received, pgoutput.lsn_of(frames[-1]))
                self._frames = iter(frames)
            elif not decoder.inside or not size:
                self._check_silence()
                return size

    def _linger_s(self) -> float:
        """A transaction is worth waiting for; between two, latency counts more than the size of a batch."""
        return LINGER_INSIDE_S if self._decoder.inside else LINGER_S

    def _keepalive(self, frame: bytes) -> None:
        alive = pgoutput.keepalive(frame)
        self._reply_asked |= alive.reply_requested
        if not self._decoder.inside:
            self._decoder.end_lsn = max(self._decoder.end_lsn, alive.end_lsn)

    def _check_silence(self) -> None:
        silent_s = self._opened().stream.silent_s
        if silent_s > SILENCE_LIMIT_S:
            raise SourceUnreachable(
                f"{self._config.host} has said nothing for {silent_s:.0f} s, not even when asked",
                "the connection is opened again; if this repeats, look for a firewall that drops idle connections",
            )

    def _between_transactions(self) -> None:
        if self._copied is not None:  # its rows may still be on their way through the connection
            return
        if time.monotonic() >= self._discover_at:
            self._discover()
        self._snapshot.advance()
        self._copied = self._snapshot.take()

    def _discover(self) -> None:
        """Pick up tables that were created, renamed or published since; a copy of each comes first."""
        opened = self._opened()
        self._discover_at = time.monotonic() + DISCOVER_EVERY_S
        if not publication_exists(opened.connection, self._config.publication):
            return  # the stream will tell
        published = published_tables(opened.connection, self._config.publication)
        for table in captured_tables(self._config, opened.catalog):
            is_published = table.full in published
            if (table.oid, table.full) not in self._known:
                self._take_in(table, "new table")
            elif table.oid in self._left_out:
                if is_published:
                    self._take_in(table, "table now published")
            elif not is_published:
                log.warning("the table was taken out of the publication", connector=self._connector, table=table.full)
                ensure_published(opened.connection, self._config, [table])
                self._snapshot.forget(table)
                self._add(table, None)

    def _take_in(self, table: TableName, why: str) -> None:
        try:
            ensure_published(self._opened().connection, self._config, [table])
        except SourceRefused as error:
            self._leave_out(table)
            log.warning(f"a new table is left out: {error}", connector=self._connector, hint=error.hint)
        except psycopg.errors.LockNotAvailable:
            log.info("a new table is locked; it is picked up later", connector=self._connector, table=table.full)
        else:
            log.info(why, connector=self._connector, table=table.full)
            self._left_out.discard(table.oid)
            self._add(table, None)

    def _leave_out(self, table: TableName) -> None:
        self._known.add((table.oid, table.full))
        self._left_out.add(table.oid)

    def _begin(self, opened: OpenLog, stored: Mapping[str, str]) -> None:
        for table in opened.left_out:
            self._leave_out(table)
        for table in opened.tables:
            progress = Progress.load(stored[table.full]) if table.full in stored else None
            if progress and table.oid in opened.added:
                log.warning("the publication lacked the table; it is copied again", table=table.full)
                self._snapshot.forget(table)
                progress = None
            self._add(table, progress if progress and progress.id == table.oid else None)
        mark = uuid.uuid4().hex
        self._decoder.marks.add(mark)
        emit_message(opened.connection, mark)

    def _add(self, table: TableName, progress: Progress | None) -> None:
        self._known.add((table.oid, table.full))
        if self._config.snapshot != "never" or (progress and not progress.done):
            self._snapshot.add(table, progress)

    def _opened(self) -> OpenLog:
        assert self._log is not None, "the source is not open"
        return self._log

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise source_error(error, self._config) from None
        except MalformedFrame as error:
            raise SourceError(
                f"{self._config.host} sent what pgoutput does not allow behind {format_lsn(self._received)}: {error}",
                "nothing behind it was delivered; report this with the server's version",
            ) from None


def _status_every_s(opened: OpenLog) -> float:
    """Well within wal_sender_timeout: while the sink stalls, nobody reads the server's request for an answer."""
    row = opened.connection.execute("select setting::int from pg_settings where name = 'wal_sender_timeout'").fetchone()
    timeout_s = row[0] / 1000 if row else 0.0
    return min(STATUS_EVERY_S, timeout_s / 4) if timeout_s else STATUS_EVERY_S
