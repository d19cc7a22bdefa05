"""Changes and events that could not be delivered, kept raw so that they can be delivered later."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from offsets.errors import OffsetStoreFailed
from offsets.position import Position
from schema.event import DeadLetter, OtherKey, StoredLetter, id_at

TABLES = """
create table if not exists dead_letter (
    id integer primary key autoincrement, connector text not null, failed_at_ms integer not null,
    table_name text not null, topic text not null, key blob, value blob,
    position text not null, error text not null, is_event integer not null, headers text not null default '[]',
    attempt integer not null default 1, superseded_by text, published integer not null default 0
);
create unique index if not exists dead_letter_of_row
    on dead_letter (connector, position, topic, coalesce(key, iif(is_event, value, null), x''));
create table if not exists dead_letter_watch (
    connector text primary key, position integer not null, origin text not null
) without rowid;
"""
ELSEWHERE = "elsewhere"
"""By what a letter is superseded where nobody here knows."""
BUSY_TIMEOUT_S = 30.0
MINUTE_MS = 60_000

_LETTER = "table_name, topic, key, value, position, error, is_event, headers"
_STORED = f"id, connector, failed_at_ms, attempt, superseded_by, {_LETTER}"
_OPEN = "is_event and (superseded_by is null or superseded_by = position)"
"""An event that came again counts as delivered in the life that saw a checkpoint behind it, and in no other."""
_OLD = "dead_letter_before"
_OLD_IS_EVENT = "replace(position, '/', '') not glob '*[^0-9]*' and position glob '*/*' and position not glob '*/*/*'"
"""The place of an event; a log's own words hold letters, or a second slash."""


class TooManyDeadLetters(Exception):
    """One more would pass a limit of the connector; it was not stored."""

    retryable = False

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Limits(NamedTuple):
    """How many letters a connector may keep, and how many may come in a minute, before it stops."""

    kept: int = 1000
    per_minute: int = 100


def upgrade(db: sqlite3.Connection) -> None:
    """Make the table, or bring that of a state before version 3 into its form; in the caller's transaction."""
    columns = {row[1] for row in db.execute("pragma table_info(dead_letter)")}
    is_old = bool(columns) and "is_event" not in columns
    if is_old:
        db.execute("drop index if exists dead_letter_once")
        db.execute("drop index if exists dead_letter_of_row")
        db.execute(f"alter table dead_letter rename to {_OLD}")
    for statement in TABLES.split(";"):
        db.execute(statement)
    if is_old:
        kept = "id, connector, failed_at_ms, table_name, topic, key, value, position, error"
        moved = f"select {kept}, {_OLD_IS_EVENT} from {_OLD} order by id"
        db.execute(f"insert or ignore into dead_letter ({kept}, is_event) {moved}")
        db.execute(f"drop table {_OLD}")


