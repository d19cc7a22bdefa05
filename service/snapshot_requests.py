"""Copies that an operator asked for: kept in the state until the connector has stored that it makes them."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from offsets.errors import OffsetStoreFailed

TABLES = """
create table if not exists snapshot_request (
    id integer primary key autoincrement, connector text not null, tables text not null, condition text
);
"""
BUSY_TIMEOUT_S = 30.0


class SnapshotRequest(NamedTuple):
    """Copy these tables again, by full name; `where` is an SQL condition of the rows, None for all."""

    id: int
    tables: list[str]
    where: str | None


class SnapshotRequests:
    """In the state file (SQLite), whose tables exist. Methods raise OffsetStoreFailed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = full")

    def add(self, connector: str, tables: Sequence[str], where: str | None) -> None:
        """Durable on return."""
        self._run(
            "insert into snapshot_request (connector, tables, condition) values (?,?,?)",
            (connector, json.dumps(list(tables)), where),
        )

    def of(self, connector: str) -> list[SnapshotRequest]:
        """In the order they came."""
        query = "select id, tables, condition from snapshot_request where connector = ? order by id"
        return [SnapshotRequest(row[0], json.loads(row[1]), row[2]) for row in self._run(query, (connector,))]

    def remove(self, ids: Iterable[int]) -> None:
        for request in ids:
            self._run("delete from snapshot_request where id = ?", (request,))

    def close(self) -> None:
        self._db.close()

    def _run(self, query: str, values: tuple[object, ...]) -> list[tuple[int, str, str | None]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise OffsetStoreFailed(
                f"cannot use the snapshot requests in {self.path}: {error}",
                "check that the disk has room and that the state folder can be written",
            ) from error
