"""What a connector file may say of the Kafka sink; no broker is asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from sinks.kafka_config import KafkaConfig


def config(**keys: Any) -> KafkaConfig:
    return KafkaConfig.model_validate({"bootstrap_servers": "127.0.0.1:9092", **keys})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"acks": 1}, "acks cannot be set: an event would count as delivered before"),
        ({"enable.idempotence": False}, "enable.idempotence cannot be set"),
        ({"message.timeout.ms": 1000}, "sink.delivery_timeout_s"),
        ({"max.in.flight": 6}, "max.in.flight is 6: a retry could change the order; accepted: 1 to 5"),
        ({"transactional.id": "a"}, "transactional.id cannot be set"),
        ({"sasl.password": "secret"}, "accepted: sink.sasl.password"),
        ({"compression.type": "none"}, "accepted: sink.compression"),
        ({"batch.size": "big"}, "accepted: a number of bytes"),
    ],
)
def test_a_setting_that_would_break_the_promise_is_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(settings=settings)


def test_other_settings_reach_librdkafka_and_the_promise_stays() -> None:
    producer = config(settings={"linger.ms": 50, "max.in.flight": 1, "partitioner": "murmur2"}).producer()
    assert (producer["linger.ms"], producer["max.in.flight"], producer["partitioner"]) == (50, 1, "murmur2")
    assert (producer["acks"], producer["enable.idempotence"], producer["message.timeout.ms"]) == ("all", True, 0)


def test_a_setting_that_is_not_one_value_is_refused_in_one_line() -> None:
    with pytest.raises(ValidationError, match="accepted: a text, a number, true or false") as error:
        config(settings={"linger.ms": [5]})
    assert error.value.error_count() == 1


@pytest.mark.parametrize("servers", ["broker", "broker:", "a:1 b:2", "", "kafka://a:1", "a:0", "a:1,b:99999"])
def test_bootstrap_servers_are_hosts_with_ports(servers: str) -> None:
    with pytest.raises(ValidationError):
        config(bootstrap_servers=servers)


@pytest.mark.parametrize(
    ("keys", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"bootstrap_servers": "localhost:9092, [::1]:9092"}, "PLAINTEXT"),
        ({"bootstrap_servers": "localhost:9092,broker:9092"}, "SSL"),
        ({"bootstrap_servers": "broker:9092", "tls": {"mode": "disable"}}, "PLAINTEXT"),
        ({"tls": {"mode": "require"}}, "SSL"),
        ({"sasl": {"mechanism": "PLAIN", "user": "shop", "password": "p"}}, "SASL_PLAINTEXT"),
        (
            {"bootstrap_servers": "b:1", "sasl": {"mechanism": "SCRAM-SHA-512", "user": "shop", "password": "p"}},
            "SASL_SSL",
        ),
    ],
)
def test_brokers_elsewhere_are_reached_with_tls_unless_it_is_disabled(keys: dict[str, Any], protocol: str) -> None:
    assert config(**keys).client()["security.protocol"] == protocol


@pytest.mark.parametrize(
    ("sasl", "said"),
    [
        ({"mechanism": "PLAIN", "user": "shop"}, "password: missing"),
        ({"user": "shop"}, "mechanism: missing"),
        ({"mechanism": "OAUTHBEARER", "token_url": "https://login/token"}, "client_id, client_secret: missing"),
    ],
)
def test_a_mechanism_says_what_it_needs(sasl: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(sasl=sasl)


def test_what_would_never_connect_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(ValidationError, match=r"sasl.token_url: missing; accepted: where OAUTHBEARER asks"):
        config(sasl={"mechanism": "OAUTHBEARER"})
    with pytest.raises(ValidationError, match=r"key: missing; accepted: both or neither of cert and key"):
        config(tls={"cert": "shop.pem"})


def test_how_topics_are_made_is_only_for_topics_that_are_made() -> None:
    with pytest.raises(ValidationError, match=r'cleanup, partitions: only .* "create": true'):
        config(topics={"partitions": 3, "cleanup": "compact"})


def test_no_secret_is_shown() -> None:
    shown = repr(
        config(sasl={"mechanism": "PLAIN", "user": "shop", "password": "hidden"}, tls={"key_password": "dark"})
    )
    assert "hidden" not in shown
    assert "dark" not in shown
