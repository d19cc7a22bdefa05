"""A protected cluster lets in and refuses as tests/kafka_security.py says."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from tests.certificates import Authority
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import ACLS, add_user, allow, passwords, tls, tokens, withdraw
from tests.kafka_servers import OwnKafka
from tests.servers import until

pytestmark = pytest.mark.kafka

PLAINTEXT_SCRAM = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"}


def writes(kafka: OwnKafka, topic: str, **settings: Any) -> bool:
    """Whether the topic takes an event over the protected listener from a client of these settings."""
    protected = {"bootstrap.servers": kafka.server.clients_bootstrap, "message.timeout.ms": 5000, **settings}
    try:
        kafka.produce(topic, (b"a", b"1"), **protected)
    except KafkaException:
        return False
    return True


def test_a_password_is_asked_for_and_a_rule(own_kafka: OwnKafkaFactory) -> None:
    kafka = own_kafka(1, *passwords("SCRAM-SHA-512"), *ACLS, clients="SASL_PLAINTEXT")
    kafka.create_topic("orders")
    add_user(kafka, "shop", "secret", "SCRAM-SHA-512")
    known = {**PLAINTEXT_SCRAM, "sasl.username": "shop", "sasl.password": "secret"}
    assert not writes(kafka, "orders", **{**known, "sasl.password": "wrong"})
    assert not writes(kafka, "orders", **known)
    allow(kafka, "shop", "topic", "orders", "WRITE", "DESCRIBE")
    assert writes(kafka, "orders", **known)
    withdraw(kafka, "shop", "topic", "orders", "WRITE")
    until(lambda: not writes(kafka, "orders", **known), "the rule is gone")


def test_a_certificate_is_shown_and_asked_for(own_kafka: OwnKafkaFactory, tmp_path: Path) -> None:
    ours = Authority.make(tmp_path / "ours")
    ours.sign("server", "127.0.0.1")
    ours.sign("shop", "shop")
    kafka = own_kafka(1, *tls(ours.folder, ask_clients=True), *ACLS, clients="SSL")
    kafka.create_topic("orders")
    allow(kafka, "CN=shop", "topic", "orders", "WRITE", "DESCRIBE")
    known = {"security.protocol": "SSL", "ssl.ca.location": str(ours.folder / "ca.pem")}
    proof = {
        "ssl.certificate.location": str(ours.folder / "shop.pem"),
        "ssl.key.location": str(ours.folder / "shop-key.pem"),
    }
    assert not writes(kafka, "orders", **known)
    assert writes(kafka, "orders", **known, **proof)


def test_a_password_and_a_token_are_taken_over_tls(own_kafka: OwnKafkaFactory, tmp_path: Path) -> None:
    ours = Authority.make(tmp_path / "ours")
    ours.sign("server", "127.0.0.1")
    kafka = own_kafka(1, *tls(ours.folder), *passwords("PLAIN", shop="secret"), clients="SASL_SSL")
    kafka.create_topic("orders")
    encrypted = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(ours.folder / "ca.pem")}
    password = {"sasl.mechanism": "PLAIN", "sasl.username": "shop", "sasl.password": "secret"}
    assert writes(kafka, "orders", **encrypted, **password)
    kafka.server.stop()
    kafka.server.settings += tokens()
    kafka.server.start()
    token = {
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.config": "principal=shop",
        "enable.sasl.oauthbearer.unsecure.jwt": True,
    }
    assert not writes(kafka, "orders", **encrypted, **password)
    assert writes(kafka, "orders", **encrypted, **token)
