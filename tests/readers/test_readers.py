"""Readers that users have, each building the source's table from the topic that a connector fills."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests import mysql_servers, servers
from tests.kafka_servers import Kafka
from tests.mysql_servers import PROGRAMS, MysqlDatabase
from tests.oracle.oracle import engine
from tests.readers.publishing import COLUMNS, Published, Row, publish
from tests.registry_servers import Registry
from tests.servers import ROOT, VERSIONS, Database, Tailrace, skip

READER_TIMEOUT_S = 300
UPSERT_EVERY = 25

pytestmark = [pytest.mark.kafka, pytest.mark.registry]


@pytest.fixture(
    scope="module",
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("mysql", marks=pytest.mark.mysql)],
)
def published(
    request: pytest.FixtureRequest, kafka_server: str, registry_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    """One table, filled once for all readers."""
    folder = tmp_path_factory.mktemp(request.param)
    kafka, registry, tailrace = Kafka(kafka_server), Registry(registry_server), Tailrace(folder)
    for database in _database(request.param, folder):
        yield publish(request.param, database, kafka, registry, tailrace)
        tailrace.close()
        database.drop()
    registry.drop()
    registry.close()
    kafka.drop()


def _database(source: Literal["postgres", "mysql"], folder: Path) -> Iterator[Database | MysqlDatabase]:
    if source == "postgres":
        for dsn in servers.serve(VERSIONS[-1]):
            yield Database(dsn, VERSIONS[-1], folder)
    else:
        kind = mysql_servers.BY_NAME["mysql97"]
        for address in mysql_servers.serve(kind):
            yield MysqlDatabase(kind, address, folder)


def test_confluents_python_deserializer_reads_every_event(published: Published) -> None:
    assert folded(decoded(published)) == published.rows


def test_confluents_java_deserializer_reads_every_event(published: Published) -> None:
    if shutil.which("javac") is None:
        skip("no JDK for Confluent's deserializer on this machine: install one, 17 or newer")
    class_path, java = engine()
    program = [java, "-Xmx128m", "-XX:+UseSerialGC", "-cp", class_path, "Deserializer"]
    said = _run([*program, published.kafka.bootstrap, published.registry.url, published.topic])
    events = (line.split("\t") for line in said.splitlines())
    assert folded((_from_java(key), _from_java(value)) for key, value in events) == published.rows


def test_flink_builds_the_table_that_is_in_the_source(published: Published) -> None:
    python, jars = flink()
    program = [python, str(ROOT / "tests" / "readers" / "flink_table.py"), documented("create table", published)]
    said = _run([*program, *jars], JVM_ARGS="-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1")
    rows: dict[int, Row] = {}
    for line in said.splitlines():
        kind, *values = json.loads(line)
        row = _from_flink(dict(zip(COLUMNS, values, strict=True)))
        if kind in ("-U", "-D"):
            assert rows.pop(row["id"]) == row
        else:
            assert row["id"] not in rows
            rows[row["id"]] = row
    assert rows == published.rows


def test_duckdb_holds_the_table_of_the_source_after_an_upsert_by_key(published: Published) -> None:
    with duckdb.connect() as db:
        db.execute(documented("create or replace table orders", published))
        events = [(key, value) for key, value in decoded(published) if value is not None]
        for start in range(0, len(events), UPSERT_EVERY):
            db.execute(
                "create or replace temp table changes as select 0 as nth, false as deleted, * from orders limit 0"
            )
            some = [
                (nth, value["op"] == "d", *row({**(value["after"] or {}), **key}).values())
                for nth, (key, value) in enumerate(events[start : start + UPSERT_EVERY])
            ]
            db.executemany(f"insert into changes values (?, ?{', ?' * len(COLUMNS)})", some)
            db.execute(documented("merge into orders", published))
        found = db.execute("select * from orders").fetchall()
    assert {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in found} == published.rows


def decoded(published: Published) -> Iterator[tuple[Row, Any]]:
    """(key, value) of every event, in the order of each partition."""
    of_key = SerializationContext(published.topic, MessageField.KEY)
    of_value = SerializationContext(published.topic, MessageField.VALUE)
    with SchemaRegistryClient({"url": published.registry.url}) as registry:
        read = AvroDeserializer(registry)
        for record in published.kafka.read(published.topic):
            yield read(record.key, of_key), read(record.value, of_value)


def folded(events: Iterable[tuple[Row, Any]]) -> dict[int, Row]:
    """The table that they make; each deleted row was there, and its tombstone follows."""
    rows: dict[int, Row] = {}
    deleted: set[int] = set()
    for key, value in events:
        if value is None:
            deleted.remove(key["id"])
        elif value["op"] == "d":
            assert rows.pop(key["id"]) == row(value["before"])
            deleted.add(key["id"])
        else:
            assert value["op"] in "rcu"
            rows[key["id"]] = row(value["after"])
    assert not deleted
    return rows


def row(values: Row) -> Row:
    """With the column that the earlier ones did not have yet."""
    return {column: values.get(column) for column in COLUMNS}


def documented(statement: str, published: Published) -> str:
    """The one in docs/readers.md that begins so, with this run's names."""
    text = (ROOT / "docs" / "readers.md").read_text()
    (sql,) = [sql for sql in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) if sql.startswith(statement)]
    names = {
        "broker:9092": published.kafka.bootstrap,
        "http://registry:8081": published.registry.url,
        "shop.public.orders": published.topic,
    }
    if published.source == "mysql":
        names["paid boolean"] = "paid smallint"
    for name, ours in names.items():
        sql = sql.replace(name, ours)
    return str(sql)


def flink() -> tuple[str, list[str]]:
    """(Python with PyFlink, the jars that read Kafka and Avro)."""
    prefix = Path(os.environ.get("TAILRACE_TEST_FLINK") or PROGRAMS / "flink")
    if not (prefix / "VERSION").exists():
        skip("no PyFlink on this machine: run .ci/servers")
    return str(prefix / "python" / "bin" / "python"), sorted(str(jar) for jar in (prefix / "lib").glob("*.jar"))


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=READER_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _from_java(text: str) -> Any:
    """Avro's own JSON: bytes as characters, decimals as numbers."""
    event = json.loads(text, parse_float=Decimal)
    for image in ("before", "after"):
        if event and event.get(image):
            event[image] = _typed(event[image], photo=lambda photo: photo.encode("latin-1"), weight=float)
    return event


def _from_flink(row: dict[str, Any]) -> Row:
    return _typed(row, price=Decimal, photo=bytes.fromhex)


def _typed(row: dict[str, Any], **types: Any) -> dict[str, Any]:
    made = {name: of(row[name]) for name, of in types.items() if row[name] is not None}
    return {**row, **made}
