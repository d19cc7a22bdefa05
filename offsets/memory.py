"""Offsets of a process that need not outlive it: for tests, and for users' tests."""

from pathlib import Path

from offsets.sqlite import TABLES, SqliteStore


class MemoryStore(SqliteStore):
    """An OffsetStore in SQLite's memory."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self._db.executescript(TABLES)
