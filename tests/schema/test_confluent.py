"""A registry that speaks Confluent's API: what is registered, what is refused, and what an operator reads of it."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from schema.change import Avro
from schema.confluent import ConfluentRegistry
from schema.confluent_config import ConfluentConfig
from schema.errors import IncompatibleVersion, RegistryFailed, RegistryMisconfigured, RegistryRefused, SchemaError
from tests.certificates import Authority
from tests.conftest import OwnRegistryFactory
from tests.oracle.mysql_goldens import golden_schemas
from tests.registry_servers import Registry
from tests.schema.registry_proxy import Exchange, Proxy, answers, basic, breaks_off, wants

Opens = Callable[..., ConfluentRegistry]


def config(url: str, **keys: Any) -> ConfluentConfig:
    return ConfluentConfig.model_validate({"type": "confluent", "url": url, **keys})


def record(name: str = "Value", **fields: Any) -> Avro:
    shown = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "namespace": "shop.public.orders", "fields": shown}


@pytest.fixture
def opened(registry: Registry) -> Iterator[Opens]:
    """A client of the test's registry, or of `url`; the other keys are those of the connector file."""
    made: list[ConfluentRegistry] = []

    def open_(url: str = "", **keys: Any) -> ConfluentRegistry:
        made.append(ConfluentRegistry(config(url or registry.url, **{"timeout_s": 60, **keys})))
        return made[-1]

    yield open_
    for client in made:
        client.close()


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    proxy = Proxy(registry.url)
    yield proxy
    proxy.close()


@pytest.fixture
def orders(registry: Registry) -> str:
    return f"{registry.prefix}.orders-value"


def refused(kind: type[SchemaError], ask: Callable[[], object]) -> str:
    """The error as an operator reads it: cause, line end, hint."""
    with pytest.raises(kind) as caught:
        ask()
    assert type(caught.value) is kind
    return f"{caught.value}\n{caught.value.hint}"


def test_a_schema_is_registered_once_and_keeps_its_id_and_version(
    registry: Registry, opened: Opens, orders: str
) -> None:
    first = opened().register(orders, record(id="int"))
    second = opened().register(orders, record(id="long"))
    assert (first.version, second.version) == (1, 2)
    assert first.id != second.id
    assert opened().register(orders, record(id="int")) == first
    assert registry.versions(orders) == [1, 2]


def test_the_id_that_events_carry_leads_to_their_schema(registry: Registry, opened: Opens, orders: str) -> None:
    other = f"{registry.prefix}.items-value"
    client = opened()
    ids = {client.register(name, record(id=kind)).id for name in (other, orders) for kind in ("int", "long")}
    assert len(ids) == 2
    for schema_id in ids:
        assert registry.schema(schema_id) == opened().schema(schema_id) == client.schema(schema_id)
    with pytest.raises(KeyError):
        client.schema(2_000_000_000)


def test_the_global_ids_of_apicurio_lead_to_their_schema_too(own_registry: OwnRegistryFactory, opened: Opens) -> None:
    own = own_registry("apicurio.ccompat.legacy-id-mode.enabled=true")
    client = opened(own.url)
    given = {name: client.register(name, record(id="int")) for name in ("a-value", "b-value")}
    assert given["a-value"].id != given["b-value"].id, "a global id is of one version"
    for name, registered in given.items():
        assert registered.id == own.apicurio_ids(name)[0]
        assert opened(own.url).schema(registered.id) == record(id="int")
        assert opened(own.url).register(name, record(id="int")) == registered


def test_a_global_id_leads_to_its_schema_after_apicurio_was_told_to_give_content_ids(
    own_registry: OwnRegistryFactory, opened: Opens
) -> None:
    own = own_registry("apicurio.ccompat.legacy-id-mode.enabled=true")
    given = [opened(own.url).register(name, record(id="int")).id for name in ("a-value", "b-value")]
    own.server.stop()
    own.server.settings = []
    own.server.start()
    assert given[1] not in {own.apicurio_ids(name)[1] for name in ("a-value", "b-value")}, "no content id"
    assert opened(own.url).schema(given[1]) == record(id="int")
    with pytest.raises(KeyError):
        opened(own.url).schema(2_000_000_000)


