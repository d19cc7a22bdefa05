"""Tables that a Debezium engine has published, taken over: its registry gets no new version, its topics the same keys.

The engine is the real one, and writes through Confluent's converter and Kafka's own producer.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from schema.avro import topic_name
from schema.varint import long
from tests.connectors.mysql import test_goldens as mysql_house
from tests.connectors.test_types import HOUSE_SCHEMA, HOUSE_TEXT
from tests.kafka_servers import Kafka
from tests.mysql_servers import BY_NAME, MysqlDatabase
from tests.oracle import make_goldens, make_mysql_goldens, mysql_goldens
from tests.oracle.publisher import Publisher
from tests.registry_servers import Registry
from tests.servers import VERSIONS, Database, Tailrace, skip, until

PARTITIONS = 3
LAST_ROW = 99_999
NO_NAME = "2nd"
"""As a part of a namespace, no name in Avro 1.12, which the registry is built on."""

OTHER_KEY = "public.by_index_and_key"
"""Its replica identity is an index, whose columns are the key here; there it is the primary key."""


@pytest.fixture
def started(kafka: Kafka, registry: Registry, tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Publisher]]:
    """Starts an engine that publishes under the test's prefix, which is the registry's too."""
    if shutil.which("javac") is None:
        skip("no JDK for Debezium's engine on this machine: install one, 17 or newer")
    registry.prefix = kafka.prefix
    running: list[Publisher] = []

    def start(properties: Mapping[str, str]) -> Publisher:
        prefix = {"topic.prefix": kafka.prefix}
        engine = Publisher(tmp_path, {**properties, **prefix}, bootstrap=kafka.bootstrap, registry=registry.url)
        running.append(engine)
        engine.start()
        return engine

    yield start
    for engine in running:
        engine.kill()


def connector(
    kafka: Kafka, registry: Registry, database: Database | MysqlDatabase, tables: list[str]
) -> dict[str, Any]:
    return database.connector(
        source={"tables": tables},
        events={"topic_prefix": kafka.prefix},
        registry={"type": "confluent", "url": registry.url},
        sink={"type": "kafka", "bootstrap_servers": kafka.bootstrap},
        errors={"unrepresentable": "dlq"},
    )


def published(kafka: Kafka) -> dict[str, dict[bytes, set[int]]]:
    """By topic, in which partitions each key lies."""
    found: dict[str, dict[bytes, set[int]]] = {}
    for topic in sorted(name for name in kafka.topics() if name.startswith(f"{kafka.prefix}.")):
        lies = found[topic] = defaultdict(set)
        for record in kafka.read(topic):
            if record.key is not None:
                lies[record.key].add(record.partition)
    return found


def versions(registry: Registry) -> dict[str, list[int]]:
    return {subject: registry.versions(subject) for subject in registry.subjects()}


def has_last_row(kafka: Kafka, topic: str) -> bool:
    return any(record.key and record.key[5:] == long(LAST_ROW) for record in kafka.read(topic))


def is_taken_over(
    kafka: Kafka, registry: Registry, tailrace: Tailrace, database: Database | MysqlDatabase, tables: list[str]
) -> None:
    """The connector copies every table anew, under the versions that are there, to where its rows are."""
    theirs, known = published(kafka), versions(registry)
    assert len(theirs) == len(tables)
    assert all(found == [1] for found in known.values())
    assert any(len(set.union(*keys.values())) == PARTITIONS for keys in theirs.values() if keys)
    before = {topic: len(kafka.read(topic)) for topic in theirs}
    tailrace.catch_up(connector(kafka, registry, database, tables))
    assert versions(registry) == known
    assert published(kafka) == theirs
    assert all(len(kafka.read(topic)) > count for topic, count in before.items())


@pytest.mark.postgres
@pytest.mark.parametrize("postgres_server", VERSIONS[:1], ids=["postgres15"], indirect=True)
def test_postgres_tables_keep_their_versions_and_partitions(
    postgres: Database,
    kafka: Kafka,
    registry: Registry,
    tailrace: Tailrace,
    started: Callable[[Mapping[str, str]], Publisher],
) -> None:
    make_goldens.run(postgres.admin, "catalogue")
    postgres.execute("alter table defaults alter d set default 2.5")  # no registry takes the default -Infinity
    make_goldens.run(postgres.admin, "rows", offset=0)
    found = postgres.execute(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'my-app')"
    )
    left_out = {*HOUSE_TEXT, *HOUSE_SCHEMA, f"public.{NO_NAME}", OTHER_KEY}
    tables = sorted(name for (name,) in found if name not in left_out)
    for table in tables:
        kafka.create_topic(topic_of(kafka, table), PARTITIONS)
    place = conninfo_to_dict(postgres.dsn)
    postgres.execute("create publication oracle for all tables")
    engine = started(
        {
            **make_goldens.engine_properties(int(str(place.get("port", 5432)))),
            "database.hostname": str(place["host"]),
            "database.user": str(place["user"]),
            "database.password": str(place.get("password", "unused")),
            "database.dbname": str(place["dbname"]),
            "slot.name": postgres.name,
            "table.include.list": ",".join(tables).replace(".", r"\\."),
        }
    )
    numbers = topic_of(kafka, "public.numbers")
    until(lambda: engine.running() and bool(kafka.read(numbers)), "the engine has copied a table", 240)
    make_goldens.run(postgres.admin, "rows", offset=1000)
    postgres.execute("insert into numbers (id) values (%s)", LAST_ROW)
    until(lambda: engine.running() and has_last_row(kafka, numbers), "the engine has published the last row", 240)
    engine.stop()
    is_taken_over(kafka, registry, tailrace, postgres, tables)


@pytest.mark.mysql
@pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
def test_mysql_tables_keep_their_versions_and_partitions(
    mysql: MysqlDatabase,
    kafka: Kafka,
    registry: Registry,
    tailrace: Tailrace,
    started: Callable[[Mapping[str, str]], Publisher],
    tmp_path: Path,
) -> None:
    mysql_goldens.run(mysql, "catalogue")
    mysql_goldens.run(mysql, "rows")
    house = {table for table, _ in mysql_house.HOUSE_SCHEMA}
    left_out = {*house, mysql_house.HOUSE_KEY, mysql_house.NO_DAYS, NO_NAME}
    tables = sorted(f"{mysql.name}.{name}" for (name,) in mysql.execute("show tables") if name not in left_out)
    for table in tables:
        kafka.create_topic(topic_of(kafka, table), PARTITIONS)
    engine = started(
        {
            **make_mysql_goldens.engine_properties(mysql.address.port, tmp_path),
            "database.hostname": mysql.address.host,
            "database.user": mysql.address.user,
            "database.password": mysql.address.password,
            "database.include.list": mysql.name,
            "table.include.list": ",".join(tables).replace(".", r"\\."),
            "include.schema.changes": "false",
        }
    )
    ints = topic_of(kafka, f"{mysql.name}.ints")
    until(lambda: engine.running() and bool(kafka.read(ints)), "the engine has copied a table", 240)
    mysql_goldens.run(mysql, "rows", offset=1000)
    mysql.execute("insert into ints (id) values (%s)", LAST_ROW)
    until(lambda: engine.running() and has_last_row(kafka, ints), "the engine has published the last row", 240)
    engine.stop()
    is_taken_over(kafka, registry, tailrace, mysql, tables)


def topic_of(kafka: Kafka, table: str) -> str:
    return topic_name(kafka.prefix, table)
