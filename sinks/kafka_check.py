"""`tailrace check` for a Kafka cluster and the topics that events will go to."""

from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka.admin._topic import TopicDescription

from schema.preflight import Finding, Topic
from sinks.errors import SinkError
from sinks.kafka_cluster import Cluster
from sinks.kafka_config import KafkaConfig


def check(config: KafkaConfig, cluster: Cluster, topics: Sequence[Topic]) -> Iterator[Finding]:
    """Findings in the order in which `run` would meet them. Changes nothing. Raises SinkError for a cluster that does
    not answer."""
    brokers = cluster.reach()
    who = f" as {config.sasl.user}" if config.sasl.user else ""
    yield Finding("ok", f"connected to Kafka at {config.bootstrap_servers}{who}, {_count(brokers, 'broker')}")
    for topic in topics:
        try:
            found = cluster.describe(topic.name)
            if found is None:
                cluster.prepare(topic.name, only_check=True)
                yield Finding("ok", f"the topic {topic.name} will be made")
            else:
                yield from _Look(config, brokers, topic, found, cluster.settings(topic.name)).findings()
        except SinkError as error:
            yield Finding("fail", str(error), error.hint)


class _Look:
    """At one topic that is there. `settings` are empty where we may not see them."""

    def __init__(
        self,
        config: KafkaConfig,
        brokers: int,
        topic: Topic,
        found: TopicDescription,
        settings: Mapping[str, str],
    ) -> None:
        self._config = config
        self._brokers = brokers
        self._topic = topic
        self._settings = settings
        self._partitions = found.partitions
        self._copies = min(len(partition.replicas) for partition in found.partitions)
        self._must_have = int(settings.get("min.insync.replicas", 1))
        self._servers = f"--bootstrap-server {config.bootstrap_servers}"

    def findings(self) -> Iterator[Finding]:
        policy = self._settings.get("cleanup.policy")
        shape = f"{_count(len(self._partitions), 'partition')}, {_count(self._copies, 'replica')} of each"
        yield Finding("ok", f"the topic {self._topic.name} is there: {shape}{(policy and f', {policy}') or ''}")
        yield from self._durability()
        yield from self._availability()
        yield from self._fit()

    def _durability(self) -> Iterator[Finding]:
        name = self._topic.name
        if self._copies == 1 and self._brokers > 1:
            yield Finding(
                "warn",
                f"{name} has one replica: the loss of one broker's disk loses its events",
                f"give it more: kafka-reassign-partitions {self._servers}",
            )
        elif self._settings and self._copies > self._must_have == 1:
            yield Finding(
                "warn",
                f"{name} has min.insync.replicas 1: what one broker alone has counts as delivered",
                self._set("min.insync.replicas", 2),
            )

    def _availability(self) -> Iterator[Finding]:
        name = self._topic.name
        if self._must_have > self._copies:
            yield Finding(
                "fail",
                f"{name} has {_count(self._copies, 'replica')} and min.insync.replicas {self._must_have}:"
                " it takes no event",
                self._set("min.insync.replicas", self._copies),
            )
            return
        for partition in self._partitions:
            if partition.leader is None or len(partition.isr) < self._must_have:
                yield Finding(
                    "warn",
                    f"partition {partition.id} of {name} takes nothing now: {len(partition.isr)} of"
                    f" {len(partition.replicas)} replicas are in sync, and it wants {self._must_have}",
                    f"start the brokers that are away: kafka-topics {self._servers} --describe --topic {name}",
                )

    def _fit(self) -> Iterator[Finding]:
        name = self._topic.name
        if not self._topic.has_keys and "compact" in self._settings.get("cleanup.policy", ""):
            yield Finding(
                "fail",
                f"{name} has cleanup.policy {self._settings['cleanup.policy']}: it takes no event without a key, and"
                " those for it have none",
                f"give their table a primary key, or: {self._set('cleanup.policy', 'delete')}",
            )
        largest_bytes = int(self._settings.get("max.message.bytes", self._config.batch_bytes))
        if largest_bytes < self._config.batch_bytes:
            yield Finding(
                "warn",
                f"{name} takes {largest_bytes:,} bytes at once and our batches have up to {self._config.batch_bytes:,}:"
                " one that is refused is sent again event by event",
                f'set sink.settings to {{"batch.size": {largest_bytes}}},'
                f" or: {self._set('max.message.bytes', self._config.batch_bytes)}",
            )

    def _set(self, name: str, value: object) -> str:
        """The command that changes a setting of the topic."""
        about = f"--entity-type topics --entity-name {self._topic.name}"
        return f"kafka-configs {self._servers} --alter {about} --add-config {name}={value}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
