"""`tailrace config import`: what becomes of a Debezium connector's configuration."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.patterns import selected
from service import config
from service.debezium.config import Imported, translate
from service.debezium.globs import translate as globs
from service.debezium.keys import UNKNOWN, rule
from service.problems import ConfigError
from service.refused import Refused
from tests.servers import Tailrace

KEYS = (Path(__file__).parent / "debezium-keys.txt").read_text().split()
"""Every key of Debezium 3.6's Postgres and MySQL connectors."""

POSTGRES = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "database.hostname": "db.internal",
    "database.user": "dbz",
    "database.dbname": "shop",
    "topic.prefix": "shop",
    "plugin.name": "pgoutput",
}
MYSQL = {
    "connector.class": "io.debezium.connector.mysql.MySqlConnector",
    "database.hostname": "db.internal",
    "database.user": "dbz",
    "topic.prefix": "shop",
    "bigint.unsigned.handling.mode": "precise",
}
QUIET = {
    "database.sslmode": "verify-full",
    "database.ssl.mode": "verify_identity",
    "producer.override.bootstrap.servers": "broker:9092",
    "producer.override.security.protocol": "PLAINTEXT",
    "value.converter": "io.confluent.connect.avro.AvroConverter",
    "value.converter.schema.registry.url": "http://registry:8081",
}
"""Nothing is said of these."""


def imported(folder: Path, base: Mapping[str, str], keys: Mapping[str, Any] = {}, *, name: str = "shop") -> Imported:
    """Of Connect's JSON; what came out has passed our own validation."""
    ssl = "database.ssl.mode" if "postgres" in base["connector.class"] else "database.sslmode"
    body = {**base, **{key: value for key, value in QUIET.items() if key != ssl}, **keys}
    return checked(folder, "connector.json", json.dumps({"name": name, "config": body}))


def checked(folder: Path, name: str, text: str, worker: str = "") -> Imported:
    file = folder / name
    file.write_text(text)
    (folder / "worker.properties").write_text(worker)
    made = translate(file, folder / "worker.properties" if worker else None, None)
    config.validated(made.connector, file)
    return made


def test_a_connector_of_kafka_connect_becomes_ours_and_nothing_is_left_to_say(tmp_path: Path) -> None:
    keys = {
        "database.port": 5433,
        "database.password": "${env:DBZ_PASSWORD}",
        "slot.name": "dbz_shop",
        "publication.name": "dbz_pub",
        "table.include.list": r"public\.orders,public\.item_.*",
        "snapshot.max.threads": "4",
        "decimal.handling.mode": "precise",
        "skipped.operations": "",
    }
    made = imported(tmp_path, POSTGRES, keys)
    assert made.lines == []
    assert made.connector == {
        "name": "shop",
        "source": {
            "type": "postgres",
            "host": "db.internal",
            "port": 5433,
            "database": "shop",
            "user": "dbz",
            "password": "${env:DBZ_PASSWORD}",
            "tls": {"mode": "verify-full"},
            "tables": ["public.orders", "public.item_*"],
            "slot": "dbz_shop",
            "publication": "dbz_pub",
            "snapshot": "initial",
            "snapshot_parallel": 4,
        },
        "events": {"topic_prefix": "shop"},
        "registry": {"type": "confluent", "url": "http://registry:8081"},
        "sink": {
            "type": "kafka",
            "bootstrap_servers": "broker:9092",
            "tls": {"mode": "disable"},
            "topics": {"create": True},
        },
    }


def test_debeziums_own_defaults_hold_where_a_key_is_missing(tmp_path: Path) -> None:
    source = imported(tmp_path, POSTGRES).connector["source"]
    assert (source["slot"], source["publication"], source["snapshot"]) == ("debezium", "dbz_publication", "initial")
    without = {key: value for key, value in POSTGRES.items() if key != "plugin.name"}
    [line] = imported(tmp_path, without).lines
    assert line.startswith("plugin.name: decide: not set, which means decoderbufs")
    assert imported(tmp_path, MYSQL).connector["source"]["ddl"] is True


