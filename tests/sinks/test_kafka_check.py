"""What `tailrace check` tells of a real cluster and its topics."""

import shlex
from typing import Any

import pytest

from schema.preflight import Finding, Topic
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import ACLS, allow, passwords
from tests.kafka_servers import Kafka
from tests.sinks.test_kafka import setting

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """The name of a topic that is not there yet."""
    return f"{kafka.prefix}.orders"


def check(bootstrap: str, topic: str, *, has_keys: bool = True, **keys: Any) -> list[Finding]:
    """What is told of a topic; that the cluster was reached is taken for granted."""
    config = KafkaConfig.model_validate({"bootstrap_servers": bootstrap, **keys})
    reached, *found = KafkaSink.check(config, [Topic(topic, has_keys)])
    assert reached.level == "ok"
    assert reached.text.startswith(f"connected to Kafka at {bootstrap}")
    return found


def obey(kafka: Kafka, command: str) -> None:
    """What `kafka-configs --alter --add-config` does."""
    words = shlex.split(command)
    name, _, value = words[words.index("--add-config") + 1].partition("=")
    assert words[:3] == ["kafka-configs", "--bootstrap-server", kafka.bootstrap]
    kafka.set_topic(words[words.index("--entity-name") + 1], **{name: value})


def test_a_topic_that_is_not_there_is_a_finding_or_would_be_made_and_nothing_is(kafka: Kafka, topic: str) -> None:
    (missing,) = check(kafka.bootstrap, topic)
    assert (missing.level, missing.text) == ("fail", f"the topic {topic} does not exist")
    assert f"kafka-topics --bootstrap-server {kafka.bootstrap} --create --topic {topic};" in missing.mend
    assert check(kafka.bootstrap, topic, topics={"create": True}) == [Finding("ok", f"the topic {topic} will be made")]
    (refused,) = check(kafka.bootstrap, topic, topics={"create": True, "replication": 99})
    assert refused.level == "fail"
    assert "replication factor of 99" in refused.text
    assert topic not in kafka.topics()


def test_a_topic_that_is_there_tells_its_partitions_replicas_and_policy(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic, 3, 1, cleanup_policy="compact")
    (found,) = check(kafka.bootstrap, topic)
    assert found == Finding("ok", f"the topic {topic} is there: 3 partitions, 1 replica of each, compact")


def test_the_command_beside_each_finding_mends_it(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic, 1, 1, min_insync_replicas="2", cleanup_policy="compact", max_message_bytes="20000")
    _, few, keyless, small = check(kafka.bootstrap, topic, has_keys=False)
    assert (few.level, few.text) == ("fail", f"{topic} has 1 replica and min.insync.replicas 2: it takes no event")
    assert keyless.level == "fail"
    assert "takes no event without a key" in keyless.text
    assert small.level == "warn"
    assert "takes 20,000 bytes at once" in small.text
    assert 'set sink.settings to {"batch.size": 20000}' in small.mend
    for finding in (few, keyless, small):
        obey(kafka, finding.mend.rpartition(": ")[2] if "or: " in finding.mend else finding.mend)
    assert [found.level for found in check(kafka.bootstrap, topic, has_keys=False)] == ["ok"]
    assert setting(kafka, topic, "max.message.bytes") == "1000000"


def test_settings_that_librdkafka_does_not_take_and_an_address_without_a_broker_keep_a_check_from_looking(
    kafka: Kafka, topic: str
) -> None:
    with pytest.raises(SinkMisconfigured, match="lingr"):
        check(kafka.bootstrap, topic, settings={"lingr.ms": 1})
    with pytest.raises(SinkUnavailable, match="no Kafka broker"):
        check("127.0.0.1:1", topic)


def test_rights_that_are_missing_are_told_with_the_command_that_gives_them(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(1, *passwords("PLAIN", shop="secret"), *ACLS, clients="SASL_PLAINTEXT")
    kafka.create_topic("orders")
    address = kafka.server.clients_bootstrap
    keys: dict[str, Any] = {"sasl": {"mechanism": "PLAIN", "user": "shop", "password": "secret"}}

    (found,) = check(address, "orders", **keys)
    assert (found.level, found.text) == ("fail", "the user of sink.sasl may not write to the topic orders")
    grant = f"kafka-acls --bootstrap-server {address} --add --allow-principal User:shop --operation"
    assert found.mend == f"allow it: {grant} Write --operation Describe --topic orders"
    allow(kafka, "shop", "topic", "orders", "WRITE", "DESCRIBE")
    (found,) = check(address, "orders", **keys)
    assert found == Finding("ok", "the topic orders is there: 1 partition, 1 replica of each")

    keys["topics"] = {"create": True}
    allow(kafka, "shop", "topic", "items", "WRITE", "DESCRIBE")
    (found,) = check(address, "items", **keys)
    assert found.level == "fail"
    assert found.text == "the topic items does not exist, and the user of sink.sasl may not make it"
    assert f"{grant} Create --topic items" in found.mend
    allow(kafka, "shop", "topic", "items", "CREATE")
    (found,) = check(address, "items", **keys)
    assert found == Finding("ok", "the topic items will be made")
    assert "items" not in kafka.topics()


def test_replicas_that_are_too_few_or_away_are_told(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(3)
    kafka.create_topic("alone")
    kafka.create_topic("orders", replication=3)
    _, found = check(kafka.bootstrap, "alone")
    assert (found.level, found.text.partition(":")[0]) == ("warn", "alone has one replica")
    _, found = check(kafka.bootstrap, "orders")
    assert (found.level, found.text.partition(":")[0]) == ("warn", "orders has min.insync.replicas 1")
    obey(kafka, found.mend)
    assert len(check(kafka.bootstrap, "orders")) == 1
    kafka.set_topic("orders", **{"min.insync.replicas": "3"})
    kafka.server.nodes[2].stop()
    _, found = check(kafka.bootstrap, "orders")
    assert found.level == "warn"
    assert found.text == "partition 0 of orders takes nothing now: 2 of 3 replicas are in sync, and it wants 3"
