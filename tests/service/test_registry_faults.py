"""A registry that fails a whole connector: nothing is lost or passed over, and an operator is told what to do."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import exits
from tests.certificates import Authority
from tests.conftest import OwnRegistryFactory
from tests.registry_servers import OwnRegistry, Registry
from tests.rigs import free_port
from tests.schema.registry_proxy import Exchange, Proxy, basic, wants
from tests.servers import VERSIONS, Database, Running, Tailrace, until
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
    """A table of one row; the subject of its events."""
    return made(postgres, registry)


def made(postgres: Database, registry: Registry) -> str:
    postgres.execute("create table orders (id int primary key, note text)")
    postgres.execute("insert into orders values (1, 'first')")
    return f"{registry.prefix}.public.orders-value"


def connector(postgres: Database, registry: Registry, url: str, **keys: Any) -> dict[str, Any]:
    return postgres.connector(
        events={"topic_prefix": registry.prefix},
        registry={"type": "confluent", "url": url, **keys},
        errors={"retry_for_s": 600},
    )


def ids(postgres: Database) -> list[int]:
    """Of the rows that were delivered, repetitions left out."""
    return list(dict.fromkeys(row.value["after"]["id"] for row in read_files(postgres.folder / "out")))


def add(postgres: Database, nth: int) -> None:
    """A row in a new version of the table."""
    postgres.execute(f"alter table orders add column extra_{nth} int")
    postgres.execute("insert into orders (id) values (%s)", nth)


def stored(tailrace: Tailrace) -> str:
    """The offset's position; empty before the first."""
    lines = tailrace("offsets", "show", "shop").stdout.splitlines()
    return "".join(line for line in lines if line.startswith("position"))


def delivers(running: Running, postgres: Database, count: int) -> None:
    def delivered() -> bool:
        assert running.process.poll() is None, running.stderr
        return ids(postgres) == list(range(1, count + 1))

    until(delivered, f"{count} rows are delivered", 120)


def stops(tailrace: Tailrace, file: dict[str, Any]) -> str:
    """What is said by a connector that ends for good."""
    done = tailrace("run", tailrace.write(file), "--until-caught-up")
    assert done.returncode == exits.FATAL, done.stderr
    return done.stderr


def test_a_registry_that_is_down_at_start_and_killed_later_holds_events_back_and_loses_none(
    postgres: Database, tailrace: Tailrace, own_registry: OwnRegistryFactory
) -> None:
    own: OwnRegistry = own_registry()
    subject = made(postgres, own)
    own.server.kill()
    running = tailrace.run(connector(postgres, own, own.url))
    running.wait_for("Connection refused")
    running.wait_for("retry_in_s")
    assert ids(postgres) == []
    own.server.start()
    delivers(running, postgres, 1)
    until(lambda: stored(tailrace), "the offset is stored")
    own.server.kill()
    said = len(running.stderr)
    add(postgres, 2)
    until(lambda: "could not look up a schema" in running.stderr[said:], "the connector misses the registry")
    before = stored(tailrace)
    said = len(running.stderr)
    until(lambda: "could not look up a schema" in running.stderr[said:], "it has tried again")
    assert ids(postgres) == [1]
    assert stored(tailrace) == before
    own.server.start()
    delivers(running, postgres, 2)
    assert own.versions(subject) == [1, 2]
    assert running.stop() == exits.DONE


def test_a_registry_that_is_slower_than_the_limit_is_tried_again(
    postgres: Database, tailrace: Tailrace, registry: Registry, proxy: Proxy, orders: str
) -> None:
    healed = threading.Event()

    def waits(exchange: Exchange) -> bool:
        healed.wait()
        return False

    proxy.fault = waits
    running = tailrace.run(connector(postgres, registry, proxy.url, timeout_s=0.5))
    running.wait_for("no answer within 0.5 s")
    running.wait_for("retry_in_s")
    assert ids(postgres) == []
    running.kill()
    healed.set()
    proxy.fault = None
    running = tailrace.run(connector(postgres, registry, proxy.url, timeout_s=60))
    delivers(running, postgres, 1)
    assert registry.versions(orders) == [1]
    assert running.stop() == exits.DONE


