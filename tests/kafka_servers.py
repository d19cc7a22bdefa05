"""Real Kafka brokers for tests.

A broker is found by a ladder: an address from the environment (`TAILRACE_TEST_KAFKA`: bootstrap servers), the jars that
`.ci/servers` fetched, a container. Where none is found the test is skipped, which CI refuses.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ElectionType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.mysql_servers import PROGRAMS
from tests.rigs import Rigged, finish, free_port, installed
from tests.servers import Rung, docker_answers, skip, until

VARIABLE = "TAILRACE_TEST_KAFKA"
IMAGE = "confluentinc/cp-kafka:8.1.1"

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
# A test reads what has been written before; one that never comes is a failure, not a reason to wait.
READ_TIMEOUT_S = 60

_serial = itertools.count(1)


class KafkaRecord(NamedTuple):
    """One record of a topic; `headers` are in their order, `timestamp_ms` since the epoch."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


def find_kafka() -> Rung:
    """The first rung of the ladder that holds. Starts nothing."""
    if bootstrap := os.environ.get(VARIABLE):
        return Rung("environment", bootstrap)
    if installed("kafka"):
        return Rung("programs", str(PROGRAMS / "kafka"))
    if docker_answers():
        return Rung("container", IMAGE)
    return Rung("none", f"no Kafka: set {VARIABLE}, run .ci/servers, or start docker")


class Node(Rigged):
    """One broker, which is a controller too, of a `LocalKafka`; `id` counts from 1."""

    def __init__(self, cluster: "LocalKafka", node_id: int) -> None:
        super().__init__("kafka", cluster.folder / str(node_id))
        self.id = node_id
        self.port, self.controller_port, self.clients_port = free_port(), free_port(), free_port()
        self._cluster = cluster

    def start(self) -> None:
        """With the cluster's `settings` as they are now. Returns once the broker serves, which takes a majority."""
        finish(self.begin())

    def begin(self) -> subprocess.Popen[str]:
        ports = ",".join(f"{node.port}:{node.controller_port}" for node in self._cluster.nodes)
        settings = [*self._listeners(), *self._cluster.settings]
        return self.launch(str(self.id), ports, *settings, jvm_options=self._cluster.jvm_options)

    def _listeners(self) -> Iterator[str]:
        names = {"PLAINTEXT": ("PLAINTEXT", self.port), "CONTROLLER": ("PLAINTEXT", self.controller_port)}
        if self._cluster.clients:
            names["CLIENTS"] = (self._cluster.clients, self.clients_port)
        yield "listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, (_, port) in names.items())
        yield "listener.security.protocol.map=" + ",".join(f"{name}:{speaks}" for name, (speaks, _) in names.items())


class LocalKafka:
    """A cluster of our own on 127.0.0.1, one node or several, started by the rig's script.

    `settings` are the brokers' own, ``log.retention.ms=1000``; a change takes effect at the next start. `clients` adds
    a second listener of that protocol, named CLIENTS in settings (``listener.name.clients.sasl.enabled.mechanisms``)
    and reached at `clients_bootstrap`; `bootstrap` stays open to everybody, who is ``User:ANONYMOUS`` there.
    """

    def __init__(
        self,
        nodes: int = 1,
        settings: Sequence[str] = (),
        *,
        clients: Protocol | None = None,
        jvm_options: str = "",
    ) -> None:
        if not installed("kafka"):
            skip("no jars of Kafka on this machine: run .ci/servers")
        self.folder = Path(tempfile.mkdtemp(prefix="tailrace-kafka-"))
        self.settings = list(settings)
        self.clients = clients
        self.jvm_options = jvm_options
        self.nodes = [Node(self, node_id) for node_id in range(1, nodes + 1)]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def clients_bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.clients_port}" for node in self.nodes)

    def start(self) -> None:
        """Every node that does not run."""
        for started in [node.begin() for node in self.nodes]:
            finish(started)

    def stop(self) -> None:
        """Every node. One that no majority backs any longer waits for it for ever, and is killed."""
        running = [node for node in self.nodes if node.lives()]
        majority = len(self.nodes) // 2 + 1
        for stopped, node in enumerate(running):
            if len(running) - stopped >= majority:
                node.stop()
            else:
                node.kill()

    def kill(self) -> None:
        """kill -9 of every node."""
        for node in self.nodes:
            node.kill()

    def signal(self, signum: signal.Signals) -> None:
        for node in self.nodes:
            node.signal(signum)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve() -> Iterator[str]:
    """Yields the bootstrap servers of a running cluster, from whichever rung."""
    rung = find_kafka()
    if rung.kind == "environment":
        yield rung.place
    elif rung.kind == "programs":
        server = LocalKafka()
        server.start()
        yield server.bootstrap
        server.remove()
    elif rung.kind == "container":
        from testcontainers.kafka import KafkaContainer

        with KafkaContainer(rung.place).with_kraft().with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false") as container:
            yield container.get_bootstrap_server()
    else:
        skip(rung.place)


