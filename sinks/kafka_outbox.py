"""One producer, idempotent or in transactions, from its first event to its first error."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from offsets.kafka_codes import reason
from offsets.kafka_producers import REPORTS_S, end
from offsets.kafka_reports import Reports
from offsets.kafka_transactions import FENCED, Transactions
from schema.event import Event
from sinks.errors import SinkUnavailable
from sinks.kafka_config import KafkaConfig

TELL_AFTER_S = 10.0

Headers = list[tuple[str, str | bytes | None]] | None

log = structlog.get_logger("tailrace")


class NotDelivered(Exception):
    """The first error that librdkafka reported. `topic` is "" where the whole producer failed."""

    def __init__(self, error: KafkaError, topic: str) -> None:
        super().__init__(error.str())
        self.error = error
        self.topic = topic


class Outbox:
    """What waits for an acknowledgement. After an error only `close` is called.

    `produce` is librdkafka's own, for the hot path: BufferError and KafkaException mean that the event was not taken,
    and `put` says why or waits for room. Reports come for errors only, during `put`, `serve` and `settle`. Where the
    events go into transactions that somebody else has opened or the brokers have ended, these raise OffsetError.
    """

    def __init__(
        self, config: KafkaConfig, ask: Callable[[], object], transactions: Transactions | None = None
    ) -> None:
        """`ask` raises SinkError where the cluster does not answer. Raises KafkaException for settings it refuses.

        With `transactions` events go into them; whoever owns them commits, aborts and closes.
        """
        self._servers = config.bootstrap_servers
        self._patience_s = config.delivery_timeout_s
        self._ask = ask
        self._fatal: KafkaError | None = None
        self._transactions = transactions
        self._reports = transactions.reports if transactions else Reports()
        if transactions is None:
            settings: dict[str, Any] = {**config.producer(), **self._reports.callbacks()}
            self._producer = Producer(settings)
        else:
            self._producer = transactions.producer
        self.produce = self._producer.produce

    def begin(self) -> bool:
        """Open the transaction that the next events go into; whether a new one was. Raises OffsetError."""
        return self._transactions is not None and self._transactions.begin()

    def put(self, event: Event, headers: Headers) -> None:
        """Take one event, waiting for room as long as others are acknowledged. Raises NotDelivered, SinkError."""
        stall = _Stall()
        while True:
            try:
                return self.produce(event.topic, event.value, event.key, headers=headers)
            except BufferError:
                self.serve(REPORTS_S)
                self._bear(stall, len(self._producer))
            except KafkaException as error:
                if error.args[0].code() not in (KafkaError._FATAL, KafkaError._STATE):
                    raise NotDelivered(error.args[0], event.topic) from error
                self._fatal = error.args[0]
                self.settle()  # the report of the event that it began with is on its way

    def serve(self, timeout_s: float = 0) -> None:
        """Take the reports that are there. Raises NotDelivered."""
        self._call(self._producer.poll, timeout_s)
        self._raise_first()

    def settle(self) -> None:
        """Return only when every event is acknowledged. Raises NotDelivered, SinkError."""
        stall = _Stall()
        while left := self._call(self._producer.flush, REPORTS_S):
            self._raise_first()
            self._raise_ended()
            self._bear(stall, left)
        self._raise_first()
        if self._fatal is not None:
            self._raise_ended()
            raise NotDelivered(self._fatal, "")

    def close(self) -> None:
        """Send nothing more."""
        if self._transactions is None:
            end(self._producer)

    def _call(self, call: Callable[[float], int], timeout_s: float) -> int:
        """What is left."""
        try:
            return call(timeout_s)
        except KafkaException as error:
            self._fatal = error.args[0]
            return len(self._producer)

    def _raise_first(self) -> None:
        if self._reports.first is not None:
            error, message = self._reports.first
            self._raise_fenced(error)
            raise NotDelivered(error, message.topic() or "")

    def _raise_ended(self) -> None:
        """What has ended the transaction, if no event's report tells it. Raises NotDelivered, OffsetError."""
        ended = self._transactions.ended() if self._transactions else None
        if ended is not None:
            self._raise_fenced(ended)
            raise NotDelivered(ended, "")

    def _raise_fenced(self, error: KafkaError) -> None:
        """Raises OffsetError where the transactions are not ours any more."""
        if self._transactions is not None and error.code() in FENCED:
            raise self._transactions.error(error)

    def _bear(self, stall: "_Stall", left: int) -> None:
        """Say once that nothing moves; give up where that has lasted too long."""
        stalled_s = stall.seconds(left)
        if stalled_s >= self._patience_s:
            self._ask()
            raise SinkUnavailable(
                f"Kafka at {self._servers} answers, but acknowledged no event for {stalled_s:.0f} s",
                "look in the brokers' logs for a partition without a leader, for fewer replicas in sync than"
                " min.insync.replicas, or for a full disk; it is tried again",
            )
        if stalled_s >= TELL_AFTER_S and not stall.told:
            stall.told = True
            trouble = self._reports.trouble
            why = f": {reason(trouble)}" if trouble else ""
            log.warning(f"Kafka at {self._servers} acknowledges nothing{why}; it is tried again")


class _Stall:
    """Since when no acknowledgement has come."""

    def __init__(self) -> None:
        self.told = False
        self._least = -1
        self._since_s = time.monotonic()

    def seconds(self, left: int) -> float:
        if self._least < 0 or left < self._least:
            self.told = False
            self._least = left
            self._since_s = time.monotonic()
        return time.monotonic() - self._since_s
