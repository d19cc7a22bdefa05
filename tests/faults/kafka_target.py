"""The writers' day in topics of a Kafka cluster whose brokers die, with versions in a registry.

What was delivered is what a consumer reads. Which run an event belongs to no consumer sees: it stands in the broker's
log, where each batch has the id of its producer, and whoever opens the sink again is another producer.
"""

import struct
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import fastavro
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.faults.audit import Delivered, Topics, column_types, delivered
from tests.faults.workload import Day
from tests.fold import plain
from tests.kafka_servers import KafkaRecord, Node, OwnKafka
from tests.registry_servers import Registry
from tests.rigs import finish
from tests.servers import until

# https://kafka.apache.org/documentation/#recordbatch: up to the number of records in it.
BATCH = struct.Struct(">qiibihiqqqhii")
LENGTH_COUNTS_FROM = 12
PRODUCER_ID = 9
ASK_S = 5.0


class KafkaTarget:
    """One partition a topic, so that a consumer sees the order of commits. `seed` says which broker is killed."""

    def __init__(self, kafka: OwnKafka, registry: Registry, seed: int = 1) -> None:
        self._kafka = kafka
        self._registry = registry
        self._random = Random(seed)
        self._starting: subprocess.Popen[str] | None = None
        self._versions = cache(self._fetch)
        nodes = len(kafka.server.nodes)
        self.sink: Mapping[str, Any] = {
            "type": "kafka",
            "bootstrap_servers": kafka.bootstrap,
            "topics": {"create": True, "partitions": 1, "replication": nodes},
        }
        self.sections: Mapping[str, Any] = {
            "events": {"topic_prefix": registry.prefix},
            "registry": {"type": "confluent", "url": registry.url, "incompatible": "new_subject"},
        }

    def counts(self) -> Mapping[str, int]:
        return {topic: self._count(topic) for topic in self._topics()}

    def read(self, day: Day) -> Topics:
        return {topic: list(self._runs(day, topic)) for topic in self._topics()}

    def strikes(self) -> Sequence[tuple[Callable[[], None], int]]:
        return [(self._kill, 3), (self._restart, 1)]

    def heal(self) -> None:
        if self._starting is not None:
            finish(self._starting)
            self._starting = None

    def _kill(self) -> None:
        """kill -9 of one broker, which is on its way up again when this returns."""
        self._again(lambda node: node.kill())

    def _restart(self) -> None:
        """In order: what a broker leads is led by another before it goes."""
        self._again(lambda node: node.stop())

    def _again(self, end: Callable[[Node], None]) -> None:
        self.heal()
        node = self._random.choice(self._kafka.server.nodes)
        end(node)
        self._starting = node.begin()

    def _topics(self) -> list[str]:
        return [topic for topic in self._kafka.topics() if topic.startswith(f"{self._registry.prefix}.")]

    def _count(self, topic: str) -> int:
        return int(until(lambda: self._end(topic), f"{topic} has a leader")[0])

    def _end(self, topic: str) -> tuple[int] | None:
        """How many events a consumer may read; None while no broker leads the topic."""
        consumer = Consumer({**self._kafka.client, "group.id": "unused"})
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), ASK_S)
            return (end,)
        except KafkaException:
            return None
        finally:
            consumer.close()

    def _runs(self, day: Day, topic: str) -> Iterator[tuple[str, list[Delivered]]]:
        firsts, producers = self._batches(topic)
        records = self._kafka.read(topic)
        assert [record.offset for record in records] == list(range(len(records))), f"{topic} has holes"

        def producer(record: KafkaRecord) -> int:
            return producers[bisect_right(firsts, record.offset) - 1]

        for id_, run in groupby(records, producer):
            yield f"{topic}, producer {id_}", [self._delivered(day, topic, record) for record in run]

    def _batches(self, topic: str) -> tuple[list[int], list[int]]:
        """The first offset of each batch, and its producer's id, from the log of the broker that leads."""
        leader = self._kafka.server.nodes[self._kafka.leader(topic) - 1]
        batches = [
            batch for path in sorted((leader.folder / "data" / f"{topic}-0").glob("*.log")) for batch in _read(path)
        ]
        return [first for first, _ in batches], [producer for _, producer in batches]

    def _delivered(self, day: Day, topic: str, record: KafkaRecord) -> Delivered:
        types = self._version(record.value).types if record.value else {}
        key, value = self._decoded(record.key), self._decoded(record.value)
        return delivered(day, plain({"topic": topic, "key": key, "value": value}), types)

    def _decoded(self, data: bytes | None) -> Any:
        return fastavro.schemaless_reader(BytesIO(data[5:]), self._version(data).schema, None) if data else None

    def _version(self, data: bytes) -> "Version":
        assert data[0] == 0, "Confluent's magic byte"
        return self._versions(int.from_bytes(data[1:5], "big"))

    def _fetch(self, schema_id: int) -> "Version":
        schema = self._registry.schema(schema_id)
        return Version(fastavro.parse_schema(schema), column_types(schema) if schema["name"] == "Envelope" else {})


class Version(NamedTuple):
    """A schema that the registry has; of an envelope, the Avro type of each column."""

    schema: Any
    types: Mapping[str, str]


def _read(path: Path) -> Iterator[tuple[int, int]]:
    """(first offset, producer's id) of each batch in a segment."""
    data = path.read_bytes()
    at = 0
    while at + BATCH.size <= len(data):
        header = BATCH.unpack_from(data, at)
        if not header[1]:
            return  # made longer in advance, and empty from here on
        yield header[0], header[PRODUCER_ID]
        at += LENGTH_COUNTS_FROM + header[1]
