"""Offsets in Kafka: transactions that end in every way, brokers that go, and runners that were taken for dead."""

import json
from collections.abc import Iterator
from contextlib import closing
from threading import Event, Thread
from typing import Any

import pytest

from offsets import kafka_kept
from offsets.errors import Fenced, OffsetError, OffsetStoreFailed, OffsetStoreMisconfigured, OffsetStoreRefused
from offsets.history import SAMPLES_KEPT_MS
from offsets.kafka import KafkaStore
from offsets.kafka_config import KafkaStoreConfig
from offsets.kafka_kept import SAMPLES_TOGETHER, Kept
from offsets.position import Offset, Position
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import ACLS, add_user, allow, passwords
from tests.kafka_servers import Kafka, OwnKafka
from tests.servers import until

LOG = '{"system": "1", "slot": "s"}'
LIMIT_S = 2
ENDS_SOON = "transaction.abort.timed.out.transaction.cleanup.interval.ms=200"


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}", LOG)


def config(kafka: Kafka, **keys: Any) -> KafkaStoreConfig:
    section = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}_offsets", **keys}
    return KafkaStoreConfig.model_validate(section)


@pytest.fixture
def place(kafka: Kafka) -> KafkaStoreConfig:
    return config(kafka)


def half_saved(store: KafkaStore, connector: str, order: int, topic: str) -> None:
    """A save without its commit, as a process leaves it that is killed at that moment."""
    transactions = store.transactions(connector)
    transactions.begin()
    stored = {**at(order)._asdict(), "saved_at_ms": 0}
    key = kafka_kept.key(connector, ("offset",))
    transactions.produce(topic, key, json.dumps(stored).encode())
    transactions.producer.flush()


class Saves:
    """Saves growing offsets until it is ended; as a worker does, with a new store after an error worth a retry."""

    def __init__(self, place: KafkaStoreConfig) -> None:
        self.saved = 0
        self.error: BaseException | None = None
        self._place = place
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.saved > 3, "offsets are saved")

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                with closing(KafkaStore(self._place)) as store:
                    self._save(store)
            except OffsetError as error:
                if not error.retryable:
                    self.error = error
                    return

    def _save(self, store: KafkaStore) -> None:
        store.hold("shop")
        found = store.load("shop")
        assert (found.position.order if found else 0) >= self.saved, "a save that returned is gone"
        order = max(found.position.order if found else 0, self.saved)
        while not self._end.is_set():
            order += 1
            store.save("shop", at(order), {"public.orders": str(order)})
            self.saved = order

    def go_on(self) -> None:
        saved = self.saved
        until(lambda: self.error or self.saved > saved + 5, "saving goes on", timeout_s=120)
        assert self.error is None

    def end(self) -> int:
        self._end.set()
        self._thread.join()
        return self.saved


@pytest.mark.kafka
def test_a_runner_that_was_taken_for_dead_is_refused_at_its_next_save(place: KafkaStoreConfig) -> None:
    with closing(KafkaStore(place)) as zombie, closing(KafkaStore(place)) as heir:
        zombie.hold("shop")
        zombie.save("shop", at(100), {})
        heir._writer("shop")  # as if nobody had been seen
        assert heir.load("shop") == Offset(at(100), {})
        with pytest.raises(Fenced, match=r"connector shop was taken over by pid \d+ on host .*, says kafka") as fenced:
            zombie.save("shop", at(200), {})
        assert not fenced.value.retryable
        heir.save("shop", at(150), {})
    with closing(KafkaStore(place)) as later:
        assert later.load("shop") == Offset(at(150), {})


@pytest.mark.kafka
def test_a_save_that_was_cut_off_never_happened(place: KafkaStoreConfig) -> None:
    killed = KafkaStore(place)
    killed.save("shop", at(100), {"public.orders": "1"})
    half_saved(killed, "shop", 200, place.topic)
    with closing(KafkaStore(place)) as store:
        store.hold("shop")
        assert store.load("shop") == Offset(at(100), {"public.orders": "1"})
        store.save("shop", at(300), {})
        assert store.load("shop") == Offset(at(300), {"public.orders": "1"})
    killed.close()


