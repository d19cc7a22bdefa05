"""What speaks to Kafka ends when it is told to, whatever brokers do, and leaves nothing that still runs."""

import gc
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import pytest

from offsets.errors import OffsetError
from offsets.kafka import KafkaStore
from offsets.kafka_config import KafkaStoreConfig
from offsets.position import Position
from schema.preflight import Topic
from sinks.errors import SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.conftest import OwnKafkaFactory
from tests.kafka_servers import Kafka
from tests.rigs import free_port
from tests.servers import until
from tests.sinks.events import SCHEMAS, batch
from tests.sinks.kafka import change, changes, numbers, opened

ENDS_WITHIN_S = 60
"""Longer than it may take, shorter than for ever."""


def clients() -> set[str]:
    """Every client of librdkafka in this process has one main thread; one for questions has a `bg`, too."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            if (thread / "comm").read_text().strip() in ("rdk:main", "rdk:bg"):
                found.add(thread.name)
    return found


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Garbage is collected in any thread. A client that answers in one of its own, and is collected there, aborts the
    process: so nothing may be left to the collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.kafka
@pytest.mark.usefixtures("without_collector")
def test_nothing_is_left_of_a_sink_that_was_closed(kafka: Kafka) -> None:
    topic = f"{kafka.prefix}_orders"
    before = clients()
    sink = opened(kafka.bootstrap, topics={"create": True})
    sink.write(batch(changes(topic, range(10))))
    sink.flush()
    sink.write(batch(changes(topic, range(10, 20))))
    sink.close()
    assert clients() <= before


@pytest.mark.kafka
@pytest.mark.usefixtures("without_collector")
def test_nothing_is_left_of_a_store_that_was_closed(kafka: Kafka) -> None:
    before = clients()
    config = KafkaStoreConfig(type="kafka", bootstrap_servers=kafka.bootstrap, topic=f"{kafka.prefix}_offsets")
    assert not list(KafkaStore.check(config))[1:]
    with closing(KafkaStore(config)) as store:
        store.hold("shop")
        store.save("shop", Position(1, "1", "{}"), {})
    assert clients() <= before


@pytest.mark.usefixtures("without_collector")
def test_nothing_is_left_of_what_never_reached_a_broker() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    before = clients()
    with pytest.raises(SinkUnavailable):
        opened(nobody)
    with pytest.raises(SinkUnavailable):
        list(KafkaSink.check(KafkaConfig(bootstrap_servers=nobody), [Topic("orders", has_keys=True)]))
    store = KafkaStoreConfig(type="kafka", bootstrap_servers=nobody)
    with pytest.raises(OffsetError):
        KafkaStore(store)
    with pytest.raises(OffsetError):
        KafkaStore.check(store)
    assert clients() <= before


@pytest.mark.kafka
def test_a_frozen_broker_keeps_no_transaction_from_being_closed(
    own_kafka: OwnKafkaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsets.kafka_transactions.ABORT_S", 1.0)
    kafka = own_kafka()
    kafka.create_topic("orders")
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap, exactly_once=True)
    place = KafkaStoreConfig(type="kafka", bootstrap_servers=kafka.bootstrap)
    store = KafkaStore(place, producer=config.transactional())
    sink = KafkaSink(config, SCHEMAS)
    sink.join(store.transactions("shop"))
    sink.open()
    sink.write(batch([change("orders", 0)]))
    sink.flush()

    def close() -> None:
        sink.close()
        store.close()

    closes = Thread(target=close, daemon=True)
    kafka.server.signal(signal.SIGSTOP)
    try:
        closes.start()
        closes.join(ENDS_WITHIN_S)
        assert not closes.is_alive()
    finally:
        kafka.server.signal(signal.SIGCONT)

    def opens() -> bool:
        with suppress(OffsetError), closing(KafkaStore(place)) as store:
            store.hold("shop")
            return True
        return False

    until(opens, "the next runner has it", timeout_s=120)
    assert numbers(kafka.read("orders")) == []
