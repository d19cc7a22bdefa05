"""The writers' day in topics of a Kafka cluster whose brokers die, with versions in a registry.

What was delivered is what a consumer reads. Which run an event belongs to no consumer sees: it stands in the broker's
log, where each batch has the id of its producer, and whoever opens the sink again is another producer.
"""

import struct
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.faults.audit import Delivered, Topics
from tests.faults.kafka_day import Reader
from tests.faults.workload import Day
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
    """One partition a topic, so that a consumer sees the order of commits."""

    def __init__(self, kafka: OwnKafka, registry: Registry) -> None:
        self._kafka = kafka
        self._registry = registry
        self._starting: subprocess.Popen[str] | None = None
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
        reader = Reader(day, self._registry.schema)
        return {topic: list(self._runs(reader, topic)) for topic in self._topics()}

    def strikes(self, random: Random) -> Sequence[tuple[Callable[[], None], int]]:
        return [(partial(self._again, Node.kill, random), 3), (partial(self._again, Node.stop, random), 1)]

    def heal(self) -> None:
        if self._starting is not None:
            finish(self._starting)
            self._starting = None

    def _again(self, end: Callable[[Node], None], random: Random) -> None:
        """End one broker, which is on its way up again when this returns."""
        self.heal()
        node = random.choice(self._kafka.server.nodes)
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

    def _runs(self, reader: Reader, topic: str) -> Iterator[tuple[str, list[Delivered]]]:
        firsts, producers = self._batches(topic)
        records = self._kafka.read(topic)
        assert [record.offset for record in records] == list(range(len(records))), f"{topic} has holes"

        def producer(record: KafkaRecord) -> int:
            return producers[bisect_right(firsts, record.offset) - 1]

        for id_, run in groupby(records, producer):
            yield f"{topic}, producer {id_}", list(reader.read(list(run)))

    def _batches(self, topic: str) -> tuple[list[int], list[int]]:
        """The first offset of each batch, and its producer's id, from the log of the broker that leads."""
        leader = self._kafka.server.nodes[self._kafka.leader(topic) - 1]
        batches = [
            batch for path in sorted((leader.folder / "data" / f"{topic}-0").glob("*.log")) for batch in _read(path)
        ]
        return [first for first, _ in batches], [producer for _, producer in batches]


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