def test_a_schema_that_debezium_registered_makes_no_new_version(registry: Registry, opened: Opens) -> None:
    tables = {
        name: golden for name, golden in golden_schemas().items() if not name[0].isdigit()
    }  # no name in Avro 1.12
    for table, golden in tables.items():
        for part, schema in (("key", golden.key), ("value", golden.value)):
            if schema is None:
                continue
            subject = f"{registry.prefix}.{table}-{part}"
            text = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
            registry.client.post(f"/subjects/{subject}/versions", json={"schema": text}).raise_for_status()
            assert opened().register(subject, schema).version == 1
            assert registry.versions(subject) == [1]


def test_subjects_and_versions_are_listed(registry: Registry, opened: Opens, orders: str) -> None:
    client = opened()
    assert client.versions(orders) == []
    given = [client.register(orders, record(id=kind)) for kind in ("int", "long")]
    assert opened().versions(orders) == given
    assert [name for name in opened().subjects() if name.startswith(registry.prefix)] == [orders]


def test_threads_that_register_the_same_get_the_same(
    registry: Registry, proxy: Proxy, opened: Opens, orders: str
) -> None:
    client = opened(proxy.url)
    with ThreadPoolExecutor(8) as threads:
        given = set(threads.map(lambda _: client.register(orders, record(id="int")), range(32)))
    assert len(given) == 1
    assert registry.versions(orders) == [1]
    assert proxy.asked.count(f"POST /subjects/{orders}/versions") == 1


def test_a_registry_is_asked_once_for_what_never_changes(proxy: Proxy, opened: Opens, orders: str) -> None:
    client = opened(proxy.url)
    registered = client.register(orders, record(id="int"))
    asked = list(proxy.asked)
    assert client.register(orders, record(id="int")) == registered
    assert client.schema(registered.id) == record(id="int")
    assert proxy.asked == asked
    opened(proxy.url).register(orders, record(id="int"))
    assert proxy.asked[len(asked) :] == [f"POST /subjects/{orders}"]


@pytest.mark.parametrize(
    ("subjects", "key", "value"),
    [
        ("topic", "{topic}-key", "{topic}-value"),
        ("record", "shop.public.orders.Key", "shop.public.orders.Envelope"),
        ("topic-record", "{topic}-shop.public.orders.Key", "{topic}-shop.public.orders.Envelope"),
    ],
)
def test_subjects_are_named_as_confluent_names_them(
    registry: Registry, opened: Opens, subjects: str, key: str, value: str
) -> None:
    topic = f"{registry.prefix}.orders"
    client = opened(subjects=subjects)
    client.register(f"{topic}-key", record("Key", id="int"))
    client.register(f"{topic}-value", record("Envelope", id="int"))
    for subject in (key, value):
        assert registry.versions(subject.format(topic=topic)) == [1]
        if "{topic}" not in subject:
            registry.client.delete(f"/subjects/{subject}")
            registry.client.delete(f"/subjects/{subject}", params={"permanent": True})


@pytest.mark.parametrize("level", [None, "BACKWARD", "FULL"])
def test_an_incompatible_version_is_refused_before_it_is_registered(
    registry: Registry, opened: Opens, orders: str, level: str | None
) -> None:
    client = opened()
    client.register(orders, record(id="int", note="string"))
    if level:
        registry.require(orders, level)
    said = refused(IncompatibleVersion, lambda: client.register(orders, record(id="string", note="string")))
    assert said.startswith(f"{orders}: the new version is not compatible: id changed from int to string\n")
    assert f"""{registry.url}/config/{orders} -d '{{"compatibility": "NONE"}}', start the connector""" in said
    assert f'and then the same with "{level or "BACKWARD"}"' in said
    assert 'or set registry.incompatible to "new_subject", "dead_letter" or "widen"' in said
    assert registry.versions(orders) == [1]
    registry.require(orders, "NONE")
    assert client.register(orders, record(id="string", note="string")).version == 2