def test_the_names_of_older_releases_are_read(tmp_path: Path) -> None:
    old = {key: value for key, value in MYSQL.items() if key != "topic.prefix"}
    keys = {
        "database.server.name": "dbserver1",
        "database.whitelist": "inventory",
        "table.blacklist": r"inventory\.audit",
        "database.history.kafka.bootstrap.servers": "broker:9092",
        "database.history.kafka.topic": "schema-changes.inventory",
    }
    made = imported(tmp_path, old, keys)
    assert made.connector["events"] == {"topic_prefix": "dbserver1"}
    assert made.connector["source"]["databases"] == ["inventory"]
    assert made.connector["source"]["tables"] == ["!inventory.audit"]
    assert all(": ignored: tailrace keeps no schema history" in line for line in made.lines)


def test_mariadb_is_known_by_its_connector_or_by_the_adapter_of_older_releases(tmp_path: Path) -> None:
    for keys in (
        {"connector.class": "io.debezium.connector.mariadb.MariaDbConnector", "database.ssl.mode": "trust"},
        {"connector.adapter": "mariadb", "database.ssl.mode": "required"},
    ):
        source = imported(tmp_path, MYSQL, keys).connector["source"]
        assert (source["type"], source["tls"]) == ("mariadb", {"mode": "require"})


SERVER = r"""
debezium.sink.type=kafka
debezium.sink.kafka.producer.bootstrap.servers=broker:9093
debezium.sink.kafka.producer.security.protocol=SASL_SSL
debezium.sink.kafka.producer.sasl.mechanism=SCRAM-SHA-512
debezium.sink.kafka.producer.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
    required username="dbz" password="${KAFKA_PW}";
debezium.sink.kafka.producer.ssl.truststore.type=PEM
debezium.sink.kafka.producer.ssl.truststore.location=/etc/kafka/ca.pem
debezium.sink.kafka.producer.compression.type=lz4
debezium.sink.kafka.producer.linger.ms=20
debezium.source.connector.class=io.debezium.connector.mysql.MySqlConnector
debezium.source.offset.storage.file.filename=data/offsets.dat
debezium.source.database.hostname=${MYSQL_HOST:db}
debezium.source.database.user=dbz
debezium.source.database.password=${MYSQL_PASSWORD}
debezium.source.database.ssl.mode=verify_ca
debezium.source.topic.prefix=tutorial
debezium.source.table.include.list=shop\\.(orders|items)
debezium.source.bigint.unsigned.handling.mode=precise
debezium.source.include.schema.changes=false
debezium.source.decimal.handling.mode=double
debezium.format.key=avro
debezium.format.value=avro
debezium.format.value.schema.registry.url=http://registry:8081
quarkus.log.level=INFO
"""


def test_debezium_servers_properties_are_read_and_its_own_names_are_said(tmp_path: Path) -> None:
    made = checked(tmp_path, "application.properties", SERVER)
    assert made.connector["name"] == "tutorial"
    assert made.connector["source"] == {
        "type": "mysql",
        "host": "db",
        "user": "dbz",
        "password": "${env:MYSQL_PASSWORD}",
        "tls": {"mode": "verify-ca"},
        "tables": ["shop.orders", "shop.items"],
        "snapshot": "initial",
    }
    assert made.connector["sink"] == {
        "type": "kafka",
        "bootstrap_servers": "broker:9093",
        "tls": {"mode": "verify-full", "ca": "/etc/kafka/ca.pem"},
        "sasl": {"mechanism": "SCRAM-SHA-512", "user": "dbz", "password": "${env:KAFKA_PW}"},
        "topics": {"create": True},
        "compression": "lz4",
        "settings": {"linger.ms": 20},
    }
    assert [line.partition(": ")[0] for line in made.lines] == [
        "debezium.source.offset.storage.file.filename",
        "debezium.source.decimal.handling.mode",
        "quarkus.log.level",
    ]
    assert "tailrace offsets import tutorial data/offsets.dat" in made.lines[0]


