"""The pipeline and its parts with one mistake each. The suite is worth what it says about these.

Mistakes of the pipeline are made in the real `Pipeline`, those of decoding in the real Postgres source; those of a
sink or a store in the models of them. A batch of the real source never ends inside a change, so the mistake that
needs one is made in the model.
An XA PREPARE taken for a commit is a mistake that only the MySQL log offers.
"""

from collections.abc import Mapping
from threading import Thread
from typing import NamedTuple

from connectors.postgres.decoder import Decoder
from connectors.postgres.pgoutput import BEGIN, DELETE, INSERT, MESSAGE_AT, UPDATE, begin, lsn_of
from offsets.position import Position
from schema.event import Batch
from service.pipeline import Pipeline
from sinks.errors import SinkUnavailable
from tests.faults.database import Transaction, events_by_change
from tests.faults.fakes import FakeSink, FakeSource, FakeStore
from tests.faults.postgres import RealSource
from tests.faults.simulation import Parts
from tests.faults.world import World, merged

CHANGES = (INSERT, UPDATE, DELETE)


class Mutant(NamedTuple):
    """`breaks`: the invariants that may be the first to fail."""

    name: str
    parts: Parts
    breaks: frozenset[str]


class SavesBeforeFlush(Pipeline):
    def checkpoint(self) -> None:
        if self._accepted is not None:
            self.offsets.save(self.connector, self._accepted, self._snapshot)
        super().checkpoint()


class AcksBeforeSave(Pipeline):
    def checkpoint(self) -> None:
        self._durable = self._accepted or self._durable
        super().checkpoint()


class PublishesUnflushed(Pipeline):
    """Events of a transaction that is still open reach `caught_up` without a flush."""

    def checkpoint(self) -> None:
        if self._accepted is not None:
            super().checkpoint()


class DropsHeldOnStop(Pipeline):
    """What was read, and found no room in the queue, is forgotten by a clean stop."""

    def _end_reading(self, thread: Thread) -> None:
        self._held = None
        super()._end_reading(thread)


class SilentWhileFull(Pipeline):
    """Waits for room in the queue without a word to the server."""

    def read_once(self, timeout_s: float) -> None:
        batch = self.source.read(timeout_s)
        while batch is not None and self._failure is None and not self._queue.put(batch, timeout_s):
            pass
        self.source.ack(self._durable)


class ConfirmsFirstOfThree(FakeSource):
    """Counts changes where it should count events: a new key is a delete, a tombstone and a create."""

    def is_whole(self, transaction: Transaction) -> bool:
        sizes = [len(events) for _, events in events_by_change(transaction)]
        return not sizes or self.sent > sum(sizes[:-1])


class ConfirmsOpenTransaction(Decoder):
    """A batch that ends inside a transaction carries that transaction's position."""

    def decode(self, frame: bytes) -> bool:
        pauses = super().decode(frame)
        if frame[MESSAGE_AT] == BEGIN:
            self.end_lsn = begin(frame).commit_lsn + 1
        return pauses


class DedupesByLsn(Decoder):
    """Takes the second row of a COPY for the first one, delivered again."""

    newest = 0

    def decode(self, frame: bytes) -> bool:
        if frame[MESSAGE_AT] in CHANGES:
            if lsn_of(frame) == self.newest:
                return False
            self.newest = lsn_of(frame)
        return super().decode(frame)


class DropsUpToBoundary(Decoder):
    """After a restart, skips rows written before the stored position, whenever they were committed."""

    boundary = -1

    def decode(self, frame: bytes) -> bool:
        if self.boundary < 0:
            self.boundary = self.end_lsn
        if frame[MESSAGE_AT] in CHANGES and lsn_of(frame) <= self.boundary:
            return False
        return super().decode(frame)


class ConfirmsOpenTransactionSource(RealSource):
    decoder = ConfirmsOpenTransaction


class DedupesByLsnSource(RealSource):
    decoder = DedupesByLsn


class DropsUpToBoundarySource(RealSource):
    decoder = DropsUpToBoundary


class ShowsToastAsNullSource(RealSource):
    """An update that left a long value alone says that the value is NULL."""

    unchanged = None


class RetriesLater(FakeSink):
    """Several requests in flight: the one that failed is sent again behind its successor."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.failed: list[Batch] = []

    def write(self, batch: Batch) -> None:
        try:
            super().write(batch)
        except SinkUnavailable:
            self.failed.append(batch)
        else:
            self._again()

    def flush(self) -> None:
        self._again()
        super().flush()

    def _again(self) -> None:
        while self.failed:
            super().write(self.failed[0])
            del self.failed[0]


class SavesWithoutSync(FakeStore):
    """A save returns before the disk has it."""

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        self.world.step(f"store saves {position.order}, unsynced")
        self.world.saving = merged(self.world.saving or self.world.offset, position, snapshot)


def _mutant(name: str, parts: Parts, *breaks: str) -> Mutant:
    return Mutant(name, parts, frozenset(breaks))


MUTANTS = [
    _mutant("saves before it flushes", Parts(pipeline=SavesBeforeFlush), "I5"),
    _mutant("acks before it saves", Parts(pipeline=AcksBeforeSave), "I5"),
    _mutant("publishes what was not flushed", Parts(pipeline=PublishesUnflushed), "I5"),
    _mutant("drops the held batch on a stop", Parts(pipeline=DropsHeldOnStop), "drain"),
    _mutant("is silent while the queue is full", Parts(pipeline=SilentWhileFull), "alive"),
    _mutant("confirms an open transaction", Parts(source=ConfirmsOpenTransactionSource), "I1", "I5"),
    _mutant("confirms the first of three events", Parts(source=ConfirmsFirstOfThree), "I1", "I5"),
    _mutant("dedupes by LSN", Parts(source=DedupesByLsnSource), "I1", "I2", "I4", "I5"),
    _mutant("drops events up to the boundary", Parts(source=DropsUpToBoundarySource), "I1", "I2", "I4", "I5"),
    _mutant("shows TOAST as NULL", Parts(source=ShowsToastAsNullSource), "I2"),
    _mutant("retries later", Parts(sink=RetriesLater), "I3", "I4"),
    _mutant("saves without a sync", Parts(store=SavesWithoutSync), "I5", "drain"),
]
