"""One connector: a source, a sink and the offset between them.

Two threads. The reader owns the source; delivery owns the sink and the offsets. They share the queue and one
variable, `_durable`. Nothing is retried in here: whatever fails is raised, and the caller opens a new pipeline
from the offset store, which is what every start does.
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple

from connectors.base import Source
from offsets.base import Offsets
from offsets.position import Position
from schema.event import Batch, DeadLetter
from service.batch_queue import BatchQueue
from service.letter_box import LetterBox
from service.snapshot_requests import SnapshotRequests
from sinks.base import Sink
from sinks.errors import Rejected

READ_TIMEOUT_S = 0.5
REQUESTS_EVERY_S = 2.0


class Delivery(NamedTuple):
    """How eagerly events are made durable, and how many bytes may wait for the sink."""

    flush_interval_s: float = 0.2
    queue_bytes: int = 16 << 20


class Pipeline:
    """Use once: build, `run`, drop."""

    def __init__(
        self,
        connector: str,
        source: Source,
        sink: Sink,
        offsets: Offsets,
        delivery: Delivery = Delivery(),  # noqa: B008 (immutable)
        clock: Callable[[], float] = time.monotonic,
        dead_letter: Callable[[DeadLetter], None] | None = None,
        requests: SnapshotRequests | None = None,
        letters: LetterBox | None = None,
        atomic: bool = False,
    ) -> None:
        """`dead_letter` takes what the sink rejects; without it a rejection is an error like any other.

        `requests` are the copies that an operator asks for; `letters` are all that the connector ever put aside.
        `atomic`: whoever saves a position commits what was written, so that it has to cover all of that.
        """
        self.connector = connector
        self.source = source
        self.sink = sink
        self.offsets = offsets
        self.delivery = delivery
        self.clock = clock
        self.dead_letter = dead_letter
        self.requests = requests
        self.letters = letters
        self.atomic = atomic
        self.checkpoints = 0
        self._queue = BatchQueue(delivery.queue_bytes)
        self._held: Batch | None = None  # read, but the queue had no room yet
        self._accepted: Position | None = None
        self._snapshot: dict[str, str] = {}
        self._durable: Position | None = None
        self._checkpointed_at = float("-inf")
        self._requests_at = float("-inf")
        self._taken: set[int] = set()
        self._unnoted: list[int] = []
        self._noting: deque[tuple[Batch, list[int]]] = deque()
        self._noted: list[int] = []
        self._reading = True
        self._failure: BaseException | None = None

    def run(self, stop: Event, until_caught_up: bool = False) -> None:
        """Deliver until `stop` is set, the source is finished, or (if asked) it has caught up; then drain.

        Raises what the source, the sink or the offset store raised.
        """
        thread = Thread(target=self._deliver, name=f"{self.connector}-delivery", daemon=True)
        try:
            self.open()
            thread.start()
            while not (stop.is_set() or self._failure or self._at_end(until_caught_up)):
                self.read_once(READ_TIMEOUT_S)
            self._end_reading(thread)
        except BaseException as failure:  # noqa: BLE001 (raised below, once both threads have ended)
            self._failure = self._failure or failure
        finally:
            self._reading = False
            self._queue.close()
            if thread.ident is not None:
                thread.join()
            self.sink.close()
            self.source.close()
        if self._failure is not None:
            raise self._failure

    def open(self) -> None:
        offset = self.offsets.load(self.connector)
        self._durable = offset.position if offset else None
        self.sink.open()
        self.source.open(offset)
        self._take_requests()

    def read_once(self, timeout_s: float) -> None:
        """One step of the reader: read, hand over, let the server know how far we are."""
        if self._held is None:
            self._take_requests()
            self._held = self.source.read(timeout_s)
            self._note_requests(self._held)
        if self._held is not None and self._queue.put(self._held, timeout_s):
            self._held = None
        self.source.ack(self._durable)

    def deliver_once(self, timeout_s: float) -> bool:
        """One step of delivery: accept a batch, and checkpoint when it is time. False where nothing waited."""
        batch = self._queue.get(timeout_s)
        if batch is not None:
            if batch.position is None and self._is_due():
                self.checkpoint()  # the last moment at which a position covers all that was written
            self._write(batch)
            self._snapshot.update(batch.snapshot)
            self._accepted = batch.position or (None if self.atomic else self._accepted)
            if self._noting and self._noting[0][0] is batch:
                self._noted += self._noting.popleft()[1]
        if self._is_due():
            self.checkpoint()
        elif batch is None:
            self.sink.flush()  # a pause: a sink may now publish what has waited long enough
        return batch is not None

    def _is_due(self) -> bool:
        return self._accepted is not None and self.clock() - self._checkpointed_at >= self.delivery.flush_interval_s

    def _write(self, batch: Batch) -> None:
        """Accept the batch; by policy an event that the sink rejects is put aside, durably, and the rest follows."""
        while True:
            if self.letters is not None:
                self.letters.meet(batch.events)
            try:
                return self.sink.write(batch)
            except Rejected as rejected:
                if self.dead_letter is None:
                    raise
                self.dead_letter(DeadLetter.of(rejected.event, str(rejected)))
                rest = batch.events[batch.events.index(rejected.event) + 1 :]
                batch = batch._replace(events=rest)

    def checkpoint(self) -> None:
        """The promise. Nothing else in the program makes a position durable."""
        if self.letters is not None:
            self.letters.reach(self._accepted)
            self.letters.publish(self.sink)
        self.sink.flush()  # durable downstream
        if self._accepted is None:  # inside a transaction: nothing to resume after yet
            return
        self.offsets.save(self.connector, self._accepted, self._snapshot)  # remembered here
        self._durable = self._accepted  # from now on `ack` lets the database forget it
        self._accepted = None
        self._snapshot = {}
        if self.requests is not None and self._noted:
            self.requests.remove(self._noted)
            self._noted = []
        if self.letters is not None:
            self.letters.settle()
        self._checkpointed_at = self.clock()
        self.checkpoints += 1

    def _take_requests(self) -> None:
        """Hand new requests to the source; each stays in the state until what the source noted of it is stored."""
        if self.requests is None or self.clock() - self._requests_at < REQUESTS_EVERY_S:
            return
        self._requests_at = self.clock()
        for request in self.requests.of(self.connector):
            if request.id not in self._taken:
                self._taken.add(request.id)
                self._unnoted.append(request.id)
                self.source.snapshot(request.tables, request.where)

    def _note_requests(self, batch: Batch | None) -> None:
        """The first position behind a request comes with the progress that holds it."""
        if self._unnoted and batch is not None and batch.position is not None:
            self._noting.append((batch, self._unnoted))
            self._unnoted = []

    def _at_end(self, until_caught_up: bool) -> bool:
        if self._held is not None:
            return False
        return self.source.finished() or (until_caught_up and self.source.caught_up())

    def _end_reading(self, thread: Thread) -> None:
        while self._held is not None and self._failure is None:
            self.read_once(READ_TIMEOUT_S)
        self._reading = False
        self._queue.close()
        while thread.is_alive():
            thread.join(READ_TIMEOUT_S)
            self.source.ack(self._durable)
        if self._failure is None:
            self.source.ack(self._durable)

    def _deliver(self) -> None:
        try:
            while self._failure is None and (self._reading or len(self._queue)):
                self.deliver_once(self._wait_s())
            if self._failure is None:
                self.checkpoint()
                self.sink.caught_up()
        except BaseException as failure:  # noqa: BLE001 (raised by `run`, on the reader's thread)
            self._failure = failure
            self._queue.close()

    def _wait_s(self) -> float:
        if self._accepted is None:
            return READ_TIMEOUT_S
        return max(0.0, self._checkpointed_at + self.delivery.flush_interval_s - self.clock())