def test_a_sink_that_tailrace_has_not_is_named_and_files_stand_for_it(tmp_path: Path) -> None:
    text = SERVER.replace("sink.type=kafka", "sink.type=kinesis") + "debezium.sink.kinesis.region=eu-central-1\n"
    made = checked(tmp_path, "application.properties", text)
    assert made.connector["sink"]["type"] == "files"
    assert "debezium.sink.type: decide: kinesis: there is no such sink" in "\n".join(made.lines)
    assert "debezium.sink.kinesis.region: decide: " in "\n".join(made.lines)


def test_a_connects_workers_servers_and_converters_are_taken_where_the_connector_has_none(tmp_path: Path) -> None:
    worker = """
bootstrap.servers=broker:9092
value.converter=io.confluent.connect.avro.AvroConverter
value.converter.schema.registry.url=http://registry:8081
offset.storage.topic=connect-offsets
producer.compression.type=zstd
rest.port=8083
"""
    text = "\n".join(f"{key}={value}" for key, value in POSTGRES.items())
    made = checked(tmp_path, "shop.properties", text, worker)
    assert made.connector["sink"]["bootstrap_servers"] == "broker:9092"
    assert made.connector["sink"]["compression"] == "zstd"
    assert made.connector["registry"] == {"type": "confluent", "url": "http://registry:8081"}
    said = "\n".join(made.lines)
    assert "`tailrace offsets import shop kafka:connect-offsets` takes the offset over" in said
    assert "decide" not in said and "rest.port" not in said
    without = "\n".join(checked(tmp_path, "shop.properties", text).lines)
    assert "bootstrap.servers: decide: stands in Connect's worker" in without
    assert "value.converter: decide: stands in Connect's worker" in without


@pytest.mark.parametrize(
    ("value", "reference", "to_decide"),
    [
        ("${env:PW}", "${env:PW}", 0),
        ("${directory:/run/secrets:shop}", "${file:/run/secrets/shop}", 0),
        ("${file:/etc/dbz.properties:pw}", "${env:SHOP_EU_DATABASE_PASSWORD}", 1),
        ("${vault:kv/shop:pw}", "${env:SHOP_EU_DATABASE_PASSWORD}", 1),
        ("hunter2", "${env:SHOP_EU_DATABASE_PASSWORD}", 1),
    ],
)
def test_a_secret_becomes_a_reference_and_is_never_shown(
    tmp_path: Path, value: str, reference: str, to_decide: int
) -> None:
    made = imported(tmp_path, POSTGRES, {"database.password": value}, name="shop-eu")
    assert made.connector["source"]["password"] == reference
    assert made.to_decide == len(made.lines) == to_decide
    assert "hunter2" not in str(made)
    assert all("SHOP_EU_DATABASE_PASSWORD" in line for line in made.lines)


def test_a_registrys_and_a_brokers_secrets_are_never_shown_either(tmp_path: Path) -> None:
    keys = {
        "value.converter.basic.auth.credentials.source": "USER_INFO",
        "value.converter.basic.auth.user.info": "sr:hunter2",
        "producer.override.security.protocol": "SASL_SSL",
        "producer.override.sasl.mechanism": "PLAIN",
        "producer.override.sasl.jaas.config": 'org.apache.X required username="dbz" password="hunter2";',
        "producer.override.ssl.truststore.location": "/etc/kafka.jks",
        "producer.override.ssl.truststore.password": "hunter2",
        "schema.history.internal.producer.sasl.jaas.config": 'required username="dbz" password="hunter2";',
        "my.own.password": "hunter2",
    }
    made = imported(tmp_path, POSTGRES, keys)
    assert "hunter2" not in str(made)
    assert made.connector["registry"]["password"] == "${env:SHOP_REGISTRY_PASSWORD}"
    assert made.connector["sink"]["sasl"]["password"] == "${env:SHOP_KAFKA_PASSWORD}"
    assert any("export it as PEM, and name that as sink.tls.ca" in line for line in made.lines)


