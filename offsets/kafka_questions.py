"""Questions to a Kafka cluster, and topics made there, with the reason where no answer comes."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.admin._topic import TopicDescription
from confluent_kafka.cimpl import NewTopic

from offsets.kafka_codes import FORBIDDEN, MISSING

ANSWER_TIMEOUT_S = 10.0
"""A broker that starts, or a cluster that elects a controller, has answered by then."""
POLL_S = 0.05
HANGS_UP = "the listener hangs up at once, as one does that wants TLS, or a user, or neither"
BROKERS_DEFAULT = -1
"""For partitions and replication (KIP-464)."""

Answer = TypeVar("Answer")


class Questions:
    """A connection for questions; every method but `close` raises KafkaException.

    It is to be closed. Answers come in a thread of librdkafka's, which may collect garbage; where that is the very
    connection, the process is aborted.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` are librdkafka's."""
        self._trouble: KafkaError | None = None
        self._all_down = False
        self._has_asked = False
        asked: dict[str, Any] = {**settings, "error_cb": self._remember}
        self._open = ExitStack()
        self._admin = self._open.enter_context(AdminClient(asked))

    def brokers(self) -> int:
        """How many there are."""
        return len(self._wait(self._ask().describe_cluster(request_timeout=ANSWER_TIMEOUT_S)).nodes)

    def topic(self, name: str) -> TopicDescription | None:
        """With what we may do there; None where it is not there."""
        asked = self._ask().describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=ANSWER_TIMEOUT_S
        )
        try:
            found: TopicDescription = self._wait(asked[name])
        except KafkaException as error:
            if error.args[0].code() in MISSING:
                return None
            raise
        return found

    def settings(self, topic: str) -> dict[str, str]:
        """Empty where we may not see them."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = self._ask().describe_configs([resource], request_timeout=ANSWER_TIMEOUT_S)
        try:
            return {name: entry.value for name, entry in self._wait(asked[resource]).items()}
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                return {}
            raise

    def make(
        self,
        topic: str,
        *,
        partitions: int | None,
        replication: int | None,
        settings: Mapping[str, str],
        only_check: bool,
    ) -> None:
        """A topic; None leaves a number to the brokers. Nothing happens where somebody was quicker."""
        new = NewTopic(
            topic,
            num_partitions=partitions or BROKERS_DEFAULT,
            replication_factor=replication or BROKERS_DEFAULT,
            config=dict(settings),
        )
        asked = self._ask().create_topics([new], request_timeout=ANSWER_TIMEOUT_S, validate_only=only_check)
        try:
            self._wait(asked[topic])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def end(self, topic: str) -> int:
        """The offset behind the last record of partition 0, whether that is committed or not."""
        partition = TopicPartition(topic, 0)
        asked = self._ask().list_offsets(
            {partition: OffsetSpec.latest()},  # type: ignore[no-untyped-call]
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=ANSWER_TIMEOUT_S,
        )
        return int(self._wait(asked[partition]).offset)

    def members(self, group: str) -> list[str]:
        """The client ids of a consumer group's members; none of a group that is not there."""
        asked = self._ask().describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT_S)
        try:
            return [str(member.client_id) for member in self._wait(asked[group]).members]
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise

    def close(self) -> None:
        """Wait for no answer."""
        self._open.close()

    def _ask(self) -> AdminClient:
        """For one question, whose answer `_wait` takes."""
        if self._has_asked:  # what it says of connections that ended since then is no answer
            self._admin.poll(0)
            self._trouble, self._all_down = None, False
        self._has_asked = True
        return self._admin

    def _wait(self, answer: "Future[Answer]") -> Answer:
        """At once where every broker has hung up, with the reason they gave."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not answer.done() and not self._all_down and time.monotonic() < deadline:
            self._admin.poll(POLL_S)
        if not answer.done() or answer.exception():
            self._admin.poll(0)
            if self._trouble is not None:
                raise KafkaException(self._trouble)
        try:
            return answer.result(0)
        except TimeoutError:
            said = HANGS_UP if self._all_down else f"nothing was said for {ANSWER_TIMEOUT_S:g} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, said)) from None

    def _remember(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._all_down = True
        else:
            self._trouble = error
