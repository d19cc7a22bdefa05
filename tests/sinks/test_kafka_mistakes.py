"""A connector file that is wrong about its cluster: each mistake is told in a sentence, with what to do in another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from offsets.errors import OffsetStoreFailed, OffsetStoreMisconfigured
from offsets.kafka_config import KafkaStoreConfig
from offsets.kafka_topic import OffsetTopic
from sinks.errors import SinkError, SinkMisconfigured, SinkRefused, SinkUnavailable
from tests.certificates import Authority
from tests.kafka_security import passwords, tls
from tests.kafka_servers import LocalKafka
from tests.registry_servers import Registry
from tests.sinks.kafka import opened

pytestmark = pytest.mark.kafka


class Guarded(NamedTuple):
    """A broker with an open listener, and one that wants TLS and a password; `right` is what that one wants."""

    open: str
    guarded: str
    right: dict[str, Any]
    folder: Path

    def keys(self, **changes: Any) -> dict[str, Any]:
        """What is right but for `changes` of a part; None leaves the part away."""
        parts = {
            name: None if change is None else {**self.right.get(name, {}), **change} for name, change in changes.items()
        }
        return {name: part for name, part in {**self.right, **parts}.items() if part is not None}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority.make(folder / "ours")
    authority.sign("server", "127.0.0.1")
    Authority.make(folder / "others")
    server = LocalKafka(1, [*tls(authority.folder), *passwords("PLAIN", shop="secret")], clients="SASL_SSL")
    try:
        server.start()
        right = {
            "tls": {"mode": "verify-full", "ca": str(authority.folder / "ca.pem")},
            "sasl": {"mechanism": "PLAIN", "user": "shop", "password": "secret"},
        }
        yield Guarded(server.bootstrap, server.clients_bootstrap, right, folder)
    finally:
        server.remove()


def told(address: str, **keys: Any) -> SinkError:
    with pytest.raises(SinkError) as error:
        opened(address, **keys)
    assert error.value.hint
    assert "\n" not in str(error.value)
    return error.value


def test_what_is_right_is_right(broker: Guarded) -> None:
    opened(broker.guarded, **broker.right).close()


@pytest.mark.parametrize(
    "changes",
    [{"tls": None, "sasl": None}, {"tls": None}, {"sasl": None}],
    ids=["plain text", "a password in plain text", "TLS without a password"],
)
def test_a_listener_that_wants_more_is_not_called_silent(broker: Guarded, changes: dict[str, Any]) -> None:
    error = told(broker.guarded, **broker.keys(**changes))
    assert isinstance(error, SinkUnavailable)
    assert "hangs up at once, as one does that wants TLS, or a user" in str(error)
    assert "correct sink.bootstrap_servers or sink.tls" in error.hint


def test_a_port_of_something_else_is_told_so(registry: Registry) -> None:
    address = urlsplit(registry.url).netloc
    error = told(address)
    assert str(error) == f"what answers at {address} is no Kafka broker"
    assert error.hint.startswith("correct sink.bootstrap_servers")


def test_tls_to_a_listener_without_it_and_a_password_to_one_that_asks_for_none(broker: Guarded) -> None:
    error = told(broker.open, tls={"mode": "require"})
    assert "connecting to a PLAINTEXT broker listener?" in str(error)
    assert "`disable` is for a listener without TLS" in error.hint
    error = told(broker.open, sasl=broker.right["sasl"])
    assert isinstance(error, SinkRefused)
    assert "correct sink.sasl" in error.hint


@pytest.mark.parametrize(
    ("sasl", "said"),
    [
        ({"password": "wrong"}, "Invalid username or password"),
        ({"mechanism": "SCRAM-SHA-256"}, "supported mechanisms: PLAIN"),
    ],
)
def test_a_wrong_password_and_a_wrong_mechanism_stop(broker: Guarded, sasl: dict[str, Any], said: str) -> None:
    error = told(broker.guarded, **broker.keys(sasl=sasl))
    assert isinstance(error, SinkRefused)
    assert said in str(error)
    assert "correct sink.sasl, its password, or the mechanism" in error.hint


@pytest.mark.parametrize(
    ("tls_", "key"),
    [
        ({"ca": "/nowhere/ca.pem"}, "ca"),
        ({"ca": __file__}, "ca"),
        ({"cert": "/nowhere/cert.pem", "key": "/nowhere/key.pem"}, "cert"),
        ({"cert": "ours/server.pem", "key": "others/ca-key.pem"}, "key"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_by_its_key(broker: Guarded, tls_: dict[str, str], key: str) -> None:
    files = {name: str(broker.folder / path) for name, path in tls_.items()}
    error = told(broker.guarded, **broker.keys(tls=files))
    assert isinstance(error, SinkMisconfigured)
    assert str(error).startswith(f"the file of sink.tls.{key} cannot be used: ")
    assert error.hint.startswith(f"let sink.tls.{key} be the path of a PEM file that tailrace can read")


def test_an_offset_store_on_kafka_tells_the_same(broker: Guarded) -> None:
    def topic(**parts: Any) -> OffsetTopic:
        return OffsetTopic(
            KafkaStoreConfig.model_validate({"type": "kafka", "bootstrap_servers": broker.guarded, **parts})
        )

    with pytest.raises(OffsetStoreMisconfigured, match=r"the file of tls\.ca cannot be used") as unusable:
        topic(tls={"mode": "verify-full", "ca": "/nowhere/ca.pem"})
    assert unusable.value.hint == "let tls.ca be the path of a PEM file"
    with pytest.raises(OffsetStoreFailed, match="hangs up at once"):
        topic().prepare()


def test_an_authority_that_did_not_sign_is_a_matter_of_tls(broker: Guarded) -> None:
    error = told(broker.guarded, **broker.keys(tls={"ca": str(broker.folder / "others" / "ca.pem")}))
    assert "certificate verify failed" in str(error)
    assert "correct sink.tls" in error.hint


def test_a_token_server_that_is_away_is_waited_for(broker: Guarded) -> None:
    away = {"mechanism": "OAUTHBEARER", "token_url": "http://127.0.0.1:1/token", "client_id": "a", "client_secret": "b"}
    error = told(broker.guarded, tls=broker.right["tls"], sasl=away)
    assert isinstance(error, SinkUnavailable)
    assert "Failed to connect to 127.0.0.1:1" in str(error)
    assert "sink.sasl.token_url" in error.hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lingr.ms": 1}, 'No such configuration property: "lingr.ms"'),
        ({"linger.ms": "soon"}, "Invalid value"),
        ({"linger.ms": -1}, "value -1 is outside allowed range 0..900000"),
        ({"partitioner": "java"}, '"partitioner": java'),
    ],
)
def test_a_setting_that_librdkafka_does_not_take_is_named(broker: Guarded, settings: dict[str, Any], said: str) -> None:
    error = told(broker.open, settings=settings)
    assert isinstance(error, SinkMisconfigured)
    assert said in str(error)
    assert error.hint == "correct sink.settings"