def test_a_reference_where_no_secret_belongs_is_followed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOST", "db1")
    (tmp_path / "db.properties").write_text("user = dbz\n")
    keys = {"database.hostname": "${env:DB_HOST}", "database.user": f"${{file:{tmp_path}/db.properties:user}}"}
    source = imported(tmp_path, POSTGRES, keys).connector["source"]
    assert (source["host"], source["user"]) == ("db1", "dbz")
    made = imported(tmp_path, POSTGRES, {"database.hostname": "${env:NOT_SET_HERE}"})
    assert made.connector["source"]["host"] == "replace_me"
    assert made.lines == [
        "database.hostname: decide: ${env:NOT_SET_HERE} leads nowhere here; replace_me stands in its place"
    ]


def test_a_reference_that_leads_nowhere_never_keeps_the_rest_from_being_read(tmp_path: Path) -> None:
    keys = ("database.user", "slot.name", "topic.prefix", "database.sslmode", "database.port")
    elsewhere = ("producer.override.bootstrap.servers", "value.converter.schema.registry.url")
    nowhere = dict.fromkeys((*keys, *elsewhere), "${env:NOT_SET_HERE}")
    jaas = 'x.PlainLoginModule required username="${env:NOT_SET_HERE}" password="${env:PW}";'
    sasl = {
        "producer.override.security.protocol": "SASL_SSL",
        "producer.override.sasl.mechanism": "PLAIN",
        "producer.override.sasl.jaas.config": jaas,
    }
    made = imported(tmp_path, POSTGRES, {**nowhere, **sasl})
    assert made.to_decide == len(nowhere) + 1
    assert "${env:NOT_SET_HERE}" not in json.dumps(made.connector)
    assert made.connector["sink"]["sasl"]["password"] == "${env:PW}"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "decimal.handling.mode",
            "string",
            "decide: string: events have no other form for this: readers must take precise",
        ),
        ("snapshot.mode", "always", "decide: always: initial stands for it"),
        ("snapshot.mode", "when_needed", "differs: when_needed: where the log is lost tailrace stops with the gap"),
        ("transforms", "unwrap", "decide: there are no transforms"),
        ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState", "decide: there are no transforms"),
        ("tombstones.on.delete", "false", "decide: false: every delete is followed by a tombstone"),
        ("skipped.operations", "d", "decide: d: every change is delivered"),
        ("skipped.operations", "none", "differs: truncates go to a topic of their own"),
        ("plugin.name", "wal2json", "decide: wal2json: a slot of another plugin than pgoutput cannot be read"),
        ("slot.drop.on.stop", "true", "decide: true: Debezium would drop the slot"),
        ("time.precision.mode", "connect", "decide: connect: events have no other form"),
        ("column.exclude.list", r"public\.orders\.note", "decide: every column is delivered"),
        ("column.mask.with.12.chars", r"public\.orders\.note", "decide: every column is delivered"),
        ("message.key.columns", r"public\.orders:number", "decide: keys are the primary key's columns"),
        ("heartbeat.interval.ms", "10000", "differs: no heartbeat events"),
        ("max.batch.size", "1024", "ignored: tailrace sizes this by itself"),
        ("signal.data.collection", "public.signals", "differs: `tailrace snapshot NAME TABLE`"),
        ("value.converter", "io.confluent.connect.protobuf.ProtobufConverter", "decide: events are Avro"),
        ("value.converter.connect.meta.data", "false", "decide: false: schemas are those of the converter's defaults"),
        ("no.such.key", "1", "decide: neither Debezium's documentation nor tailrace knows it"),
    ],
)
def test_a_key_or_value_without_a_counterpart_is_named_with_what_it_means(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    made = imported(tmp_path, POSTGRES, {key: value})
    assert any(line.startswith(f"{key}: {said}") for line in made.lines), made.lines
    assert (made.to_decide > 0) == any(": decide: " in line for line in made.lines)


def test_every_key_of_debezium_is_known(tmp_path: Path) -> None:
    def unknown(base: Mapping[str, str], key: str) -> bool:
        return any(UNKNOWN.text in line for line in imported(tmp_path, base, {key: "x"}).lines)

    asked = [key for key in KEYS if rule(key) is UNKNOWN and not key.startswith("database.")]
    assert [key for key in asked if unknown(POSTGRES, key) and unknown(MYSQL, key)] == []


@pytest.mark.parametrize(
    ("expressions", "wanted", "exact"),
    [
        (r"public\.orders", ["public.orders"], True),
        ("public.orders", ["public.orders"], True),
        (r" public\.a , ^public\.b$ ", ["public.a", "public.b"], True),
        (r"public\..*", ["public.*"], True),
        ("public.*", ["public*.*"], True),
        (".*orders", ["*.*orders"], True),
        (".*", ["*.*"], True),
        (r"(sales|hr)\.orders?", ["sales.orders", "sales.order", "hr.orders", "hr.order"], True),
        (r"public\.orders_\d[a-c]", ["public.orders_[0-9][a-c]"], True),
        (r"public\.(?!tmp_).*", ["public.*"], False),
        (r"public\.orders_\w+", ["public.orders_*"], False),
        (r"a\.b|c\.d+", ["*.*"], False),
        ("orders", [], True),
    ],
)
def test_an_expression_becomes_globs_that_take_at_least_as_much(
    expressions: str, wanted: list[str], exact: bool
) -> None:
    found = globs(expressions)
    assert [glob for each in found for glob in each.globs] == wanted
    assert all(each.exact is exact for each in found)


EXPRESSIONS = [
    *(r"public\.orders", "public.orders", r"public\..*", "public.*", ".*orders", ".*", r"(sales|hr)\.orders?", "p.*x"),
    *(r"public\.orders_\d[a-c]", r"public\.(?!tmp_).*", r"public\.orders_\w+", r"a\.b|c\.d+", "orders", r"^a\.b$"),
    *(r"public\.[^t].*", r"(?:a|public)\.(b|tmp_.+)", r"a\.b*", r"a\.(bc)?", r"[ap].*\..?", r"a.b", r"a\.b.+?"),
]
NAMES = [
    f"{schema}.{table}"
    for schema in ("public", "public2", "sales", "hr", "a", "c", "x.y")
    for table in ("orders", "order", "orders_1b", "orders_x", "tmp_a", "b", "bb", "bc", "d", "dd", "x", "my_orders")
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_globs_take_the_names_that_java_would_take_and_others_only_where_they_say_so(expression: str) -> None:
    [found] = globs(expression)
    wanted = {name for name in NAMES if re.fullmatch(expression, name)}
    taken = {name for name in NAMES if found.globs and selected(found.globs, name)}
    assert wanted <= taken
    assert taken == wanted or not found.exact


def test_an_exclusion_that_no_glob_can_say_is_left_out_so_that_nothing_is_lost(tmp_path: Path) -> None:
    keys = {"table.exclude.list": r"public\.tmp_\w+,public\.audit", "schema.exclude.list": "secret"}
    made = imported(tmp_path, POSTGRES, keys)
    assert made.connector["source"]["tables"] == ["!public.audit", "!secret.*"]
    assert made.lines == [
        r"table.exclude.list: decide: public\.tmp_\w+ is no glob and is left out: what it hid is captured"
    ]


def test_schemas_and_databases_become_globs_of_their_tables(tmp_path: Path) -> None:
    assert imported(tmp_path, POSTGRES, {"schema.include.list": "a,b_.*"}).connector["source"]["tables"] == [
        "a.*",
        "b_*.*",
    ]
    both = {"schema.include.list": "a", "table.include.list": r"a\.x,.*\.y"}
    made = imported(tmp_path, POSTGRES, both)
    assert made.connector["source"]["tables"] == ["a.x", "*.y"]
    assert made.lines == ["schema.include.list: decide: *.y may lie outside it and is captured too"]


def test_topics_are_made_as_connect_would_make_them(tmp_path: Path) -> None:
    keys = {
        "topic.creation.default.partitions": "12",
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.cleanup.policy": "compact",
        "topic.creation.default.min.insync.replicas": "2",
        "topic.creation.groups": "big",
        "topic.creation.big.partitions": "50",
    }
    made = imported(tmp_path, POSTGRES, keys)
    assert made.connector["sink"]["topics"] == {
        "create": True,
        "partitions": 12,
        "cleanup": "compact",
        "settings": {"min.insync.replicas": "2"},
    }
    assert [line.partition(": ")[0] for line in made.lines] == [
        "topic.creation.groups",
        "topic.creation.big.partitions",
    ]


def test_apicurios_converter_leads_to_its_address_of_confluents_protocol(tmp_path: Path) -> None:
    keys = {
        "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        "value.converter.schema.registry.url": "",
        "value.converter.apicurio.registry.url": "http://apicurio:8080/apis/registry/v2",
        "value.converter.apicurio.registry.as-confluent": "true",
    }
    made = imported(tmp_path, POSTGRES, keys)
    assert made.connector["registry"]["url"] == "http://apicurio:8080/apis/ccompat/v7"
    assert made.lines == []


@pytest.mark.parametrize(
    ("converter", "keys", "form"),
    [
        ("org.apache.kafka.connect.json.JsonConverter", {}, "json_with_schemas"),
        (
            "org.apache.kafka.connect.json.JsonConverter",
            {"key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"},
            "json",
        ),
        (
            "io.debezium.converters.CloudEventsConverter",
            {"value.converter.json.schemas.enable": "false"},
            "cloudevents",
        ),
    ],
)
def test_the_format_is_that_of_the_converters(
    tmp_path: Path, converter: str, keys: Mapping[str, str], form: str
) -> None:
    converters = {"key.converter": converter, "value.converter": converter, "value.converter.schema.registry.url": ""}
    others = {"extended.headers.enabled": "false", "field.name.adjustment.mode": "avro"}
    made = imported(tmp_path, POSTGRES, {**converters, **keys, **others})
    assert made.connector["events"]["format"] == form
    assert made.connector["sink"]["context_headers"] is False
    assert "registry" not in made.connector and made.lines == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "not valid JSON"),
        ('{"name": "a", "config": {"a": {"b": 1}}}', "a is not a text"),
        ('{"connector.class": "io.debezium.connector.oracle.OracleConnector"}', "only Postgres, MySQL and MariaDB"),
        (json.dumps({**POSTGRES, "database.hostname": ""}), "database.hostname is missing"),
        (json.dumps({**POSTGRES, "database.port": "many"}), "database.port is many"),
        ("connector.class=\\u00g1", "is no .properties file"),
        (json.dumps({**POSTGRES, "database.sslmode": "sometimes"}), 'source.tls.mode: "sometimes" is not known'),
    ],
)
def test_what_is_no_such_configuration_is_one_clear_error(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises((ConfigError, Refused), match=error):
        checked(tmp_path, "connector.json", text)


def test_the_command_writes_a_file_that_loads_and_never_over_another(
    tailrace: Tailrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, output = tmp_path / "debezium.json", tmp_path / "shop.json"
    file.write_text(json.dumps({"name": "shop", "config": {**POSTGRES, "database.password": "hunter2"}}))
    done = tailrace("config", "import", file)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr and "SHOP_DATABASE_PASSWORD" in done.stderr
    written = tailrace("config", "import", file, "--output", output, "--bootstrap-servers", "broker:9092")
    assert written.stdout == ""
    assert json.loads(output.read_text())["sink"]["bootstrap_servers"] == "broker:9092"
    monkeypatch.setenv("SHOP_DATABASE_PASSWORD", "hunter2")
    assert config.load(output).name == "shop"
    before = output.read_text()
    again = tailrace("config", "import", file, "--output", output)
    assert again.returncode == 2
    assert f"{output} is there already" in again.stderr
    assert output.read_text() == before
