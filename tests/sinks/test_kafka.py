"""The Kafka sink as its consumers and its operators see it, on a real broker."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from confluent_kafka.admin._config import ConfigResource

from schema.event import Event
from sinks.errors import Rejected, SinkError, SinkMisconfigured, SinkUnavailable
from sinks.kafka import KafkaSink
from tests.kafka_servers import READ_TIMEOUT_S, Kafka
from tests.mysql_servers import PROGRAMS
from tests.servers import skip
from tests.sinks.events import batch, event
from tests.sinks.kafka import by_key, change, changes, committed, numbers, opened

pytestmark = pytest.mark.kafka

NOISE = random.Random(1).randbytes(2_000_000)
"""No compression makes it smaller."""


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """The name of a topic that is not there yet."""
    return f"{kafka.prefix}.orders"


def deliver(sink: KafkaSink, *events: Event) -> None:
    sink.write(batch(events))
    sink.flush()


def setting(kafka: Kafka, topic: str, name: str) -> str:
    resource = ConfigResource("topic", topic)
    return str(kafka.admin.describe_configs([resource])[resource].result(READ_TIMEOUT_S)[name].value)


def java_partitions(keys: list[bytes], count: int) -> list[int]:
    java = shutil.which("java") or ""
    jars = PROGRAMS / "kafka" / "lib"
    if not java or not jars.is_dir():
        skip("no Java, or no jars of Kafka, on this machine: run .ci/servers")
    program = Path(__file__).with_name("Partitions.java")
    command: list[str] = [java, "-Xmx64m", "-cp", f"{jars}/*", str(program), str(count)]
    lines = "".join(f"{key.hex()}\n" for key in keys)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def test_a_key_goes_to_the_partition_that_javas_producer_chooses(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic, partitions=7)
    keys = [event(n).key or b"" for n in (*range(300), 2**40, -1)] + [b"", b"a", b"\xff" * 21]
    sink = opened(kafka.bootstrap)
    deliver(sink, *(change(topic, n, key) for n, key in enumerate(keys)))
    sink.close()
    found = {record.key: record.partition for record in kafka.read(topic)}
    assert [found[key] for key in keys] == java_partitions(keys, 7)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "gzip", "none"])
def test_each_key_keeps_its_order_across_batches_and_flushes(kafka: Kafka, topic: str, compression: str) -> None:
    kafka.create_topic(topic, partitions=3)
    sink = opened(kafka.bootstrap, compression=compression, settings={"batch.size": 2000})
    for at in range(0, 10_000, 500):
        sink.write(batch(changes(topic, range(at, at + 500))))
        if at % 3 == 0:
            sink.flush()
    sink.flush()
    sink.close()
    records = kafka.read(topic)
    assert len(records) == 10_000
    assert by_key(records) == committed(10_000)


def test_keys_values_tombstones_and_headers_arrive_as_they_are(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    headers = {"__debezium.context.connectorLogicalName": "shop", "team": "é"}
    sink = opened(kafka.bootstrap, headers=headers)
    rows = [(b"a", b"1"), (b"a", None), (None, b"\0\xff"), (b"", b"")]
    deliver(sink, *(Event(topic, "public.orders", key, value, (1, n)) for n, (key, value) in enumerate(rows)))
    sink.close()
    records = kafka.read(topic)
    assert [(record.key, record.value) for record in records] == rows
    assert {record.headers for record in records} == {
        (("__debezium.context.connectorLogicalName", b"shop"), ("team", "é".encode()))
    }


def test_a_full_queue_makes_a_write_wait_and_loses_nothing(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap, settings={"queue.buffering.max.messages": 7})
    deliver(sink, *changes(topic, range(1000)))
    sink.close()
    assert numbers(kafka.read(topic)) == list(range(1000))


def test_what_was_not_flushed_when_it_closes_is_not_sent_afterwards(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap, settings={"linger.ms": 60_000})
    deliver(sink, change(topic, 1))
    sink.write(batch([change(topic, 2)]))
    sink.close()
    assert numbers(kafka.read(topic)) == [1]


def test_a_missing_topic_is_named_and_delivery_goes_on_once_it_is_there(kafka: Kafka, topic: str) -> None:
    sink = opened(kafka.bootstrap)
    with pytest.raises(SinkUnavailable, match=f"the topic {topic} does not exist") as error:
        sink.write(batch([change(topic, 1)]))
    sink.close()
    assert '"create": true' in error.value.hint
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap)
    deliver(sink, change(topic, 1))
    sink.close()
    assert numbers(kafka.read(topic)) == [1]


def test_a_missing_topic_is_made_as_asked_for(kafka: Kafka, topic: str) -> None:
    how = {"create": True, "partitions": 3, "replication": 1, "cleanup": "compact", "settings": {"segment.ms": 70_000}}
    sink = opened(kafka.bootstrap, topics=how)
    deliver(sink, *changes(topic, range(100)))
    sink.close()
    assert kafka.topics()[topic] == 3
    assert setting(kafka, topic, "cleanup.policy") == "compact"
    assert setting(kafka, topic, "segment.ms") == "70000"
    assert by_key(kafka.read(topic)) == committed(100)


def test_a_topic_of_events_without_a_key_is_never_made_compacted(kafka: Kafka, topic: str) -> None:
    sink = opened(kafka.bootstrap, topics={"create": True, "cleanup": "compact"})
    deliver(sink, change(topic, 1), change(f"{topic}.truncate", 2, key=None))
    sink.close()
    assert setting(kafka, topic, "cleanup.policy") == "compact"
    assert setting(kafka, f"{topic}.truncate", "cleanup.policy") == "delete"
    assert numbers(kafka.read(f"{topic}.truncate")) == [2]


@pytest.mark.parametrize(
    ("how", "said"),
    [({"replication": 99}, "replication factor of 99"), ({"settings": {"segment.sm": 1}}, "segment.sm")],
)
def test_a_topic_that_cannot_be_made_as_asked_for_says_why(kafka: Kafka, topic: str, how: object, said: str) -> None:
    assert isinstance(how, dict)
    sink = opened(kafka.bootstrap, topics={"create": True, **how})
    with pytest.raises(SinkMisconfigured, match=said) as error:
        sink.write(batch([change(topic, 1)]))
    sink.close()
    assert topic in str(error.value)
    assert error.value.hint == "correct sink.topics"
    assert topic not in kafka.topics()


def test_a_topic_deleted_meanwhile_is_named_and_made_anew_by_the_next_sink(kafka: Kafka, topic: str) -> None:
    keys = {"topics": {"create": True}, "settings": {"topic.metadata.propagation.max.ms": 500}}
    sink = opened(kafka.bootstrap, **keys)
    deliver(sink, change(topic, 1))
    kafka.delete_topic(topic)
    with pytest.raises(SinkUnavailable, match=f"the topic {topic} does not exist"):
        deliver(sink, change(topic, 2))
    sink.close()
    sink = opened(kafka.bootstrap, **keys)
    deliver(sink, change(topic, 2))
    sink.close()
    assert numbers(kafka.read(topic)) == [2]


def test_an_event_beyond_the_limit_is_rejected_and_those_beside_it_are_delivered(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap)
    large = change(topic, 2, value=NOISE)
    with pytest.raises(Rejected, match=f"its 2,000,001 bytes are more than {topic} takes") as rejected:
        sink.write(batch([change(topic, 1), large, change(topic, 3)]))
    assert rejected.value.event is large
    deliver(sink, change(topic, 3))
    sink.close()
    assert numbers(kafka.read(topic)) == [1, 3]


def test_an_event_that_fits_its_topic_once_it_is_compressed_is_delivered(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap)
    text = b"a" * 5_000_000
    deliver(sink, change(topic, 1), change(topic, 2, value=text), change(topic, 3))
    sink.close()
    assert [record.value for record in kafka.read(topic)] == [b"1", text, b"3"]


def test_oversize_fail_stops_at_an_event_beyond_the_limit(kafka: Kafka, topic: str) -> None:
    kafka.create_topic(topic)
    sink = opened(kafka.bootstrap, oversize="fail")
    with pytest.raises(SinkError, match="are more than") as error:
        sink.write(batch([change(topic, 1, value=NOISE)]))
    sink.close()
    assert not isinstance(error.value, Rejected)
    assert not error.value.retryable
    assert "max.message.bytes" in error.value.hint


@pytest.mark.parametrize(
    ("settings", "bad", "said"),
    [
        ({"max_message_bytes": "20000"}, change("", 50, value=NOISE[:30_000]), "its 30,001 bytes are more than"),
        ({"cleanup_policy": "compact"}, change("", 50, key=None), "takes no event without a key"),
    ],
    ids=["the topic's own limit", "no key in a compacted topic"],
)
def test_an_event_that_spoils_its_batch_is_found_by_the_sink_that_is_opened_next(
    kafka: Kafka, topic: str, settings: dict[str, str], bad: Event, said: str
) -> None:
    kafka.create_topic(topic, 1, 1, **settings)
    bad = bad._replace(topic=topic)
    events = [*changes(topic, range(50)), bad, *changes(topic, range(51, 100))]
    sink = opened(kafka.bootstrap)
    with pytest.raises(SinkUnavailable, match=f"{topic} refused a batch"):
        deliver(sink, *events)
    sink.close()
    sink = opened(kafka.bootstrap)
    with pytest.raises(Rejected, match=said) as rejected:
        sink.write(batch(events))
    assert rejected.value.event is bad
    deliver(sink, *events[51:])
    sink.close()
    seen = by_key(kafka.read(topic))
    assert seen == {key: [n for n in of_key if n != 50] for key, of_key in committed(100).items()}


def test_a_topic_that_refused_takes_batches_again_once_nothing_more_was_refused(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.kafka.ALONE_AFTER_REFUSAL", 3)
    kafka.create_topic(topic, max_message_bytes="20000")
    bad = change(topic, 0, value=NOISE[:30_000])
    for error in (SinkUnavailable, Rejected):
        sink = opened(kafka.bootstrap, settings={"linger.ms": 60_000})
        with pytest.raises(error):
            deliver(sink, bad)
        if error is SinkUnavailable:
            sink.close()
    sink.write(batch(changes(topic, range(1, 6))))
    assert numbers(kafka.read(topic)) == [1, 2, 3]
    sink.flush()
    sink.close()
    assert numbers(kafka.read(topic)) == [1, 2, 3, 4, 5]


def test_nobody_at_the_address_is_said_with_what_to_do() -> None:
    for address, why in (("127.0.0.1:1", "refused"), ("nobody.invalid:9092", "resolve")):
        with pytest.raises(SinkUnavailable, match=f"no Kafka broker of {address} answers.*{why}") as error:
            opened(address, tls={"mode": "disable"})
        assert "sink.bootstrap_servers" in error.value.hint