def test_a_version_that_only_registering_finds_incompatible_is_refused(
    registry: Registry, opened: Opens, orders: str
) -> None:
    client = opened()
    client.register(orders, record(id="int"))
    registry.require(orders, "NONE")
    client.register(orders, record(id="string"))
    registry.require(orders, "BACKWARD_TRANSITIVE")
    said = refused(IncompatibleVersion, lambda: client.register(orders, record(id="bytes")))
    assert "id changed from int to bytes (since version 1)" in said
    assert registry.versions(orders) == [1, 2]


def test_an_incompatible_version_gets_a_subject_of_its_own_where_that_is_asked_for(
    registry: Registry, opened: Opens, orders: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("int", "string", "boolean")
    given = [opened(incompatible="new_subject").register(orders, record(id=kind)) for kind in kinds]
    assert registry.subjects() == [orders, f"{orders}-v2", f"{orders}-v3"]
    assert [registered.version for registered in given] == [1, 1, 1]
    assert [registry.schema(registered.id) for registered in given] == [record(id=kind) for kind in kinds]
    said = capsys.readouterr().out
    assert f"id changed from int to string; it is version 1 of the subject {orders}-v2" in said
    assert [opened(incompatible="new_subject").register(orders, record(id=kind)) for kind in kinds] == given
    assert capsys.readouterr().out == ""
    assert opened(incompatible="new_subject").register(orders, record(id="long")).version == 2
    assert registry.versions(orders) == [1, 2]


def test_the_registrys_own_reasons_are_told_in_short(proxy: Proxy, opened: Opens, orders: str) -> None:
    """As Confluent's registry words them, the whole older schema among them."""
    messages = [
        "{errorType:'TYPE_MISMATCH', description:'The type (path '/fields/0/type') of a field in the new schema does "
        "not match with the old schema', additionalInfo:'reader type: STRING not compatible with writer type: INT'}",
        "{oldSchemaVersion: 1}",
        "{oldSchema: '" + 5000 * "x" + "'}",
        "{validateFields: 'false', compatibility: 'BACKWARD'}",
    ]

    def incompatible(exchange: Exchange) -> bool:
        if not exchange.path.endswith("/latest?verbose=true"):
            return False
        exchange.answer(200, json.dumps({"is_compatible": False, "messages": messages}).encode())
        return True

    proxy.fault = incompatible
    said = refused(IncompatibleVersion, lambda: opened(proxy.url).register(orders, record(id="string")))
    assert said.partition("\n")[0] == (
        f"{orders}: the new version is not compatible: The type (path '/fields/0/type') of a field in the new schema "
        "does not match with the old schema (reader type: STRING not compatible with writer type: INT)"
    )


def test_the_next_address_answers_where_one_does_not(registry: Registry, opened: Opens, orders: str) -> None:
    first, second = Proxy(registry.url), Proxy(registry.url)
    client = opened(f"{first.url}, {second.url}/")
    client.register(orders, record(id="int"))
    assert second.asked == []
    first.close()
    client.register(orders, record(id="long"))
    assert registry.versions(orders) == [1, 2]
    second.fault = answers(503)
    said = refused(RegistryFailed, lambda: client.register(orders, record(id="float")))
    assert f"{second.url}: HTTP 503: Service Unavailable; {first.url}: Connection refused" in said
    second.close()


@pytest.mark.parametrize("fault", ["503", "429", "breaks off", "silent", "gone"])
def test_a_registry_that_does_not_answer_is_tried_again(
    registry: Registry, opened: Opens, orders: str, fault: str
) -> None:
    proxy, healed = Proxy(registry.url), threading.Event()
    client = opened(proxy.url, timeout_s=0.5 if fault == "silent" else 20)
    faults = {
        "503": (answers(503, '{"error_code": 50003, "message": "the leader is elsewhere"}'), "HTTP 503: the leader is"),
        "429": (answers(429), "HTTP 429: Too Many Requests"),
        "breaks off": (breaks_off, "peer closed connection"),
        "silent": (lambda _: healed.wait() and False, "no answer within 0.5 s"),
    }
    proxy.fault, reason = faults.get(fault, (None, "Connection re"))  # fused, or set by its last process
    if fault == "gone":
        proxy.close()
    with pytest.raises(RegistryFailed) as caught:
        client.register(orders, record(id="int"))
    assert caught.value.retryable
    assert f"could not look up a schema of {orders}: {proxy.url}: {reason}" in str(caught.value)
    assert "delivery goes on from the last offset" in caught.value.hint
    healed.set()
    if fault == "gone":
        return
    proxy.fault = None
    assert opened(proxy.url).register(orders, record(id="int")).version == 1
    assert registry.versions(orders) == [1]
    proxy.close()


def test_a_registry_that_takes_a_schema_and_breaks_off_gets_it_once(
    registry: Registry, proxy: Proxy, opened: Opens, orders: str
) -> None:
    def takes_and_breaks_off(exchange: Exchange) -> bool:
        if not exchange.path.endswith(f"{orders}/versions"):
            return False
        registry.client.post(f"/subjects/{orders}/versions", content=exchange.body).raise_for_status()
        return breaks_off(exchange)

    proxy.fault = takes_and_breaks_off
    with pytest.raises(RegistryFailed):
        opened(proxy.url).register(orders, record(id="int"))
    proxy.fault = None
    assert opened(proxy.url).register(orders, record(id="int")).version == 1
    assert registry.versions(orders) == [1]


@pytest.mark.parametrize(
    ("status", "body", "cause", "hint"),
    [
        (401, "", "HTTP 401: Unauthorized", "set registry.user and registry.password, or registry.token"),
        (403, "", "HTTP 403: Forbidden", "set registry.user and registry.password, or registry.token"),
        (404, "<html>", "HTTP 404: Not Found", "correct registry.url, path included: Apicurio Registry has this API"),
        (404, '{"error_code": 404, "message": "HTTP 404 Not Found"}', "HTTP 404", "correct registry.url"),
        (302, "", "HTTP 302: Found", "set registry.url to where it leads, https://elsewhere/"),
        (200, "<html>log in</html>", "not that of a schema registry", "correct registry.url, path included"),
        (200, '{"hello": 1}', "answers without id", "correct registry.url, path included"),
        (
            422,
            '{"error_code": 42205, "message": "Subject orders is in read-only mode"}',
            "HTTP 422: Subject orders is in read-only mode",
            "set the registry's mode, or the subject's, to READWRITE",
        ),
        (422, '{"error_code": 42201, "message": "Invalid"}', "HTTP 422: Invalid", "look into the registry's rules"),
        (413, 900 * "x", "HTTP 413: Request Entity Too Large", "look for this request in the log of the registry"),
        (200, '{"id": 65034875748, "version": 1}', "gives the id 65034875748, which the four bytes", "count its ids"),
    ],
)
def test_what_a_registry_will_say_again_is_not_tried_again(
    proxy: Proxy, opened: Opens, orders: str, status: int, body: str, cause: str, hint: str
) -> None:
    proxy.fault = answers(status, body, Location="https://elsewhere/")
    with pytest.raises(RegistryRefused) as caught:
        opened(proxy.url).register(orders, record(id="int"))
    assert not caught.value.retryable
    assert cause in str(caught.value)
    assert caught.value.hint.startswith(hint) or hint in caught.value.hint


def test_a_user_or_a_token_is_let_in_and_never_shown(proxy: Proxy, opened: Opens, orders: str) -> None:
    user = {"user": "tailrace", "password": "pä:ss"}
    for nth, (keys, header) in enumerate([(user, basic("tailrace", "pä:ss")), ({"token": "t0k3n"}, "Bearer t0k3n")]):
        proxy.fault = wants(header)
        assert opened(proxy.url, **keys).register(orders, record(id=("int", "long")[nth])).version == nth + 1
        proxy.fault = wants("another")
        said = refused(RegistryRefused, lambda keys=keys: opened(proxy.url, **keys).subjects())  # type: ignore[misc]
        assert f"correct {'registry.user and registry.password' if nth == 0 else 'registry.token'}, which" in said
        assert not any(secret in said for secret in ("pä:ss", "t0k3n", header.split()[1]))
    proxy.fault = answers(403)
    said = refused(RegistryRefused, lambda: opened(proxy.url, **user).subjects())
    assert 'let the user "tailrace" read and write this connector\'s subjects' in said
    said = refused(RegistryMisconfigured, lambda: opened(proxy.url, token="t0k3n\nX-Other: 1"))
    assert said.startswith("registry.token: it holds characters that an HTTP header cannot")
    assert "t0k3n" not in said


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority.make(tmp_path / "ours")
    authority.sign("server", "127.0.0.1")
    authority.sign("client", "us")
    return authority


def tls_of(authority: Authority, *, name: str = "server", asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.folder / "ca.pem")
    context.load_cert_chain(authority.folder / f"{name}.pem", authority.folder / f"{name}-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    return context


def test_tls_trusts_only_what_it_is_told(registry: Registry, opened: Opens, orders: str, authority: Authority) -> None:
    proxy = Proxy(registry.url, tls_of(authority))
    ca = str(authority.folder / "ca.pem")
    assert opened(proxy.url, tls={"ca": ca}).register(orders, record(id="int")).version == 1
    said = refused(RegistryRefused, lambda: opened(proxy.url).subjects())
    assert "its certificate is not accepted: " in said
    assert "set registry.tls.ca to the file" in said
    named = proxy.url.replace("127.0.0.1", "localhost")
    said = refused(RegistryRefused, lambda: opened(named, tls={"ca": ca}).subjects())
    assert "Hostname mismatch" in said
    assert "give the host in registry.url the name" in said
    proxy.close()


def test_a_certificate_is_shown_where_the_registry_asks_for_one(
    registry: Registry, opened: Opens, orders: str, authority: Authority
) -> None:
    proxy = Proxy(registry.url, tls_of(authority, asks=True))
    ca, cert, key = (str(authority.folder / name) for name in ("ca.pem", "client.pem", "client-key.pem"))
    assert opened(proxy.url, tls={"ca": ca, "cert": cert, "key": key}).register(orders, record(id="int")).version == 1
    said = refused(RegistryRefused, lambda: opened(proxy.url, tls={"ca": ca}).subjects())
    assert "it ended the TLS handshake" in said
    assert "set registry.tls.cert and registry.tls.key" in said
    proxy.close()


def test_https_to_a_port_without_tls_is_named(proxy: Proxy, opened: Opens) -> None:
    said = refused(RegistryRefused, lambda: opened(proxy.url.replace("http:", "https:")).subjects())
    assert "it does not speak TLS as we do" in said
    assert "set registry.url to http://" in said


@pytest.mark.parametrize(("key", "content"), [("ca", None), ("cert", None), ("ca", "text"), ("cert", "text")])
def test_a_tls_file_that_cannot_be_read_is_named(tmp_path: Path, key: str, content: str | None) -> None:
    file = tmp_path / "file.pem"
    if content:
        file.write_text(content)
    said = refused(RegistryMisconfigured, lambda: ConfluentRegistry(config("https://x", tls={key: str(file)})))
    assert said.startswith(f"registry.tls.{key}: {file}: {'No such file' if content is None else ''}")


def test_check_finds_what_register_would_and_leaves_nothing_behind(registry: Registry, proxy: Proxy) -> None:
    said = ConfluentRegistry.check(config(registry.url), registry.prefix)
    assert said == f"the schema registry {registry.url} takes new schemas"
    assert registry.subjects() == []
    proxy.fault = answers(422, '{"error_code": 42205, "message": "is in read-only mode"}')
    assert "read-only mode" in refused(
        RegistryRefused, lambda: ConfluentRegistry.check(config(proxy.url), registry.prefix)
    )
    proxy.fault = answers(500)
    assert "HTTP 500" in refused(RegistryFailed, lambda: ConfluentRegistry.check(config(proxy.url), registry.prefix))
