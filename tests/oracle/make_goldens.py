"""Makes tests/golden/postgres anew from a real Debezium engine over a real Postgres 15:

    python -m tests.oracle.make_goldens

catalogue.sql makes the tables, rows.sql fills them for the snapshot and again while the engine streams, changes.sql
updates and deletes. For each change the golden keeps what Postgres said (the values' text) and what the engine
emitted for it (Avro bodies), so that the tests need neither.
"""

import base64
import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from connectors.postgres import pgoutput
from connectors.postgres.types import SESSION_SETTINGS, TYPES_SQL
from schema.change import Value
from service.local_postgres import LocalPostgres
from tests.oracle.oracle import HERE, JudgedEvent, Oracle
from tests.servers import find_programs, until

GOLDEN = HERE.parent / "golden" / "postgres"
PREFIX = "p"
EXCLUDED = {"toasted": {"r", "c"}, "toasted_full": {"r", "c"}}
"""Operations that would only repeat long values."""

Text = str | dict[str, str] | None


def main() -> None:
    programs = find_programs(15)
    if programs is None:
        sys.exit("no Postgres 15 on this machine")
    folder = Path(tempfile.mkdtemp(prefix="tailrace-oracle-"))
    server = LocalPostgres(programs, folder / "server")
    folder.chmod(0o755)
    try:
        server.initdb()
        server.start()
        options = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
        with psycopg.connect(server.dsn(), autocommit=True, options=options, row_factory=tuple_row) as connection:
            judge(connection, server, folder)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def judge(connection: psycopg.Connection[Any], server: LocalPostgres, folder: Path) -> None:
    run(connection, "catalogue")
    run(connection, "rows", offset=0)
    connection.execute("create publication oracle for all tables")
    connection.execute("select pg_create_logical_replication_slot('golden', 'pgoutput')")
    oracle = Oracle(folder, engine_properties(server.port))
    oracle.start()
    try:
        until(lambda: streaming(connection) or not oracle.running(), "the engine streams", 120)
        snapshot = copied(connection)
        if oracle.running():
            time.sleep(2)
            run(connection, "rows", offset=1000)
            run(connection, "changes")
        events = oracle.finish()
    finally:
        oracle.stop()
    relations, changes = streamed(connection)
    write(connection, relations, [*snapshot, *changes], events)


def engine_properties(port: int) -> dict[str, str]:
    return {
        "name": "oracle",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "topic.prefix": PREFIX,
        "database.hostname": "127.0.0.1",
        "database.port": str(port),
        "database.user": "postgres",
        "database.password": "unused",
        "database.dbname": "postgres",
        "plugin.name": "pgoutput",
        "slot.name": "oracle",
        "publication.name": "oracle",
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "initial",
        "schema.name.adjustment.mode": "avro",
        "field.name.adjustment.mode": "avro",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.flush.interval.ms": "1000",
    }


def run(connection: psycopg.Connection[Any], script: str, offset: int | None = None) -> None:
    text = (HERE / f"{script}.sql").read_text()
    connection.execute(text.replace("OFFSET", str(offset)).encode())


def streaming(connection: psycopg.Connection[Any]) -> bool:
    active = connection.execute("select from pg_replication_slots where slot_name = 'oracle' and active")
    return active.fetchone() is not None


def copied(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """The rows that the snapshot reads, as changes of kind ``r``."""
    tables = connection.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname in ('public', 'my-app')"
    ).fetchall()
    changes = []
    for schema, table in tables:
        with connection.cursor() as cursor, cursor.copy(f'copy "{schema}"."{table}" to stdout') as copy:
            for row in copy.rows():
                changes.append({"table": f"{schema}.{table}", "kind": "r", "new": list(row)})
    return changes


def streamed(connection: psycopg.Connection[Any]) -> tuple[dict[bytes, pgoutput.Relation], list[dict[str, Any]]]:
    rows = connection.execute(
        "select data from pg_logical_slot_get_binary_changes('golden', null, null, 'proto_version', '1',"
        " 'publication_names', 'oracle')"
    ).fetchall()
    relations: dict[bytes, pgoutput.Relation] = {}
    changes: list[dict[str, Any]] = []
    for (data,) in rows:
        frame = b"w" + bytes(24) + data
        kind = frame[pgoutput.MESSAGE_AT]
        if kind == pgoutput.RELATION:
            relation = pgoutput.relation(frame)
            relations[relation.oid.to_bytes(4, "big")] = relation
        elif kind in (pgoutput.INSERT, pgoutput.UPDATE, pgoutput.DELETE):
            relation = relations[pgoutput.relation_oid(frame)]
            changes.append({"table": f"{relation.schema}.{relation.name}", **change(frame, kind)})
    return relations, changes


