"""The brokers of tests/kafka_servers.py do what tests ask of them."""

import pytest

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
