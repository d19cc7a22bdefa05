"""The brokers of tests/kafka_servers.py do what tests ask of them."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from tests.conftest import OwnKafkaFactory
from tests.kafka_servers import Kafka
from tests.servers import until

pytestmark = pytest.mark.kafka


def test_a_topic_is_read_back_as_it_was_written(kafka: Kafka) -> None:
    topic = f"{kafka.prefix}.orders"
    kafka.create_topic(topic, partitions=3, cleanup_policy="compact")
    kafka.produce(topic, (b"a", b"1"), (b"b", None), (b"a", b"2"))
    records = kafka.read(topic)
    assert [(record.key, record.value) for record in records if record.key == b"a"] == [(b"a", b"1"), (b"a", b"2")]
    assert {record.key: record.value for record in records} == {b"a": b"2", b"b": None}
    assert kafka.topics()[topic] == 3


def test_a_topic_of_one_test_is_gone_before_the_next(kafka: Kafka) -> None:
    kafka.create_topic(f"{kafka.prefix}.orders")
    kafka.drop()
    assert not [name for name in kafka.topics() if name.startswith(kafka.prefix)]


def test_a_killed_broker_keeps_what_it_acknowledged(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders")
    kafka.produce("orders", (b"a", b"1"))
    kafka.server.kill()
    assert not kafka.server.nodes[0].lives()
    kafka.server.start()
    assert [record.value for record in kafka.read("orders")] == [b"1"]


def test_three_nodes_go_on_without_one_of_them(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(3)
    kafka.create_topic("orders", replication=3, min_insync_replicas="2")
    kafka.produce("orders", (b"a", b"1"))
    leader = kafka.server.nodes[kafka.leader("orders") - 1]
    leader.kill()
    kafka.produce("orders", (b"a", b"2"))
    assert kafka.leader("orders") != leader.id
    assert [record.value for record in kafka.read("orders")] == [b"1", b"2"]
    leader.start()
    until(lambda: kafka.in_sync("orders") == {1, 2, 3}, "the killed node has caught up")
    kafka.server.stop()
    assert not [node.id for node in kafka.server.nodes if node.lives()]


def test_a_frozen_broker_goes_on_where_it_was(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders")
    kafka.server.signal(signal.SIGSTOP)
    with pytest.raises(KafkaException):
        kafka.produce("orders", (b"a", b"1"), message_timeout_ms=1000)
    kafka.server.signal(signal.SIGCONT)
    kafka.produce("orders", (b"a", b"2"))
    assert b"2" in [record.value for record in kafka.read("orders")]


def test_a_broker_with_a_full_disk_ends_and_serves_again_once_there_is_room(
    small_disk: Callable[[int], Path], own_kafka: OwnKafkaFactory, tmp_path: Path
) -> None:
    disk = small_disk(16 << 20)
    kafka = own_kafka(1, f"log.dirs={disk / 'data'}", f"metadata.log.dir={tmp_path / 'metadata'}")
    kafka.create_topic("orders")
    kafka.produce("orders", (b"a", b"1"))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(15 << 20))
    with pytest.raises(KafkaException):
        kafka.produce("orders", *[(b"b", bytes(100_000))] * 20, message_timeout_ms=3000)
    until(lambda: not kafka.server.nodes[0].lives(), "the broker ends")
    ballast.unlink()
    kafka.server.start()
    kafka.produce("orders", (b"a", b"2"))
    assert [record.value for record in kafka.read("orders") if record.key == b"a"] == [b"1", b"2"]
