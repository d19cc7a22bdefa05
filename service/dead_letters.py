"""Events that could not be delivered, kept raw so that they can be delivered later."""

import sqlite3
import time
from pathlib import Path

from offsets.errors import OffsetStoreFailed
from schema.event import DeadLetter

TABLES = """
create table if not exists dead_letter (
    id integer primary key, connector text not null, failed_at_ms integer not null,
    table_name text not null, topic text not null, key blob, value blob,
    position text not null, error text not null
);
drop index if exists dead_letter_once;
create unique index if not exists dead_letter_of_row
    on dead_letter (connector, position, topic, coalesce(key, value, x''));
"""
BUSY_TIMEOUT_S = 30.0


class DeadLetters:
    """In the state file (SQLite), whose tables exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = full")

    def add(self, connector: str, letter: DeadLetter) -> None:
        """Durable on return; a letter for the same row at the same position takes the other's place, behind the rest.

        Positions of copied rows begin anew with each run, which may find a newer form of the row.
        Raises OffsetStoreFailed, after which the event must not count as delivered.
        """
        try:
            self._db.execute(
                "insert or replace into dead_letter"
                " (connector, failed_at_ms, table_name, topic, key, value, position, error)"
                " values (?,?,?,?,?,?,?,?)",
                (connector, int(time.time() * 1000), *letter),
            )
        except sqlite3.Error as error:
            raise OffsetStoreFailed(
                f"cannot store a dead letter of connector {connector} in {self.path}: {error}",
                "check that the disk has room and that the state folder can be written",
            ) from error

    def of(self, connector: str) -> list[DeadLetter]:
        """In the order they came."""
        rows = self._db.execute(
            "select table_name, topic, key, value, position, error from dead_letter where connector = ? order by id",
            (connector,),
        )
        return [DeadLetter(*row) for row in rows]

    def close(self) -> None:
        self._db.close()
