"""MySQL and MariaDB as a source: the stream, and between its transactions the rows of the snapshot."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import pymysql
import structlog

from connectors import asked
from connectors.chunk import Progress, in_words
from connectors.errors import SourceError
from connectors.mysql import coordinates, preflight, reach
from connectors.mysql.catalog import Catalog
from connectors.mysql.changes import Changes
from connectors.mysql.config import MariadbConfig, MysqlConfig
from connectors.mysql.connection import source_error
from connectors.mysql.copying import MysqlCopying
from connectors.mysql.ddl_event import DdlTopic
from connectors.mysql.decoder import Decoder
from connectors.mysql.names import TableName, is_captured
from connectors.mysql.opening import OpenLog, View, open_log
from connectors.mysql.rows import MalformedEvent
from connectors.mysql.scout import Scout
from connectors.mysql.shape import TableShape
from connectors.mysql.shapes import STORED, Shapes, shapes_in
from connectors.mysql.structure import Structure
from connectors.mysql.table import CapturedTable, Tables
from connectors.mysql.xa import DELIVERED
from connectors.snapshot import Copied, Snapshot
from offsets.origin import facts
from offsets.position import Offset, Position
from schema.event import Batch, DeadLetter
from schema.preflight import Finding
from schema.registry import Registry

BATCH_BYTES = 256 << 10
LINGER_S = 0.002
LINGER_INSIDE_S = 0.05
IDLE_CHECKPOINT_S = 10.0
DISCOVER_EVERY_S = 5.0
READING_S = 0.02
"""How long to wait for the log while a copy is read beside it."""

log = structlog.get_logger("tailrace")


class MysqlSource:
    """One server's committed changes in the order of its binlog, and a copy of what was there before them."""

    Config: ClassVar[type[MysqlConfig]] = MysqlConfig
    positions = staticmethod(reach.positions)
    position = staticmethod(reach.position)
    topics = staticmethod(reach.topics)
    copied = staticmethod(reach.copied)
    copies = staticmethod(reach.copies)
    progress = staticmethod(in_words)
    size_bytes = staticmethod(reach.size_bytes)

    def __init__(
        self,
        config: MysqlConfig,
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
        self._received: Iterator[bytes] = iter(())
        self._copied: Copied[CapturedTable] | None = None
        self._has_read_all = False
        self._owes_position = False  # for events that went without one
        self._to_close = ExitStack()

    @staticmethod
    def check(config: MysqlConfig) -> Iterator[Finding]:
        return preflight.check(config)

    def open(self, after: Offset | None) -> None:
        self._open(after, after.snapshot if after else {})

    def open_view(self, start: str) -> None:
        self._config = self._config.model_copy(update={"snapshot": "never"})
        self._open(View(start), {})

    def snapshot(self, tables: Sequence[str], where: str | None) -> None:
        with self._translated():
            known = {table.full: table for table in self._structure.captured()}
            for full in tables:
                if full in known:
                    self._snapshot.again(known[full], where)
                    continue
                asked.report_unknown(self._connector, full, known)

    def read(self, timeout_s: float) -> Batch | None:
        with self._translated():
            return self._read(timeout_s)

    def ack(self, position: Position | None) -> None:
        """The server keeps its binlog by age and size, whatever a reader has delivered."""

    def caught_up(self) -> bool:
        self._has_read_all = self._has_read_all or self._decoder.has_reached(self._opened().end)
        is_copying = self._copied or self._snapshot.is_pending or self._structure.has_changed
        return self._has_read_all and not (self._is_new or is_copying)

    def finished(self) -> bool:
        return self._config.snapshot == "only" and self.caught_up()

    def close(self) -> None:
        self._to_close.close()
        self._log = None

    def _open(self, after: Offset | View | None, stored: Mapping[str, str]) -> None:
        self._log = opened = open_log(self._config, self._connector, after)
        self._to_close.callback(opened.connection._force_close)
        self._to_close.callback(opened.stream.close)
        with self._translated():
            catalog = Catalog(opened.connection, opened.server)
            scout = Scout(self._config, opened.server, opened.connection, catalog.ignores_case)
            known = shapes_in(stored)
            self._tables = tables = Tables(
                Shapes(catalog, scout, known), self._registry, self._topic_prefix, opened.server.flavor, self._version
            )
            self._copying = copying = MysqlCopying(
                self._config,
                self._connector,
                opened.connection,
                opened.server,
                catalog,
                tables,
                lambda: self._decoder.reached.gtids,
            )
            self._snapshot = Snapshot(self._connector, copying, self._config.snapshot_parallel)
            self._to_close.callback(self._snapshot.close)
            self._changes = Changes(tables, self._snapshot, self._dead_letter, self._refused)
            ddl = (
                DdlTopic(self._registry, self._topic_prefix, opened.server.flavor, self._version)
                if self._config.ddl
                else None
            )
            self._structure = Structure(
                self._config,
                catalog,
                tables,
                self._snapshot,
                self._changes,
                ddl,
                is_mariadb=opened.server.flavor == "mariadb",
            )
            delivered = coordinates.parse(stored[DELIVERED]) if DELIVERED in stored else None
            self._decoder = Decoder(
                self._config,
                opened.server,
                opened.start,
                self._changes,
                self._structure,
                self._snapshot,
                delivered,
                opened.first_order,
                coordinates.order_of_file(opened.end.file) if opened.server.flavor == "mariadb" else 0,
            )
            self._to_close.callback(self._decoder.close)
            self._is_new = after is None
            self._returned = opened.start
            self._discover_at = self._idle_at = time.monotonic()
            self._begin(after if isinstance(after, Offset) else None, stored, known)

    def _begin(self, after: Offset | None, stored: Mapping[str, str], known: Mapping[str, TableShape]) -> None:
        tables = self._structure.captured()
        self._structure.report_patterns(tables, is_new=after is None)
        self._structure.meet(tables)
        self._tables.learn([table for table in tables if table.full not in known], self._opened().start)
        for table in tables:
            progress = Progress.load(stored[table.full]) if table.full in stored else None
            self._add(table, progress and after and self._of_this_log(table, progress, after.position))
        self._forget_left_out(stored)

    def _of_this_log(self, table: TableName, progress: Progress, position: Position) -> Progress:
        """What a piece contained is told by a place in the log of the server that it was read from.

        Behind that place nothing is left out any more. Before it, on another server, only another copy can tell.
        """
        if not progress.contained:
            return progress
        contained = self._copying.contained(progress.contained)
        if facts(position.origin).get("system") != contained.system or position.order >= contained.until:
            return progress._replace(contained=None)
        if self._opened().server.system == contained.system:
            return progress
        self._snapshot.forget(table)
        return Progress(table.id)

    def _forget_left_out(self, stored: Mapping[str, str]) -> None:
        """Tables that the configuration leaves out now may change unseen: nothing that is known of them will hold."""
        start = self._opened().start
        for full in {name.removeprefix(STORED) for name in stored if name != DELIVERED}:
            names = full.split(".")
            ways = [(".".join(names[:i]), ".".join(names[i:])) for i in range(1, len(names))]
            if not any(is_captured(self._config, *way) for way in ways):
                self._snapshot.forget(TableName(*ways[0]))
                self._tables.forget(full, start)

    def _read(self, timeout_s: float) -> Batch | None:
        if not self._decoder.inside:
            self._between_transactions()
        if self._copied is not None:
            return self._read_copied(self._copied)
        caught_up = self.caught_up()
        size = self._decode(min(timeout_s, READING_S) if self._snapshot.is_reading else timeout_s)
        if self._decoder.is_unsure:
            return None
        due = self._is_new or self._snapshot.has_noted or self._has_shapes()
        due |= self._owes_position and not self._decoder.inside
        due |= not caught_up and self.caught_up()
        due |= time.monotonic() - self._idle_at >= IDLE_CHECKPOINT_S
        return self._batch(size, {}) if self._changes.events or due else None

    def _read_copied(self, copied: Copied[CapturedTable]) -> Batch | None:
        size, more = self._copy_rows(copied)
        if more:
            return Batch(self._changes.take(), None, size, {})
        self._copied = None
        return self._batch(size, self._snapshot.delivered())

    def _copy_rows(self, copied: Copied[CapturedTable]) -> tuple[int, bool]:
        """Append the next rows of a copy as events, about BATCH_BYTES: (their size, whether more follow)."""
        self._changes.tick()
        now_ns = time.time_ns()
        reached = self._decoder.reached
        source = copied.table.block.snapshot(reached.file, reached.pos, now_ns)
        return self._changes.copied(copied, source, BATCH_BYTES)

    def _batch(self, size: int, progress: dict[str, str]) -> Batch | None:
        decoder, end = self._decoder, self._decoder.end
        is_due = self._is_new or self._snapshot.has_noted or self._has_shapes()
        is_cut = decoder.inside and self._changes.group.taken > 0
        if is_cut or not (end != self._returned or progress or is_due):
            events = self._changes.take()
            self._owes_position |= bool(events)
            return Batch(events, None, size, {}) if events else None
        position = Position(decoder.end_order, str(end), self._opened().origin)
        events = self._changes.take_whole() if decoder.inside else self._changes.take()
        progress = self._tables.noted(decoder.end_order) | decoder.noted | self._snapshot.noted() | progress
        self._returned = end
        self._idle_at = time.monotonic()
        self._is_new = self._owes_position = False
        return Batch(events, position, size, progress)

    def _has_shapes(self) -> bool:
        """Worth a position of their own, which a batch that ends inside a transaction has not."""
        return not self._decoder.inside and self._tables.has_noted(self._decoder.end_order)

    def _decode(self, timeout_s: float) -> int:
        """Decode until a batch is full, or nothing more comes soon: the size of what was decoded, in bytes."""
        stream, decoder = self._opened().stream, self._decoder
        self._changes.tick()
        size = 0
        started = 0.0
        while True:
            size += decoder.follow(self._received, BATCH_BYTES - size)
            if decoder.pauses or size >= BATCH_BYTES or (size and time.monotonic() - started >= self._linger_s()):
                return size
            received = stream.receive(LINGER_S if size else timeout_s, BATCH_BYTES)
            if received:
                started = started or time.monotonic()
                self._received = iter(received)
            elif not decoder.inside or not size:
                return size

    def _linger_s(self) -> float:
        """A transaction is worth waiting for; between two, latency counts more than the size of a batch."""
        return LINGER_INSIDE_S if self._decoder.inside else LINGER_S

    def _between_transactions(self) -> None:
        if self._copied is not None:  # its rows may still be on their way through the connection
            return
        if time.monotonic() >= self._discover_at or self._structure.has_changed:
            self._discover()
        self._snapshot.advance()
        self._copied = self._snapshot.take()

    def _discover(self) -> None:
        """Pick up tables that were created or renamed since; a copy of each comes first."""
        self._discover_at = time.monotonic() + DISCOVER_EVERY_S
        found = self._structure.discovered()
        self._structure.meet(found)
        self._tables.learn(found, self._decoder.reached)
        for table in found:
            log.info("new table", connector=self._connector, table=table.full)
            self._add(table, None)

    def _add(self, table: TableName, progress: Progress | None) -> None:
        if self._config.snapshot != "never" or (progress and not progress.done):
            self._snapshot.add(table, progress)

    def _opened(self) -> OpenLog:
        assert self._log is not None, "the source is not open"
        return self._log

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            raise source_error(error, self._config) from None
        except MalformedEvent as error:
            raise SourceError(
                f"{self._config.host} sent what no binlog holds behind {self._decoder.reached}: {error}",
                "nothing behind it was delivered; report this with the server's version",
            ) from None


class MariadbSource(MysqlSource):
    Config = MariadbConfig
