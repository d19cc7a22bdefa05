"""The Kafka sink while brokers die, hang and refuse; a real consumer judges."""

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import pytest

from schema.event import Event
from sinks.errors import SinkMisconfigured, SinkRefused, SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.certificates import Authority
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import ACLS, Scram, add_user, allow, passwords, tls, tokens, withdraw
from tests.kafka_servers import Node
from tests.servers import until
from tests.sinks.events import SCHEMAS, batch
from tests.sinks.kafka import by_key, change, changes, committed, numbers, opened

pytestmark = pytest.mark.kafka


def once(seen: Sequence[int]) -> bool:
    return len(seen) == len(set(seen))


class Load:
    """Delivers changes of one topic, from 0 on, until `end`; as the pipeline does: what a flush returned for is done,
    after an error the rest is written again to a new sink."""

    def __init__(self, bootstrap: str, topic: str, **keys: Any) -> None:
        self.opens = 0
        self.count = 0
        self._bootstrap = bootstrap
        self._topic = topic
        self._keys = keys
        self._ending = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.count > 1000, "delivery is under way")

    def _run(self) -> None:
        while not self._ending:
            with suppress(SinkUnavailable):
                self._deliver()

    def _deliver(self) -> None:
        sink = KafkaSink(KafkaConfig(bootstrap_servers=self._bootstrap, **self._keys), SCHEMAS)
        try:
            sink.open()
            self.opens += 1
            while not self._ending:
                for at in range(self.count, self.count + 500, 100):
                    sink.write(batch(changes(self._topic, range(at, at + 100))))
                sink.flush()
                self.count += 500
                time.sleep(0.05)
        finally:
            sink.close()

    def goes_on(self) -> None:
        delivered = self.count
        until(lambda: self.count > delivered + 2000, "delivery goes on")

    def end(self) -> int:
        """How many changes were delivered."""
        self._ending = True
        self._thread.join()
        return self.count


def deliver(bootstrap: str, *events: Event, **keys: Any) -> None:
    sink = opened(bootstrap, **keys)
    sink.write(batch(events))
    sink.flush()
    sink.close()


