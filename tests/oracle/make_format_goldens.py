"""Makes tests/golden/formats anew from real Debezium engines over a real Postgres 15 and a real MySQL 9.7:

    python -m tests.oracle.make_format_goldens [postgres] [mysql]

The tables and changes are those of make_goldens and make_mysql_goldens. One engine gives each event in every format at
once, so that the test starts from its Avro and judges nothing but the format. What is said twice is kept once: a
schema, the payload beside its schema, the data of a CloudEvent.
"""

import base64
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from connectors.postgres.types import SESSION_SETTINGS
from service.local_postgres import LocalPostgres
from tests.mysql_servers import BY_NAME, LocalMysql, MysqlDatabase
from tests.oracle import make_goldens, make_mysql_goldens, mysql_goldens
from tests.oracle.mysql_goldens import PREFIX
from tests.oracle.oracle import HERE, Oracle
from tests.servers import find_programs, until

GOLDEN = HERE.parent / "golden" / "formats"
IDLE_MS = 15_000
DDL_KEPT = 5


def main() -> None:
    for name in sys.argv[1:] or ["postgres", "mysql"]:
        folder = Path(tempfile.mkdtemp(prefix="tailrace-oracle-"))
        folder.chmod(0o755)
        try:
            write(name, postgres(folder) if name == "postgres" else mysql(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def postgres(folder: Path) -> Oracle:
    """The engine, once it has gone idle."""
    programs = find_programs(15)
    if programs is None:
        sys.exit("no Postgres 15 on this machine")
    server = LocalPostgres(programs, folder / "server")
    options = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
    try:
        server.initdb()
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True, options=options, row_factory=tuple_row) as connection:
            make_goldens.run(connection, "catalogue")
            make_goldens.run(connection, "rows", offset=0)
            connection.execute("create publication oracle for all tables")
            oracle = Oracle(folder, make_goldens.engine_properties(server.port), idle_ms=IDLE_MS, program="Formats")
            oracle.start()
            until(lambda: make_goldens.streaming(connection) or not oracle.running(), "the engine streams", 120)
            time.sleep(2)
            make_goldens.run(connection, "rows", offset=1000)
            make_goldens.run(connection, "changes")
            oracle.lines()
            return oracle
    finally:
        server.remove()


def mysql(folder: Path) -> Oracle:
    server = LocalMysql(BY_NAME["mysql97"])
    try:
        server.start()
        database = MysqlDatabase(server.kind, server.address, folder)
        database.execute(f"create database {mysql_goldens.SCHEMA} character set utf8mb4")
        database.admin.select_db(mysql_goldens.SCHEMA)
        for script in ("catalogue", "rows"):
            mysql_goldens.run(database, script)
        properties = make_mysql_goldens.engine_properties(database.address.port, folder)
        oracle = Oracle(folder, properties, idle_ms=IDLE_MS, program="Formats")
        oracle.start()
        until(lambda: make_mysql_goldens.streaming(database) or not oracle.running(), "the engine streams", 120)
        time.sleep(2)
        for script in ("rows", "changes"):
            mysql_goldens.run(database, script, offset=1000)
        oracle.lines()
        return oracle
    finally:
        server.remove()


def write(name: str, oracle: Oracle) -> None:
    schemas: dict[int, dict[str, Any]] = {}
    events = sample(event for line in oracle.lines() if (event := judged(oracle, schemas, *line)) is not None)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    write_lines(f"{name}-schemas.jsonl", schemas.values())
    write_lines(f"{name}-events.jsonl", events)


def sample(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of the DDL statements, which are many, the first few."""
    statements = 0
    for event in events:
        statements += event["topic"] == PREFIX
        if event["topic"] != PREFIX or statements <= DDL_KEPT:
            yield event


def judged(
    oracle: Oracle,
    schemas: dict[int, dict[str, Any]],
    topic: str,
    key: str,
    value: str,
    key_json: str,
    value_json: str,
    key_with_schema: str,
    value_with_schema: str,
    cloud_event: str,
    headers: str,
) -> dict[str, Any] | None:
    """None for an event that only repeats: the rows that were copied come again as creates."""
    event: dict[str, Any] = {
        "topic": topic,
        "key": part(oracle, schemas, key, key_json, key_with_schema),
        "value": part(oracle, schemas, value, value_json, value_with_schema),
        "headers": {name: text(base) for name, _, base in (one.partition("=") for one in headers.split(","))},
    }
    payload = event["value"] and event["value"]["json"]
    if shown := parsed(cloud_event):
        assert shown.pop("data") == {"before": payload["before"], "after": payload["after"]}
        event["cloud_event"] = shown
    is_repeated = payload and payload.get("op") == "c" and "__debezium.oldkey" not in event["headers"]
    is_large = payload and "toasted" in topic and payload["op"] == "r"
    return None if is_repeated or is_large else event


def part(oracle: Oracle, schemas: dict[int, dict[str, Any]], avro: str, plain: str, whole: str) -> Any:
    """A key or a value; None for one that is null in every format."""
    if avro == "-":
        assert (plain, parsed(whole)) in (("-", None), (plain, {"schema": None, "payload": None})), (plain, whole)
        return None
    schema_id = int.from_bytes(base64.b64decode(avro)[1:5], "big")
    shown = parsed(whole)
    known = schemas.setdefault(
        schema_id, {"id": schema_id, "avro": oracle.schema(schema_id), "connect": shown["schema"]}
    )
    assert known["connect"] == shown["schema"], "one Avro schema, two of Connect"
    assert shown["payload"] == parsed(plain)
    return {"avro": avro, "json": parsed(plain)}


def parsed(base: str) -> Any:
    return None if base == "-" else json.loads(base64.b64decode(base))


def text(base: str) -> str:
    return base64.b64decode(base).decode()


def write_lines(name: str, lines: Iterable[Any]) -> None:
    content = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (GOLDEN / name).write_text(content)
    print(f"{GOLDEN / name}: {len(content) >> 10} KB")


if __name__ == "__main__":
    main()
