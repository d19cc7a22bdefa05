"""How topics are made and what they hold, as their brokers keep it."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OwnKafkaFactory
from tests.kafka_servers import READ_TIMEOUT_S, Kafka
from tests.sinks.events import batch
from tests.sinks.kafka import by_key, changes, committed, opened

pytestmark = pytest.mark.kafka

ATTRIBUTES_AT = 21
"""In a batch of a segment (Kafka's record batch, version 2): behind offset, length, epoch, magic and checksum."""
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def deliver(kafka: Kafka, topic: str, **keys: Any) -> None:
    sink = opened(kafka.bootstrap, **keys)
    sink.write(batch(changes(topic, range(1000))))
    sink.flush()
    sink.close()


def codec(folder: Path, topic: str) -> str:
    """Of the first batch of a topic's only partition."""
    (segment,) = folder.rglob(f"{topic}-0/*.log")
    return CODECS[segment.read_bytes()[ATTRIBUTES_AT + 1] & 7]


def test_batches_are_kept_as_zstd_unless_another_compression_is_asked_for(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    deliver(kafka, "default", topics={"create": True})
    assert codec(kafka.server.folder, "default") == "zstd"
    for name in CODECS:
        deliver(kafka, name, topics={"create": True}, compression=name)
        assert codec(kafka.server.folder, name) == name


def test_a_topic_is_made_with_the_partitions_copies_and_cleanup_asked_for(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(3)
    how = {"create": True, "partitions": 5, "replication": 3, "cleanup": "compact"}
    deliver(kafka, "orders", topics={**how, "settings": {"min.insync.replicas": 2}})
    made = kafka.admin.list_topics("orders", timeout=READ_TIMEOUT_S).topics["orders"]
    assert [len(partition.replicas) for partition in made.partitions.values()] == 5 * [3]
    assert by_key(kafka.read("orders")) == committed(1000)