class Kafka:
    """A running cluster, and topics of a test's own on it: those whose names begin with `prefix`.

    `client` are librdkafka's settings that reach it. Topics are not made by themselves.
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.client: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 2}
        self.prefix = f"test_{os.getpid()}_{next(_serial)}"
        self.admin = AdminClient(self.client)

    def create_topic(self, name: str, partitions: int = 1, replication: int = 1, **config: str) -> None:
        """`config` are the topic's settings, with underscores for dots: ``cleanup_policy="compact"``."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        new = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=settings)
        self.admin.create_topics([new])[name].result(READ_TIMEOUT_S)
        until(lambda: name in self.topics(), f"the topic {name} is there")

    def delete_topic(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(READ_TIMEOUT_S)
        until(lambda: name not in self.topics(), f"the topic {name} is gone")

    def grow_topic(self, name: str, partitions: int) -> None:
        """To so many partitions altogether."""
        self.admin.create_partitions([NewPartitions(name, partitions)])[name].result(READ_TIMEOUT_S)
        until(lambda: self.topics()[name] == partitions, f"{name} has {partitions} partitions")

    def set_topic(self, name: str, **settings: str) -> None:
        """Change settings of a topic, by their own names: ``**{"min.insync.replicas": "2"}``."""
        change = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()
        ]
        topic = ConfigResource("topic", name, incremental_configs=change)
        self.admin.incremental_alter_configs([topic])[topic].result(READ_TIMEOUT_S)

    def topics(self) -> dict[str, int]:
        """Every topic and its number of partitions."""
        found = self.admin.list_topics(timeout=READ_TIMEOUT_S).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def leader(self, topic: str, partition: int = 0) -> int:
        """The id of the node that leads a partition, -1 where none does."""
        found = self.admin.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic]
        return int(found.partitions[partition].leader)

    def lead_again(self, topic: str, partitions: int) -> None:
        """Each partition is led by the first of its replicas, if that is in sync."""
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        self.admin.elect_leaders(ElectionType.PREFERRED, wanted).result(READ_TIMEOUT_S)

    def in_sync(self, topic: str, partition: int = 0) -> set[int]:
        """The ids of the nodes that have all of a partition."""
        found = self.admin.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic]
        return set(found.partitions[partition].isrs)

    def produce(self, topic: str, *items: tuple[bytes | None, bytes | None], **settings: Any) -> None:
        """(key, value) in this order, acknowledged by all; raises KafkaException for the first that was refused."""
        refused: list[KafkaError] = []
        # In order without idempotence, which turns what one event meets into the producer's fatal error.
        in_order = {"acks": "all", "max.in.flight": 1}
        producer = Producer({**self.client, **in_order, **_dotted(settings)})
        for key, value in items:
            producer.produce(
                topic, value=value, key=key, on_delivery=lambda error, _: refused.append(error) if error else None
            )
        assert producer.flush(READ_TIMEOUT_S) == 0, f"{topic} takes nothing"
        if refused:
            raise KafkaException(refused[0])

    def read(
        self, topic: str, isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    ) -> list[KafkaRecord]:
        """All that the topic holds now, in the order of (partition, offset)."""
        return read_topic(self.client, topic, isolation)

    def close(self) -> None:
        self.admin.__exit__(None, None, None)

    def drop(self) -> None:
        """Leave no topic behind on a cluster that other tests share."""
        if ours := [name for name in self.topics() if name.startswith(self.prefix)]:
            for deleted in self.admin.delete_topics(ours).values():
                deleted.result(READ_TIMEOUT_S)


class OwnKafka(Kafka):
    """A cluster of the test's own, which may be stopped, killed or set otherwise: `server`."""

    def __init__(self, server: LocalKafka) -> None:
        self.server = server
        super().__init__(server.bootstrap)

    def remove(self) -> None:
        self.close()
        self.server.remove()


def read_topic(client: Mapping[str, Any], topic: str, isolation: str = "read_committed") -> list[KafkaRecord]:
    """Every record of a topic up to its end as it is now, in the order of (partition, offset)."""
    settings = {
        "group.id": "unused",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": isolation,
    }
    consumer = Consumer({**client, **settings})
    try:
        found = consumer.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions])
        return sorted(_until_the_end(consumer, set(found.partitions)))
    finally:
        consumer.close()


def _until_the_end(consumer: Consumer, partitions: set[int]) -> Iterator[KafkaRecord]:
    while partitions:
        message = consumer.poll(READ_TIMEOUT_S)
        assert message is not None, f"nothing from partitions {partitions} within {READ_TIMEOUT_S} s"
        if error := message.error():
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            partitions.discard(message.partition() or 0)
            continue
        headers: Any = message.headers() or ()
        place = message.partition() or 0, message.offset() or 0
        yield KafkaRecord(*place, message.key(), message.value(), tuple(headers), message.timestamp()[1])


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "."): value for key, value in settings.items()}
