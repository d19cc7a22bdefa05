"""A Kafka sink and an offset store that share transactions: what a reader of committed events sees, whatever goes."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from random import Random
from threading import Thread
from typing import NamedTuple

import pytest

from offsets.errors import Fenced, OffsetError
from offsets.kafka import KafkaStore
from offsets.kafka_config import KafkaStoreConfig
from offsets.position import Position
from schema.event import Event
from sinks.errors import Rejected, SinkError, SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.conftest import OwnKafkaFactory
from tests.kafka_servers import Kafka
from tests.servers import until
from tests.sinks.events import SCHEMAS, batch
from tests.sinks.kafka import by_key, change, changes, committed, numbers

pytestmark = pytest.mark.kafka


class Pair(NamedTuple):
    sink: KafkaSink
    store: KafkaStore

    def deliver(self, events: list[Event]) -> None:
        """As the pipeline does, up to a checkpoint that counts the last of them."""
        self.sink.write(batch(events))
        self.sink.flush()
        self.save(events[-1].id[1])

    def save(self, order: int) -> None:
        self.store.save("shop", Position(order, str(order), "{}"), {})

    def stored(self) -> int:
        """The number of the last change that counts as delivered, -1 for none."""
        offset = self.store.load("shop")
        return offset.position.order if offset else -1


def place(kafka: Kafka) -> KafkaStoreConfig:
    return KafkaStoreConfig(type="kafka", bootstrap_servers=kafka.bootstrap, topic=f"{kafka.prefix}_offsets")


@contextmanager
def joined(kafka: Kafka, **keys: object) -> Iterator[Pair]:
    """As the worker opens them."""
    sink_config = KafkaConfig.model_validate({"bootstrap_servers": kafka.bootstrap, "exactly_once": True, **keys})
    with closing(KafkaStore(place(kafka), producer=sink_config.transactional())) as store:
        store.hold("shop")
        with closing(KafkaSink(sink_config, SCHEMAS)) as sink:
            sink.join(store.transactions("shop"))
            sink.open()
            yield Pair(sink, store)


@pytest.fixture
def orders(kafka: Kafka) -> str:
    name = f"{kafka.prefix}_orders"
    kafka.create_topic(name)
    return name


def test_events_are_seen_when_their_offset_is_saved_and_not_before(kafka: Kafka, orders: str) -> None:
    with joined(kafka) as pair:
        pair.sink.write(batch(changes(orders, range(10))))
        pair.sink.flush()
        assert numbers(kafka.read(orders, "read_uncommitted")) == list(range(10))
        assert kafka.read(orders) == []
        pair.save(9)
        assert numbers(kafka.read(orders)) == list(range(10))


def test_events_without_an_offset_are_taken_back(kafka: Kafka, orders: str) -> None:
    with joined(kafka) as pair:
        pair.deliver(changes(orders, range(10)))
        pair.sink.write(batch(changes(orders, range(10, 20))))
        pair.sink.flush()
    with joined(kafka) as pair:
        assert pair.stored() == 9
        pair.deliver(changes(orders, range(10, 20)))
    assert numbers(kafka.read(orders)) == list(range(20))
    assert len(kafka.read(orders, "read_uncommitted")) == 30


def test_an_offset_may_be_saved_without_events(kafka: Kafka) -> None:
    with joined(kafka) as pair:
        pair.save(1)
        pair.save(2)
        assert pair.stored() == 2


def test_what_a_runner_writes_that_was_taken_for_dead_is_seen_by_nobody(kafka: Kafka, orders: str) -> None:
    with joined(kafka) as zombie:
        zombie.deliver(changes(orders, range(10)))
        zombie.sink.write(batch(changes(orders, range(10, 20))))
        zombie.sink.flush()
        with closing(KafkaStore(place(kafka))) as heir:
            heir.transactions("shop")  # as if nobody had been seen
            with pytest.raises(Fenced, match=r"taken over by pid \d+ on host"):
                for _ in range(1000):
                    zombie.sink.write(batch(changes(orders, range(20, 30))))
                    zombie.sink.flush()
    assert numbers(kafka.read(orders)) == list(range(10))


@pytest.mark.parametrize("alone", [1000, 3])
def test_an_event_that_is_refused_for_good_is_found_and_the_others_are_seen_once(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, alone: int
) -> None:
    monkeypatch.setattr("sinks.kafka.ALONE_AFTER_REFUSAL", alone)
    small = f"{kafka.prefix}_small"
    kafka.create_topic(small, max_message_bytes="1500")
    events = changes(small, range(30))
    events[20] = events[20]._replace(value=Random(1).randbytes(10_000))
    refused: list[Event] = []
    retries = 0
    for _ in range(5):
        try:
            with joined(kafka, settings={"batch.size": 1000}) as pair:
                write_all(pair, [event for event in events if event.id[1] > pair.stored()], refused)
            break
        except SinkUnavailable as error:
            assert "delivered again one by one" in error.hint
            retries += 1
    assert [event.id for event in refused] == [events[20].id]
    assert retries >= 1
    assert numbers(kafka.read(small)) == [n for n in range(30) if n != 20]


def test_a_copied_row_is_not_taken_for_another_of_its_place_and_size_that_was_refused(kafka: Kafka) -> None:
    small = f"{kafka.prefix}_small"
    kafka.create_topic(small, max_message_bytes="1500")
    large, shrinks = (
        change(small, n, f"row {n}".encode(), value)._replace(id=(7, 1))
        for n, value in enumerate((Random(1).randbytes(10_000), bytes(10_000)))
    )
    refused: list[Event] = []
    with suppress(SinkUnavailable), joined(kafka, settings={"batch.size": 1000}) as pair:
        write_all(pair, [large], refused)
    with joined(kafka, settings={"batch.size": 1000}) as pair:
        write_all(pair, [shrinks, large], refused)
    assert refused == [large]
    assert [record.key for record in kafka.read(small)] == [shrinks.key]


def test_a_copied_row_that_is_refused_is_found_though_it_is_read_again_at_another_place(kafka: Kafka) -> None:
    small = f"{kafka.prefix}_small"
    kafka.create_topic(small, max_message_bytes="1500")
    large = Random(1).randbytes(10_000)
    refused: list[Event] = []
    rounds = 0
    while not refused and rounds < 5:
        rounds += 1
        copied = [
            change(small, n, f"row {n}".encode(), value + f"at {rounds}".encode())._replace(id=(rounds, n))
            for n, value in enumerate((b"first", large, b"last"))
        ]
        with suppress(SinkUnavailable), joined(kafka, settings={"batch.size": 1000}) as pair:
            write_all(pair, copied, refused)
    assert [event.key for event in refused] == [b"row 1"]
    assert [record.key for record in kafka.read(small)] == [b"row 0", b"row 2"]


def test_a_row_that_was_refused_and_is_small_now_is_delivered(kafka: Kafka) -> None:
    small = f"{kafka.prefix}_small"
    kafka.create_topic(small, max_message_bytes="1500")
    large = change(small, 0, b"row", Random(1).randbytes(10_000))
    now = change(small, 1, b"row", bytes(10_000))
    refused: list[Event] = []
    with suppress(SinkUnavailable), joined(kafka, settings={"batch.size": 1000}) as pair:
        write_all(pair, [large], refused)
    with joined(kafka, settings={"batch.size": 1000}) as pair:
        write_all(pair, [large], refused)
        write_all(pair, [now], refused)
        write_all(pair, [large._replace(id=(9, 9), value=large.value[:500] if large.value else None)], refused)
    assert refused == [large]
    assert len(kafka.read(small)) == 2


def write_all(pair: Pair, events: list[Event], refused: list[Event]) -> None:
    """What is rejected is put aside, as `errors.rejected` may say."""
    rest = events
    while rest:
        try:
            pair.sink.write(batch(rest))
            rest = []
        except Rejected as rejected:
            refused.append(rejected.event)
            rest = rest[rest.index(rejected.event) + 1 :]
    pair.sink.flush()
    pair.save(events[-1].id[1])


class Load:
    """Delivers changes from 0 on until it is ended; after an error that is worth it anew, from the stored offset."""

    def __init__(self, kafka: Kafka, topic: str, **keys: object) -> None:
        self.count = 0
        self.error: BaseException | None = None
        self._kafka = kafka
        self._topic = topic
        self._keys = keys
        self._ending = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.count > 1000, "delivery is under way")

    def _run(self) -> None:
        while not self._ending and self.error is None:
            try:
                with joined(self._kafka, **self._keys) as pair:
                    self._deliver(pair)
            except (SinkError, OffsetError) as error:
                self.error = None if error.retryable else error

    def _deliver(self, pair: Pair) -> None:
        at = pair.stored() + 1
        while not self._ending:
            for first in range(at, at + 500, 100):
                pair.sink.write(batch(changes(self._topic, range(first, first + 100))))
            pair.sink.flush()
            pair.save(at + 499)
            at += 500
            self.count = at

    def go_on(self) -> None:
        count = self.count
        until(lambda: self.error or self.count > count + 2000, "delivery goes on", timeout_s=120)
        assert self.error is None

    def end(self) -> int:
        """How many changes were delivered."""
        self._ending = True
        self._thread.join()
        return int(until(self._stored, "brokers that came back have freed the place of a runner before"))

    def _stored(self) -> int:
        with suppress(SinkError, OffsetError), joined(self._kafka, **self._keys) as pair:
            return pair.stored() + 1
        return 0


def test_a_broker_killed_in_its_transactions_lets_each_event_be_seen_once(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders", partitions=3)
    load = Load(kafka, "orders", settings={"batch.size": 5000})
    for _ in range(2):
        kafka.server.kill()
        kafka.server.start()
        load.go_on()
    count = load.end()
    records = kafka.read("orders")
    assert by_key(records) == committed(count)
    assert len(records) == count


def test_leaders_that_change_in_transactions_let_each_event_be_seen_once(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(3, "min.insync.replicas=2", "default.replication.factor=3")
    kafka.create_topic("orders", partitions=3, replication=3)
    load = Load(kafka, "orders", settings={"batch.size": 5000})
    for nth in range(2):
        node = kafka.server.nodes[kafka.leader("orders", nth) - 1]
        node.kill()
        load.go_on()
        node.start()
        until(lambda: len(kafka.in_sync("orders")) == 3, "the broker has caught up")
    count = load.end()
    records = kafka.read("orders")
    assert by_key(records) == committed(count)
    assert len(records) == count


def test_a_transaction_that_is_open_for_too_long_is_told_and_delivered_by_the_next(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(1, "transaction.abort.timed.out.transaction.cleanup.interval.ms=200")
    kafka.create_topic("orders")
    with joined(kafka, transaction_timeout_s=2) as pair:
        pair.deliver([change("orders", 0)])
        pair.sink.write(batch([change("orders", 1)]))
        pair.sink.flush()
        with pytest.raises(OffsetError, match=r"open for \d+ s; 2 s are allowed") as ended:
            while True:
                pair.sink.write(batch([change("orders", 1)]))
                pair.sink.flush()
        assert ended.value.retryable
    with joined(kafka, transaction_timeout_s=2) as pair:
        pair.deliver(changes("orders", range(pair.stored() + 1, 3)))
    assert numbers(kafka.read("orders")) == [0, 1, 2]


def test_a_limit_that_the_brokers_do_not_allow_is_a_mistake_of_the_file(kafka: Kafka) -> None:
    with (
        pytest.raises(OffsetError, match=r"max.transaction.timeout.ms") as refused,
        joined(kafka, transaction_timeout_s=100_000),
    ):
        pass
    assert not refused.value.retryable
    assert "transaction.max.timeout.ms" in refused.value.hint
