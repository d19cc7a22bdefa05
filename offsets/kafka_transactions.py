"""Transactions of one connector: what is produced between two commits is seen whole, or not at all (KIP-98).

Which errors are retriable, which end the transaction and which the producer (KIP-360), and that a call that ran out of
time may be called again: librdkafka's INTRODUCTION.md, "Transactional producer".
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from offsets import kafka_errors
from offsets.errors import Fenced, OffsetError, OffsetStoreFailed
from offsets.kafka_producers import REPORTS_S, end
from offsets.kafka_reports import Reports

PATIENCE_S = 60.0
"""So long brokers may elect leaders and coordinators."""
CALL_S = 5.0
ABORT_S = 10.0

FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
"""Somebody opened the transactions after us, or the brokers ended ours for its age: they say the same of both."""


class Transactions:
    """The producer of a connector's transactions. Whoever opens one ends those of all that were opened before.

    Every method but `close` raises OffsetError; after that only `close` is called. One thread uses it at a time.
    """

    def __init__(
        self, settings: Mapping[str, Any], connector: str, place: str, follower: Callable[[], str | None]
    ) -> None:
        """`settings` are librdkafka's, with ``transaction.timeout.ms``.

        `follower` says who opened these transactions after us, in words; None for nobody.
        """
        self.reports = Reports()
        self._connector = connector
        self._place = place
        self._follower = follower
        self._limit_s = int(settings["transaction.timeout.ms"]) / 1000
        self._begun_at: float | None = None
        made: dict[str, Any] = {**settings, **self.reports.callbacks(), "transactional.id": f"tailrace-{connector}"}
        try:
            self.producer = Producer(made)
        except KafkaException as error:
            raise kafka_errors.translate(error.args[0], place) from error

    def open(self) -> None:
        """End what an earlier process left open, and every earlier process with it."""
        self._insist(self.producer.init_transactions)

    def begin(self) -> bool:
        """A transaction, if none is open; whether none was."""
        if self._begun_at is not None:
            return False
        self._insist(lambda _: self.producer.begin_transaction())
        self._begun_at = time.monotonic()
        return True

    def produce(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Into the open transaction, and into the topic's only partition."""
        while True:
            try:
                return self.producer.produce(topic, value, key, 0)
            except BufferError:
                self._insist(lambda _: self.producer.flush(REPORTS_S))
            except KafkaException as error:
                raise self.error(self.ended() or error.args[0]) from error

    def commit(self) -> None:
        """Return only when all of the transaction is durable, and visible."""
        self._insist(self.producer.commit_transaction)
        self._begun_at = None

    def ended(self) -> KafkaError | None:
        """What has ended the open transaction; None while it is well.

        Only a call that is out of place tells. This one is, as long as a transaction is open: ``_STATE``.
        """
        try:
            self.producer.begin_transaction()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            return None if cause.code() == KafkaError._STATE else cause
        return None

    def error(self, error: KafkaError) -> OffsetError:
        """What an operator reads of it. Asks the cluster where it may have been somebody else."""
        if error.code() not in FENCED:
            return kafka_errors.translate(error, self._place)
        follower = self._follower()
        if follower is not None:
            return Fenced(
                f"connector {self._connector} was taken over by {follower}, says {self._place}",
                "stop one of the two; what this one had not committed yet was not seen by anybody",
            )
        open_s = time.monotonic() - (self._begun_at or time.monotonic())
        return OffsetStoreFailed(
            f"the brokers ended a transaction of connector {self._connector} that was open for {open_s:.0f} s;"
            f" {self._limit_s:g} s are allowed",
            "where a database transaction, or the copy of a table without a key, takes longer to deliver, raise"
            " sink.transaction_timeout_s, and with it transaction.max.timeout.ms of the brokers; it is tried again",
        )

    def close(self) -> None:
        """Abort what is open, so that readers need not wait until its time has run out; brokers have ABORT_S for it."""
        end(self.producer, nothing_open=self._abort())

    def _abort(self) -> bool:
        """Whether nothing is open any more."""
        try:
            self.producer.abort_transaction(ABORT_S)
        except KafkaException as error:
            return bool(error.args[0].code() == KafkaError._STATE)  # nothing was
        return True

    def _insist(self, call: Callable[[float], object]) -> None:
        """Repeat what brokers could not do yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                call(CALL_S)
                return
            except KafkaException as error:
                cause = error.args[0]
                if not cause.retriable() or time.monotonic() > deadline:
                    raise self.error(cause) from error
