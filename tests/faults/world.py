"""What outlives the process: the database's slot, the target, the stored offset. And what must hold of them.

    I1  no loss           every committed change is durable at the target in the end
    I2  no invention      nothing else is
    I3  order per key     events seen for the first time come in the order of their commits
    I4  replay shape      one opened sink is given one contiguous run, from the stored offset or before
    I5  offset <= target  what is stored is durable downstream, what is acked is stored, at every step

Two more: `alive` (the server hears from us every second) and `drain` (after a clean stop all that was read is stored).
"""

from bisect import bisect_right
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from offsets.position import Offset, Position
from schema.event import Event
from tests.faults.database import TABLE, Transaction, events_of
from tests.faults.scheduler import Scheduler

SILENCE_MAX_S = 1.0
CHUNK_ROWS = 2


class Violation(AssertionError):
    """`invariant` is I1 to I5, alive, drain or stuck."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Faults(NamedTuple):
    """How often a call fails, 0 to 1."""

    disconnect: float = 0.0
    write: float = 0.0
    flush: float = 0.0
    save: float = 0.0
    stall: float = 0.0


class Fate(NamedTuple):
    """What becomes of effects that nobody was promised when a life ends. `writes` is the share that is kept."""

    writes: float
    save: bool
    feedback: bool


NO_FAULTS = Faults()


class World:
    def __init__(self, rng: Random, log: list[Transaction], chunks: int) -> None:
        self.rng = rng
        self.log = log
        self.chunks = chunks
        self.visible = 0  # transactions committed by now
        self.faults = NO_FAULTS
        self.journal: list[str] = []
        self.violation: Violation | None = None
        self.offset: Offset | None = None
        self.saving: Offset | None = None  # an unfinished save
        self.confirmed = 0  # what the slot has been told
        self.feedback: int | None = None  # told, but still on its way
        self.unflushed: list[Event] = []
        self.delivered = 0  # durable events, replays included
        self.read_through: Position | None = None
        self.acked: Position | None = None
        self.scheduler = Scheduler(rng)
        self._heard_at_s = 0.0
        self.expected = [event for transaction in log for event in events_of(transaction)]
        self._index = {event.id: index for index, event in enumerate(self.expected)}
        self._ends = [transaction.end_lsn for transaction in log for _ in events_of(transaction)]
        self._durable: set[int] = set()
        self._through = 0  # all events before this index are durable
        self._rows: set[bytes] = set()  # durable snapshot rows
        self._newest: dict[bytes, int] = {}
        self._run_at: int | None = None
        self._run_limit = 0

    def begin(self, scheduler: Scheduler, faults: Faults) -> None:
        """A new life of the process."""
        self.scheduler = scheduler
        self.faults = faults
        self.read_through = None
        self.note(f"start after {self.offset.position.order if self.offset else None}")

    def step(self, what: str) -> None:
        self.scheduler.step()
        self.note(what)

    def note(self, what: str) -> None:
        self.journal.append(f"{self.scheduler.now_s:6.1f} {self.scheduler.actor.name:8} {what}")

    def fails(self, likelihood: float) -> bool:
        return likelihood > 0 and self.rng.random() < likelihood

    def settle(self, fate: Fate) -> None:
        """The life is over: effects under way happened or did not."""
        kept = round(fate.writes * len(self.unflushed))
        self.note(f"end of a life: {kept} of {len(self.unflushed)} unflushed events kept, {fate}")
        self.make_durable(kept)
        self.unflushed.clear()
        if self.saving is not None and fate.save:
            self.store(self.saving)
        self.saving = None
        if self.feedback is not None and fate.feedback:
            self.confirmed = max(self.confirmed, self.feedback)
        self.feedback = None

    # the target

    def sink_opened(self) -> None:
        """A sink was opened: replay begins at the stored offset or before it."""
        self._run_at = None
        self._run_limit = self._covered()

    def make_durable(self, count: int) -> None:
        for event in self.unflushed[:count]:
            self._land(event)
        del self.unflushed[:count]

    def _land(self, event: Event) -> None:
        self.delivered += 1
        key = event.key or b""
        if key.startswith(b"row"):
            self._rows.add(key)
            return
        index = self._index_of(event)
        if self._run_at is None and self._leaves_out(self._run_limit, index):
            raise self.failed("I4", f"a run begins at event {index}, behind the offset at {self._run_limit}")
        if self._run_at is not None and (index <= self._run_at or self._leaves_out(self._run_at + 1, index)):
            raise self.failed("I4", f"event {index} follows event {self._run_at}")
        self._run_at = index
        self._keep(index, key, in_order=not self.may_miss(index))

    def land_alone(self, event: Event) -> None:
        """An event is durable that is in no run."""
        self._keep(self._index_of(event), event.key or b"", in_order=True)

    def _keep(self, index: int, key: bytes, in_order: bool) -> None:
        newest = self._newest.get(key, -1)
        if index not in self._durable:
            if in_order and index < newest:
                raise self.failed("I3", f"event {index} of key {key!r} follows its event {newest}")
            self._newest[key] = max(index, newest)
        self._durable.add(index)

    def is_safe(self, index: int) -> bool:
        """The event may be forgotten by the database."""
        return index in self._durable

    def may_miss(self, index: int) -> bool:
        """A run may leave the event out, and a later one, which has all that follows it too, may not."""
        return False

    def is_durable(self, index: int) -> bool:
        return index in self._durable

    def _leaves_out(self, first: int, end: int) -> bool:
        return any(not self.may_miss(index) for index in range(first, end))

    def _index_of(self, event: Event) -> int:
        index = self._index.get(event.id)
        if index is None or self.expected[index] != event:
            raise self.failed("I2", f"{event} was never committed")
        return index

    # the offset store

    def store(self, offset: Offset) -> None:
        self.offset = offset
        while self._through < len(self.expected) and self.is_safe(self._through):
            self._through += 1
        if self._covered() > self._through:
            raise self.failed("I5", f"stored {offset.position.order}, which covers event {self._through}, not durable")
        missing = set(snapshot_rows(int(offset.snapshot.get(TABLE, 0)))) - self._rows
        if missing:
            raise self.failed("I5", f"stored {dict(offset.snapshot)}, but {missing} are not durable")

    def _covered(self) -> int:
        """How many events the stored offset covers."""
        return bisect_right(self._ends, self.offset.position.order) if self.offset else 0

    # the server

    def grow(self) -> None:
        """Time passes for the writers: some more transactions are committed."""
        self.visible = min(len(self.log), self.visible + self.rng.choice((0, 0, 1, 1, 3)))

    def listen(self) -> None:
        self._heard_at_s = self.scheduler.now_s

    def hear(self, position: Position | None) -> None:
        """The pipeline acks."""
        silence_s = self.scheduler.now_s - self._heard_at_s
        if silence_s > SILENCE_MAX_S + 1e-3:
            raise self.failed("alive", f"the source heard nothing for {silence_s:.1f} s")
        self.listen()
        self.acked = position

    def confirm(self, order: int) -> None:
        """A status update leaves us. It may be received now, later, or never."""
        if order > (self.offset.position.order if self.offset else 0):
            raise self.failed("I5", f"acked {order}, stored {self.offset}")
        if self.rng.random() < 0.5:
            self.confirmed = max(self.confirmed, order)
            self.feedback = None
        else:
            self.feedback = order

    # at the end

    def check_drained(self) -> None:
        """The process ended well: nothing it read is still to come."""
        if self.read_through is None:
            return
        stored = self.offset.position.order if self.offset else None
        if stored != self.read_through.order:
            raise self.failed("drain", f"read through {self.read_through.order}, stored {stored}")
        if self.acked is None or stored != self.acked.order:
            raise self.failed("drain", f"stored {stored}, acked {self.acked}")

    def check_complete(self) -> None:
        for index, event in enumerate(self.expected):
            if not self.is_safe(index):
                raise self.failed("I1", f"{event} was never delivered")
        missing = set(snapshot_rows(self.chunks)) - self._rows
        if missing:
            raise self.failed("I1", f"{missing} were never delivered")

    def failed(self, invariant: str, what: str) -> Violation:
        """The first violation, to be raised; remembered, for somebody may swallow the exception."""
        self.note(f"{invariant} VIOLATED: {what}")
        self.violation = self.violation or Violation(invariant, what)
        return self.violation


def snapshot_rows(chunks: int) -> list[bytes]:
    """The keys in the first `chunks` chunks; no writer touches them."""
    return [f"row{n}".encode() for n in range(chunks * CHUNK_ROWS)]


def merged(old: Offset | None, position: Position, snapshot: Mapping[str, str]) -> Offset:
    return Offset(position, {**(old.snapshot if old else {}), **snapshot})
