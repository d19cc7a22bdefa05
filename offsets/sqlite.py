"""Offsets in the state file (SQLite), with the history that lets an operator go back."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from offsets.errors import OffsetError, OffsetStoreFailed, OffsetStoreGone, OffsetUnreadable
from offsets.relational import RelationalStore, Row

TABLES = """
create table if not exists offset_current (
    connector text primary key, position integer not null, token text not null, origin text not null,
    saved_at_ms integer not null
) without rowid;
create table if not exists snapshot_progress (
    connector text not null, table_name text not null, progress text not null,
    primary key (connector, table_name)
) without rowid;
create table if not exists offset_sample (
    id integer primary key, connector text not null, saved_at_ms integer not null,
    position integer not null, token text not null, origin text not null
);
create index if not exists offset_sample_at on offset_sample (connector, saved_at_ms);
create table if not exists offset_change (
    id integer primary key, connector text not null, changed_at_ms integer not null, command text not null,
    before text, after text
);
create index if not exists offset_change_of on offset_change (connector, id);
"""
"""`offset_sample` is what normal saves leave behind, one a minute; `offset_change` what operators did, for ever."""

BUSY_TIMEOUT_S = 30.0
UNREADABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ERROR}


class SqliteConfig(BaseModel):
    """Offsets in the state folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["sqlite"] = "sqlite"


class SqliteStore(RelationalStore):
    """An OffsetStore on a state file whose tables exist. Processes may share the file.

    `clock` gives seconds since 1970.
    """

    Config: ClassVar[type[SqliteConfig]] = SqliteConfig
    lock_row = ""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(str(path), "", clock)
        self.path = path
        with self._reported("open"):
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma synchronous = full")
        self._file = _identity(path)

    def hold(self, connector: str) -> None:
        """Whoever opened the state holds its folder's lock of this connector, which a file cannot give."""

    def holder(self, connector: str) -> str | None:
        return None

    def close(self) -> None:
        self._db.close()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._db.execute(sql.replace("%s", "?"), values).fetchall()

    def _refuse_lost_hold(self, connector: str) -> None:
        """The folder's lock is lost with its process only."""

    def _begin(self) -> None:
        self._db.execute("begin immediate")

    def _commit(self) -> None:
        self._db.execute("commit")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("rollback")

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        with super()._transaction(doing):
            yield
        # SQLite goes on writing into a file that was removed; only its name tells.
        if _identity(self.path) != self._file:
            raise OffsetStoreGone(
                f"cannot {doing} {self.path}: the file was removed or replaced while it was in use",
                "stop tailrace, put the state folder back, and start it again",
            )

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translated(error, f"cannot {doing} {self.path}: {error}") from error


def _translated(error: sqlite3.Error, message: str) -> OffsetError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in UNREADABLE:
        return OffsetUnreadable(
            message,
            "restore the file from a backup, or move it away to start every connector as a new one",
        )
    return OffsetStoreFailed(
        message, "nothing was changed; check that the disk has room and that the state folder can be written"
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