def test_a_registry_that_does_not_know_us_stops_the_connector_until_its_password_is_right(
    postgres: Database,
    tailrace: Tailrace,
    registry: Registry,
    proxy: Proxy,
    orders: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tailrace.catch_up(connector(postgres, registry, proxy.url))
    before = stored(tailrace)
    add(postgres, 2)
    proxy.fault = wants(basic("tailrace", "right"))
    said = stops(tailrace, connector(postgres, registry, proxy.url))
    assert "HTTP 401: Unauthorized" in said
    assert "set registry.user and registry.password, or registry.token" in said
    keys = {"user": "tailrace", "password": "${env:REGISTRY_PASSWORD}"}
    monkeypatch.setenv("REGISTRY_PASSWORD", "wrong")
    said = stops(tailrace, connector(postgres, registry, proxy.url, **keys))
    assert "correct registry.user and registry.password, which the registry does not accept" in said
    assert stored(tailrace) == before
    monkeypatch.setenv("REGISTRY_PASSWORD", "right")
    tailrace.catch_up(connector(postgres, registry, proxy.url, **keys))
    assert ids(postgres) == [1, 2]


def test_a_version_that_is_refused_only_when_it_is_registered_is_an_incompatible_one(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    """The comparison goes by the latest version, and the subject's level by all of them: HTTP 409."""
    shop = connector(postgres, registry, registry.url)
    postgres.execute("alter table orders alter note type int using 7")
    tailrace.catch_up(shop)
    registry.require(orders, "NONE")
    postgres.execute("alter table orders alter note type text")
    postgres.execute("insert into orders values (2, 'second')")
    tailrace.catch_up(shop)
    registry.require(orders, "BACKWARD_TRANSITIVE")
    before = stored(tailrace)
    postgres.execute("alter table orders alter note type bytea using note::bytea")
    postgres.execute("insert into orders values (3, 'third')")
    said = stops(tailrace, shop)
    assert f"{orders}: the new version is not compatible: " in said
    assert "note changed from int to bytes (since version 1)" in said
    assert registry.versions(orders) == [1, 2]
    assert stored(tailrace) == before
    registry.require(orders, "BACKWARD")
    tailrace.catch_up(shop)
    assert ids(postgres) == [1, 2, 3]


def test_a_certificate_that_is_not_trusted_stops_the_connector_until_its_authority_is_named(
    postgres: Database, tailrace: Tailrace, own_registry: OwnRegistryFactory, tmp_path: Path
) -> None:
    authority = Authority.make(tmp_path / "ours")
    authority.sign("server", "127.0.0.1")
    Authority.make(tmp_path / "other")
    port = free_port()
    own = own_registry(
        f"quarkus.http.ssl-port={port}",
        f"quarkus.http.ssl.certificate.files={authority.folder / 'server.pem'}",
        f"quarkus.http.ssl.certificate.key-files={authority.folder / 'server-key.pem'}",
    )
    subject = made(postgres, own)
    url = own.url.replace(own.address, f"https://127.0.0.1:{port}")
    other = {"ca": str(tmp_path / "other" / "ca.pem")}
    for keys in ({}, {"tls": other}):
        said = stops(tailrace, connector(postgres, own, url, **keys))
        assert "its certificate is not accepted: " in said
        assert "set registry.tls.ca to the file with the certificate of the authority" in said
    named = url.replace("127.0.0.1", "localhost")
    ours = {"ca": str(authority.folder / "ca.pem")}
    said = stops(tailrace, connector(postgres, own, named, tls=ours))
    assert "give the host in registry.url the name that the registry's certificate carries" in said
    assert own.subjects() == []
    tailrace.catch_up(connector(postgres, own, url, tls=ours))
    assert ids(postgres) == [1]
    assert own.versions(subject) == [1]


def test_the_next_address_is_asked_where_the_first_is_dead_or_dies(
    postgres: Database, tailrace: Tailrace, registry: Registry, orders: str
) -> None:
    second = Proxy(registry.url)
    dead = registry.url.replace(registry.address, f"http://127.0.0.1:{free_port()}")
    running = tailrace.run(connector(postgres, registry, f"{dead},{second.url},{registry.url}"))
    delivers(running, postgres, 1)
    assert second.asked
    second.close()
    add(postgres, 2)
    delivers(running, postgres, 2)
    assert "retry_in_s" not in running.stderr
    assert registry.versions(orders) == [1, 2]
    assert running.stop() == exits.DONE
