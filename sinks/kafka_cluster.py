"""What is asked of a Kafka cluster beside taking events: is it there, may we, are the topics."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._topic import TopicDescription
from confluent_kafka.cimpl import NewTopic

from offsets.kafka_questions import ANSWER_TIMEOUT_S, Questions
from sinks.errors import SinkError
from sinks.kafka_config import KafkaConfig
from sinks.kafka_errors import FORBIDDEN, MISSING, may_not_create, translate

BROKERS_DEFAULT = -1
"""For partitions and replication (KIP-464)."""

Answer = TypeVar("Answer")


class Cluster:
    """A connection for questions. Every method but `close` raises SinkError."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        try:
            self._questions = Questions(config.client())
        except KafkaException as error:
            raise self.error(error.args[0]) from error

    def close(self) -> None:
        self._questions.close()

    def reach(self) -> int:
        """Connect, prove who we are, get an answer: how many brokers there are."""
        try:
            return len(self._wait(self._questions.admin.describe_cluster(request_timeout=ANSWER_TIMEOUT_S)).nodes)
        except KafkaException as error:
            raise self.error(error.args[0]) from error

    def prepare(
        self, topics: Iterable[str], *, only_check: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        """See that topics are there and may be written; make a missing one where the configuration says so.

        `settings` of a topic that is made are laid over those of the configuration.
        """
        for name in topics:
            try:
                if self._describe(name) is None:
                    self._create(name, only_check, settings or {})
            except KafkaException as error:
                raise self.error(error.args[0], name) from error

    def describe(self, name: str) -> TopicDescription | None:
        """A topic that may be written; None where it is not there."""
        try:
            return self._describe(name)
        except KafkaException as error:
            raise self.error(error.args[0], name) from error

    def settings(self, name: str) -> dict[str, str]:
        """Of a topic; none where we may not see them."""
        topic = ConfigResource("topic", name)
        asked = self._questions.admin.describe_configs([topic], request_timeout=ANSWER_TIMEOUT_S)
        try:
            return {setting: entry.value for setting, entry in self._wait(asked[topic]).items()}
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                return {}
            raise self.error(error.args[0], name) from error

    def error(self, error: KafkaError, topic: str = "") -> SinkError:
        return translate(error, self._config.bootstrap_servers, topic, self._config.sasl.user)

    def _describe(self, name: str) -> TopicDescription | None:
        topics = TopicCollection([name])
        asked = self._questions.admin.describe_topics(
            topics, include_authorized_operations=True, request_timeout=ANSWER_TIMEOUT_S
        )
        try:
            found: TopicDescription = self._wait(asked[name])
        except KafkaException as error:
            if error.args[0].code() in MISSING:
                return None
            raise
        allowed = found.authorized_operations
        if allowed and AclOperation.WRITE not in allowed:  # an old broker does not tell
            raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        return found

    def _create(self, name: str, only_check: bool, settings: Mapping[str, str]) -> None:
        wanted = self._config.topics
        if not wanted.create:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        topic = NewTopic(
            name,
            num_partitions=wanted.partitions or BROKERS_DEFAULT,
            replication_factor=wanted.replication or BROKERS_DEFAULT,
            config={**wanted.config(), **settings},
        )
        asked = self._questions.admin.create_topics([topic], request_timeout=ANSWER_TIMEOUT_S, validate_only=only_check)
        try:
            self._wait(asked[name])
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                raise may_not_create(self._config.bootstrap_servers, name, self._config.sasl.user) from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another connector was quicker
                raise

    def _wait(self, answer: "Future[Answer]") -> Answer:
        return self._questions.wait(answer, ANSWER_TIMEOUT_S)
