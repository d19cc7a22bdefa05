"""A source, a sink and an offset store over one `World`. Each call is at least one step of the scheduler."""

from collections.abc import Mapping, Sequence

from connectors.errors import LogGap, SourceUnreachable
from offsets.errors import OffsetMovedBackwards, OffsetStoreFailed
from offsets.position import Offset, Position
from schema.event import Batch, Event
from sinks.errors import SinkUnavailable
from tests.faults.database import START, TABLE, Transaction, events_of
from tests.faults.world import CHUNK_ROWS, World, merged, snapshot_rows

BATCH_EVENTS_MAX = 5
EVENT_BYTES = 100
STALLS_S = (0.1, 0.7, 5.0)


class FakeSource:
    """A connector to a Postgres slot: the server skips what it was told to forget, so we must refuse a gap."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.next = 0  # the transaction to read from
        self.sent = 0  # how many of its events were read
        self.goal = 0
        self.chunk = 0
        self.at = START

    def open(self, after: Offset | None) -> None:
        self.world.step("source opens")
        self._connected()
        self.at = after.position if after else START
        self.chunk = int(after.snapshot.get(TABLE, 0)) if after else 0
        if self.world.confirmed > self.at.order:
            raise LogGap(f"the slot was told to forget up to {self.world.confirmed}, our offset is {self.at.order}")
        self.next = sum(transaction.end_lsn <= self.at.order for transaction in self.world.log)
        self.goal = self.world.visible
        self.world.listen()

    def open_view(self, start: str) -> None:
        raise NotImplementedError("a pipeline opens no view")

    def snapshot(self, tables: Sequence[str], where: str | None) -> None:
        raise NotImplementedError("nobody asks for a copy")

    def read(self, timeout_s: float) -> Batch | None:
        self.world.step("source reads")
        self._connected()
        rng = self.world.rng
        self.world.grow()
        if self.sent == 0 and self.chunk < self.world.chunks and rng.random() < 0.3:
            batch = self._read_chunk()
        else:
            batch = self._read_log(rng.randint(1, BATCH_EVENTS_MAX))
        if not batch.events and batch.position is None:
            self.world.scheduler.wait(lambda: False, timeout_s)
            return None
        self.world.read_through = batch.position or self.world.read_through
        self.world.note(f"read {len(batch.events)} events, {batch.position and batch.position.order}")
        return batch

    def ack(self, position: Position | None) -> None:
        self.world.step(f"source acks {position and position.order}")
        self._connected()
        self.world.hear(position)
        if position is not None:
            self.world.confirm(position.order)

    def caught_up(self) -> bool:
        return self.next >= self.goal and self.chunk == self.world.chunks

    def finished(self) -> bool:
        return False

    def close(self) -> None:
        self.world.step("source closes")

    # what a mutant gets wrong

    def events(self, transaction: Transaction) -> list[Event]:
        return events_of(transaction)

    def is_whole(self, transaction: Transaction) -> bool:
        """All of the transaction's events have been read."""
        return self.sent == len(self.events(transaction))

    def _read_log(self, size: int) -> Batch:
        events: list[Event] = []
        position = None
        while self.next < self.world.visible and len(events) < size:
            transaction = self.world.log[self.next]
            taken = self.events(transaction)[self.sent : self.sent + size - len(events)]
            events += taken
            self.sent += len(taken)
            if self.is_whole(transaction):
                self.at = position = transaction.position
            if self.sent == len(self.events(transaction)):
                self.next += 1
                self.sent = 0
        return Batch(events, position, len(events) * EVENT_BYTES, {})

    def _read_chunk(self) -> Batch:
        keys = snapshot_rows(self.chunk + 1)[-CHUNK_ROWS:]
        events = [Event(f"shop.{TABLE}", TABLE, key, b"r", (self.at.order, n)) for n, key in enumerate(keys)]
        self.chunk += 1
        return Batch(events, self.at, len(events) * EVENT_BYTES, {TABLE: str(self.chunk)})

    def _connected(self) -> None:
        if self.world.fails(self.world.faults.disconnect):
            self.world.note("connection lost")
            raise SourceUnreachable("the connection broke")


class FakeSink:
    """Keeps a prefix of what it was given and not told to flush. May apply all of a call, then say it failed."""

    def __init__(self, world: World) -> None:
        self.world = world

    def open(self) -> None:
        self.world.step("sink opens")
        if self.world.fails(self.world.faults.write):
            raise SinkUnavailable("the target cannot be reached")
        self.world.sink_opened()

    def write(self, batch: Batch) -> None:
        self.world.step(f"sink writes {len(batch.events)} events")
        self._stall()
        if self.world.fails(self.world.faults.write):
            applied = self.world.rng.randint(0, len(batch.events))
            self.world.unflushed += batch.events[:applied]
            self.world.note(f"write failed, {applied} events applied")
            raise SinkUnavailable("the write failed")
        self.world.unflushed += batch.events
        if self.world.rng.random() < 0.1:
            self.world.make_durable(self.world.rng.randint(0, len(self.world.unflushed)))

    def flush(self) -> None:
        self.world.step(f"sink flushes {len(self.world.unflushed)} events")
        self._stall()
        if self.world.fails(self.world.faults.flush):
            applied = self.world.rng.randint(0, len(self.world.unflushed))
            self.world.make_durable(applied)
            self.world.note(f"flush failed, {applied} events durable")
            raise SinkUnavailable("the flush failed")
        self.world.make_durable(len(self.world.unflushed))
        self.world.step("sink has flushed")

    def caught_up(self) -> None:
        self.world.step("sink is caught up")
        if self.world.unflushed:
            raise self.world.failed("I5", f"published {len(self.world.unflushed)} events that were never flushed")

    def close(self) -> None:
        self.world.step("sink closes")

    def _stall(self) -> None:
        if self.world.fails(self.world.faults.stall):
            self.world.scheduler.wait(lambda: False, self.world.rng.choice(STALLS_S))


class FakeStore:
    """A save under way when the process dies is stored or is not."""

    def __init__(self, world: World) -> None:
        self.world = world

    def load(self, connector: str) -> Offset | None:
        self.world.step("store loads")
        return self.world.offset

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        self.world.step(f"store saves {position.order} {dict(snapshot)}")
        if self.world.fails(self.world.faults.save):
            self.world.note("save failed")
            raise OffsetStoreFailed("the disk is full")
        old = self.world.offset
        if old is not None and position.order < old.position.order:
            raise OffsetMovedBackwards(f"{position.order} is before {old.position.order}")
        self.world.saving = merged(old, position, snapshot)
        self.world.step("store writes")
        self.world.store(self.world.saving)
        self.world.saving = None
        self.world.step("store has saved")

    def close(self) -> None:
        pass
