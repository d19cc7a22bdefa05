"""Events that could not be delivered, kept raw so that they can be delivered later."""

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from offsets.errors import OffsetStoreFailed

TABLES = """
create table if not exists dead_letter (
    id integer primary key, connector text not null, failed_at_ms integer not null,
    table_name text not null, topic text not null, key blob, value blob,
    position text not null, error text not null
);
create index if not exists dead_letter_of on dead_letter (connector, id);
"""
BUSY_TIMEOUT_S = 30.0


class DeadLetter(NamedTuple):
    """`key` and `value` are wire bytes where the event was made, else what the log held; `position` is the log's
    own word for where it was found."""

    table: str
    topic: str
    key: bytes | None
    value: bytes | None
    position: str
    error: str


class DeadLetters:
    """In the state file (SQLite), whose tables exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = full")

    def add(self, connector: str, letter: DeadLetter) -> None:
        """Durable on return. Raises OffsetStoreFailed, after which the event must not count as delivered."""
        try:
            self._db.execute(
                "insert into dead_letter"
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