@pytest.mark.kafka
def test_what_another_connector_left_open_is_waited_for_and_named(
    place: KafkaStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(KafkaStore(place)) as killed, closing(KafkaStore(place)) as store:
        store.save("shop", at(1), {})
        half_saved(killed, "crm", 1, place.topic)
        store.save("shop", at(2), {})
        monkeypatch.setattr("offsets.kafka_topic.PATIENCE_S", 0.5)
        with closing(KafkaStore(place)) as reader:
            with pytest.raises(OffsetStoreFailed, match="left a transaction open") as late:
                reader.load("shop")
            assert late.value.retryable
            killed.close()
            monkeypatch.undo()
            assert reader.load("shop") == Offset(at(2), {})


@pytest.mark.kafka
def test_a_topic_that_would_forget_offsets_or_mix_their_order_is_refused(kafka: Kafka) -> None:
    kafka.create_topic(f"{kafka.prefix}_old", cleanup_policy="delete")
    with pytest.raises(OffsetStoreMisconfigured, match="would forget offsets") as refused:
        KafkaStore(config(kafka, topic=f"{kafka.prefix}_old"))
    assert f"kafka-configs --bootstrap-server {kafka.bootstrap} --alter" in refused.value.hint
    kafka.create_topic(f"{kafka.prefix}_wide", partitions=2, cleanup_policy="compact")
    with pytest.raises(OffsetStoreMisconfigured, match="2 partitions"):
        KafkaStore(config(kafka, topic=f"{kafka.prefix}_wide"))


@pytest.mark.kafka
def test_a_transaction_that_lasted_too_long_is_told_from_one_that_was_taken_over(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(1, ENDS_SOON)
    place = config(kafka)
    with closing(KafkaStore(place, producer={**place.producer(), "transaction.timeout.ms": LIMIT_S * 1000})) as store:
        store.save("shop", at(1), {})
        half_saved(store, "shop", 2, place.topic)
        with closing(KafkaStore(place)) as reader:
            until(lambda: reader.load("shop"), "the brokers end it")  # which `load` waits for
        with pytest.raises(OffsetStoreFailed, match=rf"open for \d+ s; {LIMIT_S} s are allowed") as ended:
            store.save("shop", at(3), {})
        assert ended.value.retryable
        assert "sink.transaction_timeout_s" in ended.value.hint
    with closing(KafkaStore(place)) as later:
        assert later.load("shop") == Offset(at(1), {})


@pytest.mark.kafka
def test_a_broker_that_is_killed_makes_saves_wait_and_loses_none_that_returned(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    saves = Saves(config(kafka))
    for _ in range(2):
        kafka.server.kill()
        kafka.server.start()
        saves.go_on()
    saved = saves.end()
    with closing(KafkaStore(config(kafka))) as store:
        assert store.load("shop") == Offset(at(saved), {"public.orders": str(saved)})


@pytest.mark.kafka
def test_saves_go_on_while_leaders_change(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(3, "min.insync.replicas=2")
    place = config(kafka, replication=3)
    saves = Saves(place)
    for _ in range(2):
        leader = kafka.leader(place.topic)
        kafka.server.nodes[leader - 1].kill()
        saves.go_on()
        kafka.server.nodes[leader - 1].start()
        until(lambda: len(kafka.in_sync(place.topic)) == 3, "the broker has caught up")
    saved = saves.end()
    with closing(KafkaStore(place)) as store:
        assert store.load("shop") == Offset(at(saved), {"public.orders": str(saved)})


@pytest.fixture
def guarded(own_kafka: OwnKafkaFactory) -> Iterator[tuple[OwnKafka, KafkaStoreConfig]]:
    kafka = own_kafka(1, *passwords("SCRAM-SHA-512"), *ACLS, clients="SASL_PLAINTEXT")
    add_user(kafka, "ops", "secret", "SCRAM-SHA-512")
    sasl = {"mechanism": "SCRAM-SHA-512", "user": "ops", "password": "secret"}
    yield kafka, config(kafka, topic="tailrace-offsets", bootstrap_servers=kafka.server.clients_bootstrap, sasl=sasl)


@pytest.mark.kafka
def test_the_rights_of_the_documentation_are_enough_and_each_that_lacks_is_said(
    guarded: tuple[OwnKafka, KafkaStoreConfig],
) -> None:
    kafka, place = guarded
    with pytest.raises(OffsetStoreRefused, match="authorization"):
        KafkaStore(place)
    allow(kafka, "ops", "topic", "tailrace-offsets", "DESCRIBE")
    with pytest.raises(OffsetStoreRefused, match="may not make it") as refused:
        KafkaStore(place)
    assert "--config cleanup.policy=compact" in refused.value.hint
    kafka.create_topic("tailrace-offsets", cleanup_policy="compact")
    allow(kafka, "ops", "topic", "tailrace-offsets", "READ", "WRITE")
    with closing(KafkaStore(place)) as store, pytest.raises(OffsetStoreRefused, match="authorization") as refused:
        store.hold("shop")
    assert "docs/offset-stores.md" in refused.value.hint
    allow(kafka, "ops", "group", "tailrace-offsets-shop", "READ", "DESCRIBE")
    with closing(KafkaStore(place)) as store, pytest.raises(OffsetStoreRefused, match="authorization"):
        store.hold("shop")
    allow(kafka, "ops", "transactional_id", "tailrace-shop", "WRITE", "DESCRIBE")
    with closing(KafkaStore(place)) as store:
        store.hold("shop")
        store.save("shop", at(1), {})
        assert store.load("shop") == Offset(at(1), {})


def test_samples_lie_sixty_together_and_those_that_are_too_old_are_forgotten() -> None:
    kept = Kept()
    written: dict[kafka_kept.Place, Any] = {}
    for minute in range(3 * SAMPLES_TOGETHER):
        for put in kept.save(at(minute), {}, minute * 60_000, sample=True):
            kept.take(put)
            written[put.place] = put.value
    assert [place for place in written if place[0] == "samples"] == [("samples", n) for n in range(3)]
    now_ms = SAMPLES_KEPT_MS + (SAMPLES_TOGETHER + 30) * 60_000
    for put in kept.save(at(1000), {}, now_ms, sample=True):
        kept.take(put)
        written[put.place] = put.value
    assert written["samples", 0] is None
    assert written["samples", 1] is not None
    assert kept.position_at(100 * 60_000, now_ms) == at(100)
    assert kept.position_at(10 * 60_000, now_ms) is None


@pytest.mark.kafka
def test_what_another_program_wrote_is_not_taken_for_an_offset(kafka: Kafka) -> None:
    place = config(kafka)
    with closing(KafkaStore(place)) as store:
        kafka.produce(place.topic, (b"key", b"value"))
        with pytest.raises(OffsetError, match="holds something else") as unreadable:
            store.load("shop")
    assert "offsets.topic" in unreadable.value.hint