def change(frame: bytes, kind: int) -> dict[str, Any]:
    if kind == pgoutput.INSERT:
        return {"kind": "c", "new": texts(pgoutput.values(frame, pgoutput.TUPLE_AT)[0])}
    if kind == pgoutput.UPDATE:
        image, old, at = pgoutput.updated(frame)
        new = pgoutput.values(frame, at)[0]
        return {"kind": "u", "image": image, "old": old and texts(old), "new": texts(new)}
    image, old = pgoutput.deleted(frame)
    return {"kind": "d", "image": image, "old": texts(old)}


def texts(values: list[Value]) -> list[Text]:
    return [v.decode() if isinstance(v, bytes) else None if v is None else {"toast": "unchanged"} for v in values]


def write(
    connection: psycopg.Connection[Any],
    relations: dict[bytes, pgoutput.Relation],
    changes: list[dict[str, Any]],
    events: list[JudgedEvent],
) -> None:
    waiting: dict[str, deque[JudgedEvent]] = defaultdict(deque)
    for event in events:
        waiting[event.topic].append(event)
    tables: dict[str, Any] = {}
    oids: set[int] = set()
    for relation in relations.values():
        name = f"{relation.schema}.{relation.name}"
        queue = waiting[topic(relation.schema, relation.name)]
        if not queue:
            print("no events for", name)
            continue
        oids |= {column.type_oid for column in relation.columns}
        tables[name] = {
            "columns": columns(connection, relation),
            "topic": queue[0].topic,
            "key_schema": queue[0].key_schema,
            "value_schema": queue[0].value_schema,
        }
    kept = []
    for entry in changes:
        table = entry["table"]
        queue = waiting[tables[table]["topic"]]
        entry["events"] = [judged(event, tables[table]) for event in taken(entry, queue)]
        if entry["kind"] not in EXCLUDED.get(table.split(".")[1], ()):
            kept.append(entry)
    for name, queue in waiting.items():
        if queue:
            print("left over:", name, len(queue))
    types = connection.execute(TYPES_SQL, {"oids": sorted(oids)}).fetchall()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    write_json("tables.json", {"types": types, "tables": tables})
    write_json("changes.jsonl", kept)


def topic(schema: str, table: str) -> str:
    return f"{PREFIX}.{schema}.{table}"


def columns(connection: psycopg.Connection[Any], relation: pgoutput.Relation) -> list[dict[str, Any]]:
    """What the log and the catalogue say of a table's columns."""
    rows = connection.execute(
        "select a.attname, a.attnotnull or t.typnotnull, pg_get_expr(d.adbin, d.adrelid)"
        " from pg_attribute a join pg_type t on t.oid = a.atttypid"
        " left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where a.attrelid = %s",
        [relation.oid],
    )
    known = {name: {"not_null": not_null, "default": default} for name, not_null, default in rows}
    return [
        {"name": column.name, "oid": column.type_oid, "typmod": column.typmod, **known[column.name]}
        for column in relation.columns
    ]


def taken(entry: dict[str, Any], queue: deque[JudgedEvent]) -> list[JudgedEvent]:
    """The engine's events for one change: a delete has a tombstone behind it, a change of key a create behind that."""
    events = [queue.popleft()]
    if entry["kind"] in "ud" and queue and queue[0].value is None:
        events.append(queue.popleft())
        if entry["kind"] == "u":
            events.append(queue.popleft())
    return events


def judged(event: JudgedEvent, table: dict[str, Any]) -> dict[str, Any]:
    shown = (event.key_schema, event.value_schema)
    if event.value is not None and shown != (table["key_schema"], table["value_schema"]):
        print("schema differs between events of", event.topic)
    return {"key": encoded(event.key), "value": encoded(event.value)}


def encoded(body: bytes | None) -> str | None:
    return None if body is None else base64.b64encode(body).decode()


def write_json(name: str, content: Any) -> None:
    path = GOLDEN / name
    lines = content if name.endswith(".jsonl") else [content]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text)
    print(f"{path}: {len(lines)} lines, {len(text) >> 10} KB")


if __name__ == "__main__":
    main()
