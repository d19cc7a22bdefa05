"""The compacted topic that offsets lie in: made, looked at, and read to its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from offsets import kafka_errors
from offsets.base import Doubt
from offsets.errors import OffsetStoreFailed, OffsetStoreMisconfigured, OffsetStoreRefused
from offsets.kafka_codes import FORBIDDEN, MISSING
from offsets.kafka_config import KafkaStoreConfig
from offsets.kafka_questions import POLL_S, Questions
from offsets.kafka_seat import Seat, group, is_dead

SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 << 20),  # what is not compacted yet is read at each start
    "max.message.bytes": str(16 << 20),
}
"""Of a topic that is made."""
LEADERLESS = (
    *(KafkaError._NOENT, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION),
    *(KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH),
    *(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR),
    *MISSING,
)
"""What is said of a topic that was made a moment ago, or whose broker has just gone."""
AT_ONCE = 1000
PATIENCE_S = 30.0

Answer = TypeVar("Answer")


class OffsetTopic:
    """One partition, so that what is written later is read later. Methods but `close` raise OffsetError."""

    def __init__(self, config: KafkaStoreConfig) -> None:
        self.name = config.topic
        self.place = config.place
        self._servers = f"--bootstrap-server {config.bootstrap_servers}"
        self._config = config
        with self._reported():
            self._questions = Questions(config.client())

    def close(self) -> None:
        self._questions.close()

    def prepare(self, *, only_check: bool = False) -> list[Doubt]:
        """See that it is there and fit; make it where it is not."""
        with self._reported():
            replicas = self._replicas()
            if replicas is None:
                self._make(only_check)
                return []
            self._refuse_to_forget()
            return self._doubts(replicas)

    def read(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        """(key, value) of every committed record, in order, up to the end as it is now.

        A transaction of another connector that is neither committed nor aborted hides everything behind its first
        record; what is hidden may be ours, so that its end is waited for.
        """
        with self._reported():
            end = self._insist(lambda: self._questions.end(self.name))
            consumer = Consumer(
                {
                    **self._config.client(),
                    "group.id": "tailrace",  # asked for by librdkafka; we join none
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": 10,
                }
            )
            try:
                consumer.assign([TopicPartition(self.name, 0, 0)])
                for message in self._until(end, consumer):
                    yield message.key(), message.value()
            finally:
                consumer.close()

    def seat(self, connector: str) -> Seat:
        """Lets `runners` name this process until it is closed."""
        with self._reported():
            return Seat(self._config, connector)

    def runners(self, connector: str) -> list[str]:
        """Who runs the connector now, in words."""
        with self._reported():
            members = self._insist(lambda: self._questions.members(group(self.name, connector)))
        return [member for member in members if not is_dead(member)]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise kafka_errors.translate(error.args[0], self.place) from error

    def _until(self, end: int, consumer: Consumer) -> Iterator[Message]:
        silent_since = time.monotonic()
        while True:
            for message in consumer.consume(AT_ONCE, 0.1):
                error = message.error()
                if error is None:
                    silent_since = time.monotonic()
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    if (message.offset() or 0) >= end:
                        return
                elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # asked for a group that nobody joins
                    raise KafkaException(error)
            if time.monotonic() - silent_since > PATIENCE_S:
                raise OffsetStoreFailed(
                    f"{self.place} cannot be read to its end: a connector that died has left a transaction open there",
                    "start that connector again, or let the brokers end it, at the latest after its"
                    " sink.transaction_timeout_s; it is tried again",
                )

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """The answer, asked for again while nobody can give it yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in LEADERLESS or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)

    def _replicas(self) -> int | None:
        """None where there is no such topic."""
        found = self._questions.topic(self.name)
        if found is None:
            return None
        if len(found.partitions) != 1:
            raise OffsetStoreMisconfigured(
                f"the topic {self.name} has {len(found.partitions)} partitions, and offsets want one",
                "let offsets.topic name a topic of its own, which is made where it is absent",
            )
        return len(found.partitions[0].replicas)

    def _refuse_to_forget(self) -> None:
        policy = self._questions.settings(self.name).get("cleanup.policy", "compact")
        if policy != "compact":
            raise OffsetStoreMisconfigured(
                f"the topic {self.name} has cleanup.policy={policy}, and would forget offsets",
                f"run: kafka-configs {self._servers} --alter --topic {self.name} --add-config cleanup.policy=compact",
            )

    def _doubts(self, replicas: int) -> list[Doubt]:
        if replicas > 1:
            return []
        text = f"{self.place} has a single replica: offsets are lost with its broker's disk"
        return [Doubt(text, "give the topic three replicas, and min.insync.replicas=2")]

    def _make(self, only_check: bool) -> None:
        try:
            self._questions.make(
                self.name,
                partitions=1,
                replication=self._config.replication,
                settings=SETTINGS,
                only_check=only_check,
            )
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                raise OffsetStoreRefused(
                    f"the topic {self.name} is not there, and the user of offsets.sasl may not make it",
                    f"run: kafka-topics {self._servers} --create --topic {self.name} --partitions 1"
                    " --replication-factor 3 --config cleanup.policy=compact",
                ) from error
            raise
