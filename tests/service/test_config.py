"""Connector files: what is accepted, and what a user reads where something is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.postgres.config import PostgresConfig
from service import config, secrets
from service.config import Connector
from service.problems import ConfigError

POSTGRES = {"type": "postgres", "host": "localhost", "database": "shop", "user": "tailrace"}
CONNECTOR: dict[str, Any] = {"name": "shop", "source": POSTGRES, "sink": {"type": "stdout"}}


def write(folder: Path, content: dict[str, Any] | str, name: str = "shop.json") -> Path:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def source(**keys: Any) -> dict[str, Any]:
    return {**CONNECTOR, "source": {**POSTGRES, **keys}}


def offsets(**keys: Any) -> dict[str, Any]:
    store = {"type": "postgres", "host": "ops", "database": "ops", "user": "me"}
    return {**CONNECTOR, "offsets": {**store, **keys}}


def registry(**keys: Any) -> dict[str, Any]:
    return {**CONNECTOR, "registry": {"type": "confluent", "url": "http://registry:8081", **keys}}


def postgres(file: Path) -> PostgresConfig:
    loaded = config.load(file).source
    assert isinstance(loaded, PostgresConfig)
    return loaded


def complaints(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert all(line.startswith(f"{file}: ") for line in caught.value.lines)
    return [line.removeprefix(f"{file}: ") for line in caught.value.lines]


def test_name_source_and_sink_are_enough(tmp_path: Path) -> None:
    connector = config.load(write(tmp_path, CONNECTOR))
    assert isinstance(connector, Connector)
    assert (connector.source_type, connector.sink_type, connector.topic_prefix) == ("postgres", "stdout", "shop")
    loaded = postgres(write(tmp_path, CONNECTOR))
    assert (loaded.port, loaded.snapshot, loaded.tables) == (5432, "initial", None)


@pytest.mark.parametrize(
    ("name", "slot"),
    [("shop", "tailrace_shop"), ("Shop-EU.2", "tailrace_shop_eu_2"), ("a--b", "tailrace_a_b")],
)
def test_slot_and_publication_are_named_after_the_connector_in_legal_characters(
    tmp_path: Path, name: str, slot: str
) -> None:
    loaded = postgres(write(tmp_path, {**CONNECTOR, "name": name}))
    assert (loaded.slot, loaded.publication) == (slot, slot)


def test_a_slot_that_is_given_stays(tmp_path: Path) -> None:
    assert postgres(write(tmp_path, source(slot="mine"))).slot == "mine"


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.internal", "verify-full"),
        ("10.0.0.7", "verify-full"),
        ("localhost.example.com", "verify-full"),
        ("localhost", "prefer"),
        ("127.0.0.1", "prefer"),
        ("::1", "prefer"),
        ("/var/run/postgresql", "prefer"),
    ],
)
def test_a_host_that_is_not_local_gets_verified_tls_unless_told_otherwise(tmp_path: Path, host: str, mode: str) -> None:
    arguments = postgres(write(tmp_path, source(host=host))).conninfo()
    assert arguments["sslmode"] == mode
    assert ("sslrootcert" in arguments) == (mode == "verify-full")
    told = postgres(write(tmp_path, source(host=host, tls={"mode": "disable"})))
    assert told.conninfo()["sslmode"] == "disable"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (source(slott="x"), 'source.slott: unknown key; did you mean "slot"? accepted: type, host, port'),
        ({**CONNECTOR, "sourc": {}}, 'sourc: unknown key; did you mean "source"? accepted: $schema, name'),
        (source(tls={"mod": "require"}), 'source.tls.mod: unknown key; did you mean "mode"?'),
        (source(port="5432"), 'source.port: "5432" is not a whole number; accepted: a whole number: TCP port'),
        (source(port=True), "source.port: true is not a whole number"),
        (source(port=70000), "source.port: 70000 should be less than or equal to 65535; accepted: TCP port"),
        (source(host="db:5432"), 'source.host: "db:5432" holds a port: give "db" here, and 5432 as `port`'),
        (source(host=None), "source.host: null is not a string; accepted: a string: Host name"),
        (
            source(tables="public.*"),
            'source.tables: "public.*" is not a list; accepted: a list: Globs over schema.table',
        ),
        (
            source(tables=["public.*", "orders"]),
            'source.tables[1]: "orders" does not fit; accepted: Globs over schema.',
        ),
        (source(tables=["orders"]), 'source.tables[0]: "orders" does not fit; accepted: Globs over schema.'),
        (source(tables=[]), "source.tables: is empty; accepted: Globs over schema."),
        (source(host=""), "source.host: is empty; accepted: Host name"),
        (
            source(snapshot="intial"),
            'source.snapshot: "intial" is not known; did you mean "initial"? accepted: initial',
        ),
        (source(slot="Shop"), 'source.slot: "Shop" does not fit; accepted: Replication slot'),
        ({**CONNECTOR, "sink": {"type": "flies"}}, 'sink.type: "flies" is not known; did you mean "files"? accepted:'),
        (
            {**CONNECTOR, "sink": {"type": "files", "directory": "x", "codec": "deflate"}},
            'sink: codec belongs to "format": "avro"',
        ),
        ({**CONNECTOR, "sink": {}}, "sink.type: is missing; accepted: kafka, files, stdout"),
        ({**CONNECTOR, "sink": "stdout"}, 'sink: "stdout" is not an object'),
        ({**CONNECTOR, "source": {"type": "oracle"}}, 'source.type: "oracle" is not known; accepted: postgres'),
        ({**CONNECTOR, "name": "a/b"}, 'name: "a/b" does not fit; accepted: Unique; letters'),
        ({**CONNECTOR, "name": 55 * "a"}, f'name: "{55 * "a"}" is longer than 54 characters; accepted: Unique'),
        ({"source": POSTGRES, "sink": {"type": "stdout"}}, "name: is missing; accepted: Unique"),
        ({**CONNECTOR, "errors": {"rejected": "dql"}}, 'errors.rejected: "dql" is not known; did you mean "dlq"?'),
        (
            {**CONNECTOR, "errors": {"dead_letter_topic": "shop.dead"}},
            "errors.dead_letter_topic: the stdout sink publishes no dead letters; accepted: null, or",
        ),
        (
            {**CONNECTOR, "errors": {"max_dead_letters": 0}},
            "errors.max_dead_letters: 0 should be greater than or equal to 1",
        ),
        (source(user="${env:USER}"), "source.user: ${env:USER} is not read here"),
        ({**CONNECTOR, "offsets": {}}, "offsets.type: is missing; accepted: sqlite, postgres, mysql, redis"),
        (offsets(type="postgress"), 'offsets.type: "postgress" is not known; did you mean "postgres"?'),
        (offsets(prefix="a b"), "offsets.prefix:"),
        (offsets(pasword="x"), 'offsets.pasword: unknown key; did you mean "password"?'),
        (offsets(password="hunter2"), "offsets.password: a secret in clear text is refused"),
        ({**CONNECTOR, "registry": {}}, "registry.type: is missing; accepted: local, confluent"),
        (registry(url="registry:8081"), 'registry.url: "registry:8081" is no address; accepted: http://HOST:PORT/PATH'),
        (registry(url="http://me:secret@x"), "registry.url: holds a user; accepted: `user` and `password` as keys"),
        (registry(url="http://x,http://y:0"), 'registry.url: "http://y:0" is no address; accepted: http://HOST:PORT'),
        (registry(user="me"), "registry: password: missing; accepted: both or neither of user and password"),
        (registry(tls={"ca": "/ca.pem"}), "registry: tls: no url is encrypted; accepted: tls only with https://"),
        (registry(tls={"key": "/key.pem"}), "registry.tls: cert: missing; accepted: key only beside a cert"),
        (
            {**CONNECTOR, "events": {"format": "json"}},
            'events.format: "json" is for sinks that pass events on, and stdout writes them in a form of its own',
        ),
        (
            {**CONNECTOR, "events": {"format": "cloudevent"}},
            'events.format: "cloudevent" is not known; did you mean "cloudevents"?',
        ),
        (registry(incompatible="ignore"), 'registry.incompatible: "ignore" is not known; accepted: stop, new_subject'),
        ("[]", "holds no connector; accepted: a JSON object"),
        ('{"name": "a",\n "sink": }', "line 2, column 10: not valid JSON"),
        ('{"name": "a", "name": "b"}', "name stands twice in one object"),
        ('{"name": NaN}', "NaN is not JSON"),
        ("", "line 1, column 1: not valid JSON"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_is_accepted(tmp_path: Path, content: Any, expected: str) -> None:
    (complaint,) = complaints(write(tmp_path, content))
    assert complaint.startswith(expected)


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    content = {**source(port=0, slott=1), "sink": {"type": "flies"}, "delivery": {"queue_bytes": "1"}}
    paths = {complaint.partition(":")[0] for complaint in complaints(write(tmp_path, content))}
    assert paths == {"source.port", "source.slott", "sink.type", "delivery.queue_bytes"}


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert complaints(tmp_path / "gone.json") == [
        "cannot be read: No such file or directory; accepted: a connector file or a folder of them"
    ]
    assert complaints(tmp_path) == ["cannot be read: Is a directory; accepted: one connector file"]
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    assert complaints(tmp_path / "binary.json") == ["is not UTF-8 text; accepted: JSON in UTF-8"]


def test_a_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("SHOP_PASSWORD", "from the environment")
    for reference, value in [
        ("${env:SHOP_PASSWORD}", "from the environment"),
        (f"${{file:{tmp_path / 'secret'}}}", "from a file"),
    ]:
        loaded = postgres(write(tmp_path, source(password=reference)))
        resolved = secrets.resolve(loaded)
        assert resolved.conninfo()["password"] == value
        assert value not in f"{resolved!r} {resolved} {resolved.model_dump_json()} {resolved.model_dump()}"
        assert list(secrets.values(loaded)) == [value]


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("${env:TAILRACE_NOT_SET}", "source.password: the environment variable TAILRACE_NOT_SET is not set; accepted:"),
        ("${env:TAILRACE_EMPTY}", "source.password: the environment variable TAILRACE_EMPTY is empty; accepted:"),
        ("${file:/nowhere/x}", "source.password: the file /nowhere/x cannot be read: No such file or directory"),
        ("hunter2", "source.password: a secret in clear text is refused; put it into an environment variable"),
        (12345, "source.password: this value is not a string"),
    ],
)
def test_a_secret_that_is_missing_or_in_clear_text_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: Any, expected: str
) -> None:
    monkeypatch.setenv("TAILRACE_EMPTY", "")
    (complaint,) = complaints(write(tmp_path, source(password=password)))
    assert complaint.startswith(expected)
    assert "hunter2" not in complaint
    assert "12345" not in complaint


def test_a_folder_gives_its_json_files_but_no_schema_and_no_hidden_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, {**CONNECTOR, "name": name}, f"{name}.json")
    write(tmp_path, "{}", "connector.schema.json")
    write(tmp_path, "{}", ".hidden.json")
    found = config.find([tmp_path, tmp_path / "a.json"])
    assert [connector.name for connector in found.connectors.values()] == ["a", "b"]
    assert found.errors == []


def test_a_folder_without_connectors_is_named(tmp_path: Path) -> None:
    (error,) = config.find([tmp_path]).errors
    assert str(error) == f"{tmp_path}: the folder holds no connector; accepted: files named *.json"


def test_a_broken_file_leaves_the_others_alone(tmp_path: Path) -> None:
    write(tmp_path, "{", "a.json")
    good = write(tmp_path, CONNECTOR, "b.json")
    found = config.find([tmp_path])
    assert list(found.connectors) == [good]
    assert [str(error).partition(":")[0] for error in found.errors] == [str(tmp_path / "a.json")]


def test_a_name_used_twice_names_both_files_and_runs_neither(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, CONNECTOR, f"{name}.json")
    other = write(tmp_path, {**CONNECTOR, "name": "other"}, "c.json")
    found = config.find([tmp_path])
    assert list(found.connectors) == [other]
    (error,) = found.errors
    assert f'{tmp_path / "a.json"}: name: "shop" is also the name in {tmp_path / "b.json"}' in str(error)


def test_the_json_schema_knows_every_key_and_every_type() -> None:
    schema = config.json_schema()
    assert {"$schema", "name", "source", "sink", "events", "registry", "offsets", "errors", "delivery"} == set(
        schema["properties"]
    )
    assert schema["required"] == ["name", "source", "sink"]
    models = {"PostgresConfig", "MysqlConfig", "MariadbConfig", "Tls", "MysqlTls", "LocalConfig", "ConfluentConfig"}
    models |= {"SqliteConfig", "PostgresStoreConfig", "MysqlStoreConfig", "RedisStoreConfig"}
    assert models <= set(schema["$defs"])
    assert "stdout" in json.dumps(schema["properties"]["sink"])
    assert schema["$defs"]["PostgresConfig"]["additionalProperties"] is False