class DeadLetters:
    """In the state file (SQLite), whose tables exist. Threads may share it. Methods raise OffsetStoreFailed.

    `clock` gives seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = full")

    def add(self, connector: str, letter: DeadLetter, limits: Limits | None = None) -> None:
        """Durable on return. What comes again is one attempt more of the letter that is there, with its bytes of now:
        events say when they were made, and a copied row may have changed.

        Without a key only an event's bytes tell it from another copied row that stood there in another run. Raises
        TooManyDeadLetters for one more than `limits` allow; after that, as after OffsetStoreFailed, the event must not
        count as delivered.
        """
        place = (connector, letter.position, letter.topic, letter.key)
        with self._transaction(f"store a dead letter of connector {connector}") as db:
            known = db.execute(
                "select id, superseded_by from dead_letter where connector = ? and position = ? and topic = ?"
                " and coalesce(key, iif(is_event, value, null), x'') = coalesce(?, iif(?, ?, null), x'')",
                (*place, letter.is_event, letter.value),
            ).fetchone()
            if known:
                # What came before it in this run, a repeated stretch, is no later event.
                stale = letter.is_event and (known[1] == ELSEWHERE or _is_before(known[1], letter.position))
                db.execute(
                    "update dead_letter set attempt = attempt + 1, value = ?, error = ?, superseded_by = ?"
                    " where id = ?",
                    (letter.value, letter.error, None if stale else known[1], known[0]),
                )
            else:
                if limits is not None:
                    self._refuse_more(connector, letter, limits)
                db.execute(
                    f"insert into dead_letter (connector, failed_at_ms, {_LETTER}) values (?,?,?,?,?,?,?,?,?,?)",
                    (connector, self._now_ms(), *letter[:-1], _to_json(letter.headers)),
                )
            # It was taken for delivered when it was handed to the sink. Keys agree as in schema.event.row_of.
            db.execute(
                "update dead_letter set superseded_by = null"
                " where connector = ? and superseded_by = ? and topic = ? and substr(key, 6) = substr(?, 6)",
                place,
            )

    def supersede(self, connector: str, later: Iterable[tuple[str, str, bytes]]) -> list[int]:
        """`later` are (place, topic, key) of events; the letters of their keys that are open are so no longer.

        The letters among them whose own event it was.
        """
        came_again: list[int] = []
        with self._transaction(f"mark dead letters of connector {connector}") as db:
            for place, topic, key in later:
                marked = db.execute(
                    "update dead_letter set superseded_by = ?"
                    f" where connector = ? and topic = ? and key = ? and {_OPEN} returning id, position",
                    (place, connector, topic, key),
                ).fetchall()
                came_again += [id_ for id_, position in marked if position == place]
        return came_again

    def note_reached(self, connector: str, position: Position) -> None:
        """What events up to `position` supersede is marked; to be called before an offset store has that position."""
        with self._transaction(f"mark dead letters of connector {connector}") as db:
            db.execute(
                "insert or replace into dead_letter_watch values (?,?,?)",
                (connector, position.order, position.origin),
            )

    def missed(self, connector: str, position: Position) -> list[int]:
        """Open letters that may be older than what was delivered: `position` lies behind them, and the connector came
        there without this state, on another machine."""
        with self._lock, self._reported(f"read the dead letters of connector {connector}"):
            watched = self._db.execute(
                "select 1 from dead_letter_watch where connector = ? and position >= ? and origin = ?",
                (connector, position.order, position.origin),
            ).fetchone()
            waiting = self._db.execute(
                f"select id, position from dead_letter where connector = ? and key is not null and {_OPEN}",
                (connector,),
            ).fetchall()
        return [] if watched else [id_ for id_, place in waiting if id_at(place)[0] < position.order]

    def mark_missed(self, ids: Iterable[int]) -> None:
        with self._transaction("mark dead letters") as db:
            db.executemany("update dead_letter set superseded_by = ? where id = ?", [(ELSEWHERE, id_) for id_ in ids])

    def rejected_again(self, id_: int, error: str) -> None:
        with self._transaction("mark a dead letter") as db:
            db.execute("update dead_letter set attempt = attempt + 1, error = ? where id = ?", (error, id_))

    def note_published(self, ids: Iterable[int]) -> None:
        with self._transaction("mark dead letters") as db:
            db.executemany("update dead_letter set published = 1 where id = ?", [(id_,) for id_ in ids])

    def remove(self, ids: Iterable[int]) -> None:
        with self._transaction("remove dead letters") as db:
            db.executemany("delete from dead_letter where id = ?", [(id_,) for id_ in ids])

    def remove_delivered(self, ids: Iterable[int]) -> None:
        """Those of `ids` that have not been rejected once more since their own event came again."""
        with self._transaction("remove dead letters") as db:
            db.executemany("delete from dead_letter where id = ? and superseded_by = position", [(id_,) for id_ in ids])

    def of(self, connector: str) -> list[StoredLetter]:
        """In the order they came."""
        return self._select(connector, "true")

    def unpublished(self, connector: str) -> list[StoredLetter]:
        """In the order they came."""
        return self._select(connector, "not published")

    def open_keys(self, connector: str) -> list[tuple[str, bytes]]:
        """(topic, key) of events behind which no event of their key was delivered."""
        with self._lock, self._reported(f"read the dead letters of connector {connector}"):
            return self._db.execute(
                f"select distinct topic, key from dead_letter where connector = ? and key is not null and {_OPEN}",
                (connector,),
            ).fetchall()

    def close(self) -> None:
        self._db.close()

    def _select(self, connector: str, condition: str) -> list[StoredLetter]:
        query = f"select {_STORED} from dead_letter where connector = ? and {condition} order by id"
        with self._lock, self._reported(f"read the dead letters of connector {connector}"):
            rows = self._db.execute(query, (connector,)).fetchall()
        return [StoredLetter._make((*row[:5], _letter(row[5:]))) for row in rows]

    def _refuse_more(self, connector: str, letter: DeadLetter, limits: Limits) -> None:
        kept, recent = self._db.execute(
            "select count(*), count(*) filter (where failed_at_ms > ?) from dead_letter where connector = ?",
            (self._now_ms() - MINUTE_MS, connector),
        ).fetchone()
        hint = "nothing is lost, the change is read again at the next start; mend the cause"
        if kept >= limits.kept:
            raise TooManyDeadLetters(
                f"connector {connector} keeps {kept} dead letters, as many as errors.max_dead_letters allows,"
                f" and here is one more: {letter.error}",
                f"{hint}, then `tailrace dlq replay {connector}` or `tailrace dlq drop {connector}` makes room",
            )
        if recent >= limits.per_minute:
            raise TooManyDeadLetters(
                f"connector {connector} has put {recent} dead letters aside within a minute, as many as"
                f" errors.max_dead_letters_per_minute allows, and here is one more: {letter.error}",
                f"{hint}, or raise that limit",
            )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """All or nothing; durable when it ends."""
        with self._lock, self._reported(doing):
            try:
                self._db.execute("begin immediate")
                yield self._db
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OffsetStoreFailed(
                f"cannot {doing} in {self.path}: {error}",
                "check that the disk has room and that the state folder can be written",
            ) from error


def _is_before(place: str | None, other: str) -> bool:
    return place is not None and id_at(place) < id_at(other)


def _letter(row: Sequence[Any]) -> DeadLetter:
    *raw, is_event, headers = row
    other_keys = tuple((name, bytes.fromhex(key)) for name, key in json.loads(headers))
    return DeadLetter._make((*raw, bool(is_event), other_keys))


def _to_json(headers: OtherKey) -> str:
    return json.dumps([(name, key.hex()) for name, key in headers])
