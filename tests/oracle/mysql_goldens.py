"""The goldens in tests/golden/mysql, and the SQL that they were made with."""

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.mysql_servers import Kind, MysqlDatabase

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "mysql"
PREFIX = "p"
SCHEMA = "shop"
"""The database in which the engine saw the tables."""


class GoldenSchemas(NamedTuple):
    key: Any
    value: Any


class GoldenEvent(NamedTuple):
    """Avro bodies; `value` is None for a tombstone, `key` for a table without one."""

    key: bytes | None
    value: bytes | None


def run(database: MysqlDatabase, script: str, offset: int = 0) -> None:
    """The statements of mysql/`script`.sql as far as the server has what they need."""
    database.execute("set session sql_mode = '', time_zone = '+00:00'")
    for statement in _statements(script, database.kind):
        database.execute(statement.replace("OFFSET", str(offset)))


def ddl() -> list[str]:
    return [line for line in (HERE / "mysql" / "ddl.sql").read_text().splitlines() if not line.startswith("--")]


def _statements(script: str, kind: Kind) -> Iterator[str]:
    text = (HERE / "mysql" / f"{script}.sql").read_text()
    for server in (kind.rig, kind.name):
        text = text.replace(f"-- {server}: ", "")
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    for part in "\n".join(lines).split(";\n"):
        if part.strip():
            yield part.strip().removesuffix(";")


@cache
def golden_schemas() -> dict[str, GoldenSchemas]:
    """By table; those of the DDL events by PREFIX."""
    lines = (json.loads(line) for line in (GOLDEN / "schemas.jsonl").read_text().splitlines())
    return {line["table"]: GoldenSchemas(line["key_schema"], line["value_schema"]) for line in lines}


@cache
def golden_changes() -> dict[str, list[GoldenEvent]]:
    """By table, in the order of the engine: the rows of the snapshot, then the stream."""
    changes: dict[str, list[GoldenEvent]] = {}
    for line in map(json.loads, (GOLDEN / "changes.jsonl").read_text().splitlines()):
        changes.setdefault(line["table"], []).append(_event(line))
    return changes


@cache
def golden_ddl() -> list[GoldenEvent]:
    return [_event(json.loads(line)) for line in (GOLDEN / "ddl.jsonl").read_text().splitlines()]


def _event(shown: dict[str, Any]) -> GoldenEvent:
    return GoldenEvent(*(None if shown[part] is None else base64.b64decode(shown[part]) for part in ("key", "value")))
