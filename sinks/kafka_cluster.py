"""What is asked of a Kafka cluster beside taking events: is it there, may we, are the topics."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._topic import TopicDescription

from offsets.kafka_codes import FORBIDDEN
from offsets.kafka_questions import Questions
from sinks.errors import SinkError
from sinks.kafka_config import KafkaConfig
from sinks.kafka_errors import may_not_create, translate


class Cluster:
    """A connection for questions, to be closed. Every method but `close` raises SinkError."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        with self._reported():
            self._questions = Questions(config.client())

    def close(self) -> None:
        self._questions.close()

    def reach(self) -> int:
        """Connect, prove who we are, get an answer: how many brokers there are."""
        with self._reported():
            return self._questions.brokers()

    def prepare(self, name: str, *, only_check: bool = False, settings: Mapping[str, str] | None = None) -> None:
        """See that a topic is there and may be written; make it where the configuration says so.

        `settings` of a topic that is made are laid over those of the configuration.
        """
        with self._reported(name):
            if self._describe(name) is None:
                self._create(name, only_check, settings or {})

    def describe(self, name: str) -> TopicDescription | None:
        """A topic that may be written; None where it is not there."""
        with self._reported(name):
            return self._describe(name)

    def settings(self, name: str) -> dict[str, str]:
        """Of a topic; none where we may not see them."""
        with self._reported(name):
            return self._questions.settings(name)

    def error(self, error: KafkaError, topic: str = "") -> SinkError:
        return translate(error, self._config.bootstrap_servers, topic, self._config.sasl.user)

    @contextmanager
    def _reported(self, topic: str = "") -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self.error(error.args[0], topic) from error

    def _describe(self, name: str) -> TopicDescription | None:
        found = self._questions.topic(name)
        if found is None:
            return None
        allowed = found.authorized_operations
        if allowed and AclOperation.WRITE not in allowed:  # an old broker does not tell
            raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        return found

    def _create(self, name: str, only_check: bool, settings: Mapping[str, str]) -> None:
        wanted = self._config.topics
        if not wanted.create:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        try:
            self._questions.make(
                name,
                partitions=wanted.partitions,
                replication=wanted.replication,
                settings={**wanted.config(), **settings},
                only_check=only_check,
            )
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN:
                raise may_not_create(self._config.bootstrap_servers, name, self._config.sasl.user) from error
            raise