def test_a_broker_killed_under_load_loses_nothing_and_keeps_the_order_of_each_key(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders", partitions=3)
    load = Load(kafka.bootstrap, "orders", settings={"batch.size": 5000})
    for _ in range(2):
        kafka.server.kill()
        kafka.server.start()
        load.goes_on()
    count = load.end()
    records = kafka.read("orders")
    assert by_key(records) == committed(count)
    assert load.opens == 1
    assert once(numbers(records))


def test_leaders_that_die_go_and_come_back_under_load_change_no_order_and_make_no_doubles(
    own_kafka: OwnKafkaFactory,
) -> None:
    kafka = own_kafka(3, "min.insync.replicas=2")
    kafka.create_topic("orders", partitions=3, replication=3)
    load = Load(kafka.bootstrap, "orders", settings={"batch.size": 5000})
    for end in (Node.kill, Node.stop, Node.kill):
        leader = kafka.leader("orders")
        node = kafka.server.nodes[leader - 1]
        end(node)
        until(lambda: kafka.leader("orders") not in (-1, leader), "another leads")  # noqa: B023 (called at once)
        load.goes_on()
        node.start()
        until(lambda: all(len(kafka.in_sync("orders", n)) == 3 for n in range(3)), "all have everything")
        kafka.lead_again("orders", 3)  # a change of leader while none is missing
        load.goes_on()
    count = load.end()
    records = kafka.read("orders")
    assert by_key(records) == committed(count)
    assert load.opens == 1
    assert once(numbers(records))


def test_a_broker_frozen_beyond_the_request_timeout_gets_each_event_once(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders", partitions=3)
    load = Load(kafka.bootstrap, "orders", settings={"request.timeout.ms": 1000, "socket.timeout.ms": 1000})
    kafka.server.signal(signal.SIGSTOP)
    time.sleep(4)  # several requests time out
    kafka.server.signal(signal.SIGCONT)
    load.goes_on()
    count = load.end()
    records = kafka.read("orders")
    assert by_key(records) == committed(count)
    assert load.opens == 1
    assert once(numbers(records))


def test_a_topic_is_met_first_after_its_broker_was_restarted(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders")
    kafka.create_topic("items")
    sink = opened(kafka.bootstrap)
    sink.write(batch([change("orders", 1)]))
    sink.flush()
    kafka.server.kill()
    kafka.server.start()
    sink.write(batch([change("items", 2), change("orders", 3)]))
    sink.flush()
    sink.close()
    assert numbers(kafka.read("orders")) == [1, 3]
    assert numbers(kafka.read("items")) == [2]


def test_a_broker_that_stays_away_is_named_within_the_delivery_timeout(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka()
    kafka.create_topic("orders")
    sink = opened(kafka.bootstrap, delivery_timeout_s=1)
    sink.write(batch([change("orders", 1)]))
    sink.flush()
    kafka.server.kill()
    sink.write(batch([change("orders", 2)]))
    with pytest.raises(SinkUnavailable, match=f"no Kafka broker of {kafka.bootstrap} answers: .*refused") as error:
        sink.flush()
    sink.close()
    assert error.value.hint.startswith("start the brokers")
    with pytest.raises(SinkUnavailable):
        opened(kafka.bootstrap)
    kafka.server.start()
    deliver(kafka.bootstrap, change("orders", 2))
    assert numbers(kafka.read("orders")) == [1, 2]


def test_a_password_and_the_right_to_write_are_asked_for_over_tls(own_kafka: OwnKafkaFactory, tmp_path: Path) -> None:
    ours, others = Authority.make(tmp_path / "ours"), Authority.make(tmp_path / "others")
    ours.sign("server", "127.0.0.1")
    settings = [*tls(ours.folder), *passwords("PLAIN", shop="secret"), *ACLS]
    kafka = own_kafka(1, *settings, clients="SASL_SSL")
    kafka.create_topic("orders")
    address = kafka.server.clients_bootstrap
    right = {"mode": "verify-full", "ca": ours.folder / "ca.pem"}
    shop = {"mechanism": "PLAIN", "user": "shop", "password": "secret"}

    with pytest.raises(SinkMisconfigured, match=r"TLS with Kafka .* failed: .*certificate verify failed") as error:
        opened(address, tls={**right, "ca": others.folder / "ca.pem"}, sasl=shop)
    assert "sink.tls" in error.value.hint
    with pytest.raises(SinkUnavailable, match="no Kafka broker") as silent:
        opened(address, sasl=shop)
    assert "sink.tls" in silent.value.hint
    with pytest.raises(SinkRefused, match=r"does not accept who we are: .*Authentication failed") as refused:
        opened(address, tls=right, sasl={**shop, "password": "wrong"})
    assert "sink.sasl" in refused.value.hint
    assert "secret" not in str(refused.value)

    sink = opened(address, tls=right, sasl=shop)
    with pytest.raises(SinkUnavailable, match="may not write to the topic orders") as forbidden:
        sink.write(batch([change("orders", 1)]))
    sink.close()
    assert "--operation Write --operation Describe --topic orders" in forbidden.value.hint
    allow(kafka, "shop", "topic", "orders", "WRITE", "DESCRIBE")
    deliver(address, *changes("orders", range(100)), tls=right, sasl=shop)
    assert by_key(kafka.read("orders")) == committed(100)


@pytest.mark.parametrize("mechanism", get_args(Scram))
def test_the_right_to_write_may_be_taken_away_and_given_back(own_kafka: OwnKafkaFactory, mechanism: Scram) -> None:
    kafka = own_kafka(1, *passwords(mechanism), *ACLS, clients="SASL_PLAINTEXT")
    kafka.create_topic("orders", partitions=3)
    add_user(kafka, "shop", "secret", mechanism)
    allow(kafka, "shop", "topic", "orders", "WRITE", "DESCRIBE")
    sasl = {"mechanism": mechanism, "user": "shop", "password": "secret"}
    address = kafka.server.clients_bootstrap
    sink = opened(address, sasl=sasl)
    sink.write(batch(changes("orders", range(100))))
    sink.flush()
    withdraw(kafka, "shop", "topic", "orders", "WRITE")
    later = changes("orders", range(100, 5000))
    with pytest.raises(SinkUnavailable, match="may not write to the topic orders"):
        for at in range(0, len(later), 10):
            sink.write(batch(later[at : at + 10]))
            sink.flush()
    sink.close()
    assert numbers(kafka.read("orders")) != []
    allow(kafka, "shop", "topic", "orders", "WRITE")
    deliver(address, *later, sasl=sasl)
    assert by_key(kafka.read("orders")) == committed(5000)


def test_a_certificate_proves_who_we_are(own_kafka: OwnKafkaFactory, tmp_path: Path) -> None:
    ours = Authority.make(tmp_path / "ours")
    ours.sign("server", "elsewhere")
    ours.sign("shop", "shop")
    kafka = own_kafka(1, *tls(ours.folder, ask_clients=True), clients="SSL")
    kafka.create_topic("orders")
    address = kafka.server.clients_bootstrap
    shown = {"ca": ours.folder / "ca.pem", "cert": ours.folder / "shop.pem", "key": ours.folder / "shop-key.pem"}
    with pytest.raises(SinkMisconfigured, match="certificate verify failed"):
        opened(address, tls={"mode": "verify-full", **shown})
    with pytest.raises(SinkUnavailable, match="no Kafka broker"):
        opened(address, tls={"mode": "verify-ca", "ca": ours.folder / "ca.pem"})
    deliver(address, change("orders", 1), tls={"mode": "verify-ca", **shown})
    assert numbers(kafka.read("orders")) == [1]


def test_a_token_proves_who_we_are(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(1, *tokens(), clients="SASL_PLAINTEXT")
    kafka.create_topic("orders")
    settings = {"enable.sasl.oauthbearer.unsecure.jwt": True, "sasl.oauthbearer.config": "principal=shop"}
    address = kafka.server.clients_bootstrap
    deliver(address, change("orders", 1), sasl={"mechanism": "OAUTHBEARER"}, settings=settings)
    assert numbers(kafka.read("orders")) == [1]
    with pytest.raises(SinkRefused, match="does not accept who we are"):
        opened(address, sasl={"mechanism": "PLAIN", "user": "shop", "password": "secret"})
