"""Makes tests/golden/mysql anew from a real Debezium engine over a real MySQL 9.7:

    python -m tests.oracle.make_mysql_goldens

mysql/catalogue.sql makes the tables, rows.sql fills them for the snapshot and again while the engine streams,
changes.sql updates and deletes, ddl.sql changes tables. The golden keeps what the engine emitted (Avro bodies); the
test replays the same SQL through our own source. Debezium's MariaDB connector is in none of PyPI's packages.
"""

import base64
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.mysql_servers import BY_NAME, LocalMysql, MysqlDatabase
from tests.oracle.mysql_goldens import GOLDEN, PREFIX, SCHEMA, ddl, run
from tests.oracle.oracle import JudgedEvent, Oracle
from tests.servers import until


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tailrace-oracle-"))
    server = LocalMysql(BY_NAME["mysql97"])
    try:
        server.start()
        database = MysqlDatabase(server.kind, server.address, folder)
        database.execute(f"create database {SCHEMA} character set utf8mb4")
        database.admin.select_db(SCHEMA)
        write(*judge(database, folder))
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def judge(database: MysqlDatabase, folder: Path) -> tuple[list[JudgedEvent], list[str]]:
    """Every event, and the DDL that was run while the engine streamed."""
    for script in ("catalogue", "rows", "zeros"):
        run(database, script)
    oracle = Oracle(folder, engine_properties(database.address.port, folder))
    oracle.start()
    try:
        until(lambda: streaming(database) or not oracle.running(), "the engine streams", 120)
        if oracle.running():
            time.sleep(2)
            for script in ("rows", "zeros", "changes"):
                run(database, script, offset=1000)
            statements = ddl()
            for statement in statements:
                database.execute(statement)
        return oracle.finish(), statements
    finally:
        oracle.stop()


def engine_properties(port: int, folder: Path) -> dict[str, str]:
    return {
        "name": "oracle",
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "topic.prefix": PREFIX,
        "database.hostname": "127.0.0.1",
        "database.port": str(port),
        "database.user": "root",
        "database.password": "",
        "database.server.id": "5401",
        "database.include.list": f"{SCHEMA},ddl_other",
        "snapshot.mode": "initial",
        "include.schema.changes": "true",
        "bigint.unsigned.handling.mode": "precise",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(folder / "history.dat"),
        "schema.name.adjustment.mode": "avro",
        "field.name.adjustment.mode": "avro",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.flush.interval.ms": "1000",
    }


def streaming(database: MysqlDatabase) -> bool:
    return bool(database.dumps())


def write(events: list[JudgedEvent], statements: list[str]) -> None:
    tables: dict[str, Any] = {}
    changes, ddl_events = [], []
    for event in events:
        shown = {"key": encoded(event.key), "value": encoded(event.value)}
        if event.topic == PREFIX:
            tables.setdefault(PREFIX, schemas(event))
            ddl_events.append(shown)
            continue
        table = event.topic.removeprefix(f"{PREFIX}.{SCHEMA}.")
        if event.value is not None and schemas(event) != tables.setdefault(table, schemas(event)):
            print("schema differs between events of", event.topic)
        changes.append({"table": table, **shown})
    GOLDEN.mkdir(parents=True, exist_ok=True)
    write_lines("schemas.jsonl", [{"table": name, **shown} for name, shown in tables.items()])
    write_lines("changes.jsonl", changes)
    write_lines("ddl.jsonl", ddl_events)


def schemas(event: JudgedEvent) -> dict[str, Any]:
    return {"key_schema": event.key_schema, "value_schema": event.value_schema}


def encoded(body: bytes | None) -> str | None:
    return None if body is None else base64.b64encode(body).decode()


def write_lines(name: str, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (GOLDEN / name).write_text(text)
    print(f"{GOLDEN / name}: {len(lines)} lines, {len(text) >> 10} KB")


if __name__ == "__main__":
    main()
