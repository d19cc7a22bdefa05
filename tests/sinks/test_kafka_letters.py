"""The dead-letter topic as those who read it see it, on a real broker."""

import pytest

from schema.event import DeadLetter, StoredLetter
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.kafka_letters import LEFT_OUT
from tests.kafka_servers import Kafka
from tests.sinks.events import batch, event
from tests.sinks.kafka import change, numbers, opened
from tests.sinks.test_kafka import NOISE, setting

pytestmark = pytest.mark.kafka

FAILED_AT_MS = 1_700_000_000_123


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """The name of a topic that is not there yet."""
    return f"{kafka.prefix}.dead"


def letter(number: int, dead: DeadLetter) -> StoredLetter:
    return StoredLetter(number, "shop", FAILED_AT_MS, 2, None, dead)


def of_size(number: int, size_bytes: int) -> StoredLetter:
    return letter(number, DeadLetter.of(change("orders", number, value=NOISE[:size_bytes]), "too large"))


def test_a_letter_holds_the_raw_bytes_and_says_what_became_of_them(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    refused = event(7)
    row = DeadLetter("public.log", "shop.public.log", None, b"1\tNaN", "0/15AB3B8/2", "cannot hold NaN – at all")
    sink = opened(kafka.bootstrap, headers={"team": "orders"})
    sink.write_letters(topic, [letter(3, DeadLetter.of(refused, "too large")), letter(4, row)])
    sink.flush()
    sink.close()
    first, second = kafka.read(topic)
    assert (first.key, first.value) == (refused.key, refused.value)
    assert dict(first.headers) == {
        "__connect.errors.topic": b"shop.public.orders",
        "__connect.errors.connector.name": b"shop",
        "__connect.errors.exception.message": b"too large",
        "__tailrace.errors.id": b"3",
        "__tailrace.errors.table": b"public.orders",
        "__tailrace.errors.position": b"100/7",
        "__tailrace.errors.schema.id": b"11",
        "__tailrace.errors.attempt": b"2",
        "__tailrace.errors.timestamp": str(FAILED_AT_MS).encode(),
    }
    assert (second.key, second.value) == (None, b"1\tNaN")
    assert dict(second.headers)["__connect.errors.exception.message"] == "cannot hold NaN – at all".encode()
    assert "__tailrace.errors.schema.id" not in dict(second.headers)


@pytest.mark.parametrize("oversize", ["reject", "fail"])
def test_a_letter_too_large_for_the_topic_comes_without_its_value_and_says_so(
    kafka: Kafka, topic: str, oversize: str
) -> None:
    kafka.create_topic(topic, max_message_bytes="20000")
    kafka.create_topic(f"{topic}.orders")
    sink = opened(kafka.bootstrap, oversize=oversize)
    sink.write(batch([change(f"{topic}.orders", 1)]))
    sink.write_letters(topic, [of_size(1, 100), of_size(2, 30_000), of_size(3, 2_000_000), of_size(4, 100)])
    sink.write(batch([change(f"{topic}.orders", 2)]))
    sink.flush()
    sink.close()
    records = kafka.read(topic)
    assert [record.value for record in records] == [NOISE[:100], None, None, NOISE[:100]]
    assert [dict(record.headers).get(LEFT_OUT) for record in records] == [None, b"30000", b"2000000", None]
    assert {record.key for record in records} == {b"k"}
    assert numbers(kafka.read(f"{topic}.orders")) == [1, 2]


def test_the_topic_is_made_so_that_it_takes_every_letter(kafka: Kafka, topic: str) -> None:
    sink = opened(kafka.bootstrap, topics={"create": True, "cleanup": "compact"})
    sink.write_letters(topic, [letter(1, DeadLetter("public.t", "t", None, b"raw", "0/1/1", "NaN"))])
    sink.flush()
    sink.close()
    assert setting(kafka, topic, "cleanup.policy") == "delete"
    assert len(kafka.read(topic)) == 1


def test_a_topic_that_is_not_there_is_named(kafka: Kafka, topic: str) -> None:
    sink = opened(kafka.bootstrap)
    with pytest.raises(SinkUnavailable, match=f"the topic {topic} does not exist"):
        sink.write_letters(topic, [of_size(1, 100)])
    sink.close()


def test_a_topic_that_takes_no_letter_without_a_key_is_named_with_what_mends_it(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic, cleanup_policy="compact")
    sink = opened(kafka.bootstrap)
    keyless = letter(9, DeadLetter("public.t", "t", None, b"raw", "0/1/1", "NaN"))
    with pytest.raises(SinkMisconfigured, match=f"the dead-letter topic {topic} refuses letter 9: ") as error:
        sink.write_letters(topic, [of_size(1, 100), keyless])
    sink.close()
    assert "cleanup.policy=delete" in error.value.hint
    assert len(kafka.read(topic)) == 1
