"""Debezium's offsets in the topic where Kafka Connect keeps them (``offset.storage.topic``).

Source: Kafka Connect's `KafkaOffsetBackingStore`: a compacted topic, the key and the value JSON, the last value of a
key holds and null takes it away. A worker with exactly-once sources writes it in transactions.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from offsets.debezium import DebeziumOffset, decode
from offsets.errors import OffsetStoreFailed, OffsetUnreadable
from offsets.kafka_codes import MISSING, reason

ANSWER_TIMEOUT_S = 30.0

Pair = tuple[bytes | None, bytes | None]


def read_topic(client: Mapping[str, Any], topic: str) -> list[DebeziumOffset]:
    """Every offset that holds now. `client` is librdkafka's configuration that reaches the cluster; nothing is
    committed. Raises OffsetUnreadable, OffsetStoreFailed."""
    settings = {
        **client,
        "group.id": "tailrace-offsets-import",  # only a name: no group is joined
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    try:
        with closing(Consumer(settings)) as consumer:
            pairs = list(_pairs(consumer, topic))
    except KafkaException as failed:
        raise _translated(failed.args[0], topic) from None
    return decode(pairs, f"the topic {topic}")


def _pairs(consumer: Consumer, topic: str) -> Iterator[Pair]:
    """Up to the end as it is met; a key's values are all in one partition, in their order."""
    found = consumer.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
    if found.error:
        raise KafkaException(found.error)
    unread = set(found.partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
    while unread:
        message = consumer.poll(ANSWER_TIMEOUT_S)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing was said for {ANSWER_TIMEOUT_S:g} s"))
        error = message.error()
        if error is None:
            yield message.key(), message.value()
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition() or 0)
        elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # librdkafka asks for a group that nobody joins
            raise KafkaException(error)


def _translated(error: KafkaError, topic: str) -> OffsetUnreadable | OffsetStoreFailed:
    if error.code() in MISSING or error.code() == KafkaError.TOPIC_EXCEPTION:
        return OffsetUnreadable(
            f"there is no topic {topic}",
            "name the one of offset.storage.topic in the Connect worker's configuration, often connect-offsets",
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return OffsetUnreadable(
            f"this user may not read the topic {topic}",
            f"allow it: kafka-acls --add --allow-principal User:NAME --operation Read --operation Describe"
            f" --topic {topic}",
        )
    return OffsetStoreFailed(
        f"the topic {topic} cannot be read: {reason(error)}", "see whether its partitions have a leader, and try again"
    )
