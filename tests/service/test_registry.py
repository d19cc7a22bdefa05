"""A connector whose versions are kept in a real schema registry, as its operator and its readers see it."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from service import exits
from tests.kafka_servers import Kafka
from tests.registry_servers import Registry
from tests.schema.registry_proxy import Proxy, answers
from tests.servers import VERSIONS, Database, Tailrace, until
from tests.sinks.readers import read_files

newest = pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)
pytestmark = [pytest.mark.postgres, newest]


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    proxy = Proxy(registry.url)
    yield proxy
    proxy.close()


@pytest.fixture
def orders(postgres: Database, registry: Registry) -> str:
    """A table of one row; the name of its topic."""
    postgres.execute("create table orders (id int primary key, note text)")
    postgres.execute("insert into orders values (1, 'first')")
    return f"{registry.prefix}.public.orders"


def connector(postgres: Database, registry: Registry, url: str, **keys: Any) -> dict[str, Any]:
    return postgres.connector(
        events={"topic_prefix": registry.prefix},
        registry={"type": "confluent", "url": url, **keys},
        errors={"retry_for_s": 600},
    )


def delivered(postgres: Database) -> list[Any]:
    """What followed on each row, in order: its columns as they are after the change."""
    return [row.value["after"] for row in read_files(postgres.folder / "out")]


def position(tailrace: Tailrace) -> str:
    """The stored offset."""
    (line,) = [line for line in tailrace("offsets", "show", "shop").stdout.splitlines() if line.startswith("position")]
    return line


def test_versions_are_registered_and_stay_the_same_at_the_next_start(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    tailrace.catch_up(connector(postgres, registry, registry.url))
    assert registry.subjects() == [f"{orders}-key", f"{orders}-value"]
    postgres.execute("insert into orders values (2, 'second')")
    tailrace.catch_up(connector(postgres, registry, registry.url))
    assert registry.versions(f"{orders}-value") == [1]
    postgres.execute("alter table orders add column total int")
    postgres.execute("insert into orders values (3, 'third', 30)")
    tailrace.catch_up(connector(postgres, registry, registry.url))
    assert registry.versions(f"{orders}-key") == [1]
    assert registry.versions(f"{orders}-value") == [1, 2]
    assert [row["id"] for row in delivered(postgres)] == [1, 2, 3]
    assert "total" in registry.version(f"{orders}-value")["schema"]


def test_a_registry_that_is_down_holds_events_back_until_it_answers(
    postgres: Database, tailrace: Tailrace, registry: Registry, proxy: Proxy, orders: str
) -> None:
    tailrace.catch_up(connector(postgres, registry, proxy.url))
    running = tailrace.run(connector(postgres, registry, proxy.url))
    proxy.fault = answers(503)
    postgres.execute("alter table orders add column total int")
    for nth in (2, 3):
        postgres.execute("insert into orders values (%s, 'more', %s)", nth, nth)
    running.wait_for("could not look up a schema")
    stored = position(tailrace)
    assert registry.versions(f"{orders}-value") == [1]
    assert not any("total" in row for row in delivered(postgres))
    running.wait_for("retry_in_s")
    assert position(tailrace) == stored
    proxy.fault = None
    until(lambda: registry.versions(f"{orders}-value") == [1, 2], "the new version is registered")
    assert running.stop() == exits.DONE
    tailrace.catch_up(connector(postgres, registry, proxy.url))
    assert list(dict.fromkeys(row["id"] for row in delivered(postgres))) == [1, 2, 3]
    assert "delivery goes on from the last offset" in running.stderr


def test_an_incompatible_version_stops_the_connector_until_the_registry_lets_it_in(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    shop = connector(postgres, registry, registry.url)
    tailrace.catch_up(shop)
    registry.require(f"{orders}-value", "BACKWARD")
    stored = position(tailrace)
    let_in = ""
    postgres.execute("alter table orders alter column note type int using 7")
    postgres.execute("insert into orders values (2, 22)")
    for _ in range(2):
        stopped = tailrace("run", tailrace.write(shop), "--until-caught-up")
        assert stopped.returncode == exits.FATAL
        (said,) = [json.loads(line) for line in stopped.stderr.splitlines() if "not compatible" in line]
        assert said["event"].startswith(f"connector shop: {orders}-value: the new version is not compatible: ")
        assert "note changed from string to int" in said["event"]
        [let_in] = re.findall(r"let this version in: (curl .*), start the connector, and then", said["hint"])
        assert registry.versions(f"{orders}-value") == [1]
        assert position(tailrace) == stored
    subprocess.run(shlex.split(let_in), check=True, capture_output=True)
    tailrace.catch_up(shop)
    assert delivered(postgres)[-1] == {"id": 2, "note": 22}
    assert registry.versions(f"{orders}-value") == [1, 2]


def test_an_incompatible_version_goes_on_under_a_subject_of_its_own_where_that_is_asked_for(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    shop = connector(postgres, registry, registry.url, incompatible="new_subject")
    tailrace.catch_up(shop)
    postgres.execute("alter table orders alter column note type int using 7")
    postgres.execute("insert into orders values (2, 22)")
    went_on = tailrace("run", tailrace.write(shop), "--until-caught-up")
    assert went_on.returncode == exits.DONE
    assert f"note changed from string to int; it is version 1 of the subject {orders}-value-v2" in went_on.stderr
    assert delivered(postgres)[-1] == {"id": 2, "note": 22}
    listed = [line.split(maxsplit=3) for line in tailrace("schemas", "list").stdout.splitlines()]
    assert [listed[0][:3], listed[0][3].split()] == [["SUBJECT", "VERSION", "ID"], ["REGISTRY", "DECIDED"]]
    subjects = [f"{orders}-key", f"{orders}-value", f"{orders}-value-v2"]
    assert [(row[0], row[1], row[3][:7]) for row in listed[1:]] == [(subject, "1", "of shop") for subject in subjects]
    assert "new_subject: note changed from string to int" in listed[-1][3]
    shown = tailrace("schemas", "show", f"{orders}-value-v2").stdout
    assert json.loads(shown) == json.loads(registry.version(f"{orders}-value-v2")["schema"])


def test_the_versions_of_a_connectors_own_registry_are_listed_and_compared(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    registry.register(f"{registry.prefix}_other.public.orders-value", {"type": "string"})
    shop = connector(postgres, registry, registry.url)
    tailrace.catch_up(shop)
    postgres.execute("alter table orders add column total int")
    postgres.execute("insert into orders values (2, 'second', 20)")
    tailrace.catch_up(shop)
    listed = tailrace("schemas", "list").stdout
    assert f"{orders}-value" in listed
    assert "_other" not in listed, "another's subject, of a prefix that begins with ours"
    compared = tailrace("schemas", "diff", f"{orders}-value")
    assert compared.returncode == exits.DONE
    assert "total was added: int or null" in compared.stdout
    (tailrace.folder / "shop.json").write_text("{")
    assert "shop.json: line 1, column 2: not valid JSON" in tailrace("schemas", "list").stderr


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("subjects", "of_key", "of_value"),
    [
        ("record", "{topic}.Key", "{topic}.Envelope"),
        ("topic-record", "{topic}-{topic}.Key", "{topic}-{topic}.Envelope"),
    ],
)
def test_subjects_named_by_the_record_are_listed_and_readers_find_every_version(
    postgres: Database,
    tailrace: Tailrace,
    kafka: Kafka,
    registry: Registry,
    orders: str,
    subjects: str,
    of_key: str,
    of_value: str,
) -> None:
    shop = connector(postgres, registry, registry.url, subjects=subjects)
    shop["sink"] = {"type": "kafka", "bootstrap_servers": kafka.bootstrap}
    kafka.prefix = registry.prefix  # of the topic, which the subjects are named after
    kafka.create_topic(orders)
    tailrace.catch_up(shop)
    postgres.execute("alter table orders add column total int")
    postgres.execute("insert into orders values (2, 'second', 20)")
    tailrace.catch_up(shop)
    key, value = of_key.format(topic=orders), of_value.format(topic=orders)
    assert registry.subjects() == [value, key]
    listed = [line.split()[:2] for line in tailrace("schemas", "list").stdout.splitlines()]
    assert listed == [["SUBJECT", "VERSION"], [value, "2"], [key, "1"]]
    with SchemaRegistryClient({"url": registry.url}) as client:
        read = AvroDeserializer(client)
        keys = [read(each.key, SerializationContext(orders, MessageField.KEY)) for each in kafka.read(orders)]
        values = [read(each.value, SerializationContext(orders, MessageField.VALUE)) for each in kafka.read(orders)]
    assert keys == [{"id": 1}, {"id": 2}]
    assert [each["after"] for each in values] == [
        {"id": 1, "note": "first"},
        {"id": 2, "note": "second", "total": 20},
    ]


def test_check_tells_whether_the_registry_would_take_schemas(
    postgres: Database, tailrace: Tailrace, registry: Registry, proxy: Proxy, orders: str
) -> None:
    file = tailrace.write(connector(postgres, registry, proxy.url))
    found = tailrace("check", file)
    assert f"ok    shop: the schema registry {proxy.url} takes new schemas" in found.stdout
    assert found.returncode == exits.DONE
    assert registry.subjects() == []
    proxy.fault = answers(401)
    found = tailrace("check", file)
    assert found.returncode == exits.FINDINGS
    assert f"fail  shop: the schema registry {proxy.url} could not take a schema of {registry.prefix}." in found.stdout
    assert "set registry.user and registry.password, or registry.token" in found.stdout


def test_a_secret_of_the_registry_is_shown_nowhere(
    postgres: Database,
    tailrace: Tailrace,
    registry: Registry,
    proxy: Proxy,
    orders: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "t0k3n-of-the-registry")
    proxy.fault = answers(401, '{"message": "t0k3n-of-the-registry is not known"}')
    shop = connector(postgres, registry, proxy.url, token="${env:REGISTRY_TOKEN}")
    stopped = tailrace("--debug", "run", tailrace.write(shop), "--until-caught-up")
    assert stopped.returncode == exits.FATAL
    assert "correct registry.token, which the registry does not accept" in stopped.stderr
    assert "t0k3n-of-the-registry" not in stopped.stderr + stopped.stdout


def test_tail_shows_events_and_registers_nothing(
    postgres: Database, tailrace: Tailrace, registry: Registry, proxy: Proxy, orders: str
) -> None:
    tailrace.catch_up(connector(postgres, registry, registry.url))
    postgres.execute("alter table orders add column total int")
    running = tailrace.start("tail", tailrace.write(connector(postgres, registry, proxy.url)), "-n", "1")
    until(lambda: _inserted(postgres) and running.stdout, "tail shows an event")
    assert '"total":5' in running.stdout
    assert registry.versions(f"{orders}-value") == [1]


def _inserted(postgres: Database) -> bool:
    postgres.execute("insert into orders select max(id) + 1, 'seen', 5 from orders")
    return True
