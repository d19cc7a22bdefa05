"""Offsets in the state file (SQLite), with the history that lets an operator go back."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from offsets.errors import OffsetError, OffsetStoreFailed, OffsetStoreGone, OffsetUnreadable
from offsets.origin import refuse_to_go_back
from offsets.position import Offset, Position

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
SAMPLE_MS = 60_000
SAMPLES_KEPT_MS = 7 * 24 * 3_600_000
UNREADABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ERROR}


class Stored(NamedTuple):
    connector: str
    offset: Offset
    saved_at: datetime


class Change(NamedTuple):
    """What an operator did; None stands for no offset at all."""

    command: str
    before: Offset | None
    after: Offset | None
    changed_at: datetime


class SqliteStore:
    """An OffsetStore on a state file whose tables exist. One thread uses it at a time; processes may share the file.

    `clock` gives seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = Lock()
        self._sampled: dict[str, int] = {}
        with self._reported("open"):
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma synchronous = full")
        self._file = _identity(path)

    def load(self, connector: str) -> Offset | None:
        with self._reported(f"read the offset of connector {connector} from"):
            return self._load(connector)

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        now_ms = self._now_ms()
        with self._transaction(f"save the offset of connector {connector} in"):
            refuse_to_go_back(connector, self._position(connector), position)
            self._put(connector, position, now_ms)
            if snapshot:
                self._put_progress(connector, snapshot)
            if self._sampled.get(connector) != now_ms // SAMPLE_MS:
                self._sample(connector, position, now_ms)
        self._sampled[connector] = now_ms // SAMPLE_MS

    def close(self) -> None:
        self._db.close()

    def all(self) -> list[Stored]:
        """Every connector with an offset, by name."""
        with self._reported("read"):
            rows = self._db.execute("select connector, saved_at_ms from offset_current order by 1").fetchall()
            return [
                Stored(name, offset, _time(saved_at_ms))
                for name, saved_at_ms in rows
                if (offset := self._load(name)) is not None
            ]

    def replace(self, connector: str, offset: Offset | None, command: str) -> None:
        """Put `offset` (None: nothing) in the place of what is stored, and remember that for ever as `command`."""
        now_ms = self._now_ms()
        with self._transaction(f"{command} the offset of connector {connector} in"):
            before = self._load(connector)
            self._db.execute(
                "insert into offset_change (connector, changed_at_ms, command, before, after) values (?,?,?,?,?)",
                (connector, now_ms, command, _to_json(before), _to_json(offset)),
            )
            self._db.execute("delete from snapshot_progress where connector = ?", (connector,))
            if offset is None:
                self._db.execute("delete from offset_current where connector = ?", (connector,))
            else:
                self._put(connector, offset.position, now_ms)
                self._put_progress(connector, offset.snapshot)
                self._sample(connector, offset.position, now_ms)

    def changes(self, connector: str, limit: int = 20) -> list[Change]:
        """What operators did to this connector's offset, the latest first."""
        with self._reported("read"):
            rows = self._db.execute(
                "select command, before, after, changed_at_ms from offset_change where connector = ?"
                " order by id desc limit ?",
                (connector, limit),
            ).fetchall()
            return [Change(row[0], _from_json(row[1]), _from_json(row[2]), _time(row[3])) for row in rows]

    def position_at(self, connector: str, moment: datetime) -> Position | None:
        """A position behind which lies everything delivered after `moment`; None where that is not known."""
        moment_ms = int(moment.timestamp() * 1000)
        with self._reported("read"):
            row = self._db.execute(
                # By id, not by time: where the clock was set back, the earlier of two answers is the safe one.
                "select position, token, origin from offset_sample where connector = ?1 and id < coalesce("
                " (select min(id) from offset_sample where connector = ?1 and saved_at_ms > ?2), 1 << 62)"
                " order by id desc limit 1",
                (connector, moment_ms),
            ).fetchone()
        return Position(*row) if row else None

    def _position(self, connector: str) -> Position | None:
        row = self._db.execute(
            "select position, token, origin from offset_current where connector = ?", (connector,)
        ).fetchone()
        return Position(*row) if row else None

    def _load(self, connector: str) -> Offset | None:
        position = self._position(connector)
        if position is None:
            return None
        progress = self._db.execute(
            "select table_name, progress from snapshot_progress where connector = ?", (connector,)
        )
        return Offset(position, dict(progress.fetchall()))

    def _put(self, connector: str, position: Position, now_ms: int) -> None:
        self._db.execute("insert or replace into offset_current values (?,?,?,?,?)", (connector, *position, now_ms))

    def _put_progress(self, connector: str, snapshot: Mapping[str, str]) -> None:
        self._db.executemany(
            "insert or replace into snapshot_progress values (?,?,?)",
            [(connector, table, progress) for table, progress in snapshot.items() if progress],
        )
        self._db.executemany(
            "delete from snapshot_progress where connector = ? and table_name = ?",
            [(connector, table) for table, progress in snapshot.items() if not progress],
        )

    def _sample(self, connector: str, position: Position, now_ms: int) -> None:
        self._db.execute(
            "insert into offset_sample (connector, saved_at_ms, position, token, origin) values (?,?,?,?,?)",
            (connector, now_ms, *position),
        )
        self._db.execute(
            # The last one before the limit stays: it is the answer for any moment up to the next.
            "delete from offset_sample where connector = ?1 and id <"
            " (select max(id) from offset_sample where connector = ?1 and saved_at_ms < ?2)",
            (connector, now_ms - SAMPLES_KEPT_MS),
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """All or nothing; durable when it ends."""
        with self._lock, self._reported(doing):
            try:
                self._db.execute("begin immediate")
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
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


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _to_json(offset: Offset | None) -> str | None:
    if offset is None:
        return None
    return json.dumps({**offset.position._asdict(), "snapshot": dict(offset.snapshot)})


def _from_json(text: str | None) -> Offset | None:
    if text is None:
        return None
    stored = json.loads(text)
    return Offset(Position(stored["order"], stored["token"], stored["origin"]), stored["snapshot"])
