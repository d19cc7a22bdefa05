"""Offsets in tables of a database, with their history; what differs between databases is the dialect's."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import RLock
from typing import Any

from offsets.history import SAMPLES_KEPT_MS, Change, Sampled, Stored, from_json, time_of, to_json
from offsets.origin import refuse_to_go_back
from offsets.position import Offset, Position

Row = tuple[Any, ...]


class RelationalStore(ABC):
    """An OffsetStore whose tables exist. One thread uses it at a time.

    Tables (`offset_sample` is what normal saves leave behind, `offset_change` what operators did)::

        offset_current(connector, position, token, origin, saved_at_ms)
        snapshot_progress(connector, table_name, progress)
        offset_sample(id, connector, saved_at_ms, position, token, origin)
        offset_change(id, connector, changed_at_ms, command, "before", "after")
    """

    lock_row = " for update"
    """What ends a select whose row is about to be changed; "" where a transaction is alone anyway."""

    def __init__(self, place: str, prefix: str, clock: Callable[[], float]) -> None:
        """Tables' names begin with `prefix`; `clock` gives seconds since 1970."""
        self.place = place
        self._prefix = prefix
        self._clock = clock
        self._sampled = Sampled()
        self._lock = RLock()

    @abstractmethod
    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of one statement, none where it gives none; values stand as ``%s``."""

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _commit(self) -> None:
        """Durable on return."""

    @abstractmethod
    def _roll_back(self) -> None:
        """End the transaction if there still is one. Never raises."""

    @abstractmethod
    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        """The database's errors within become OffsetErrors that say what could not be done."""

    def load(self, connector: str) -> Offset | None:
        with self._lock, self._reported(f"read the offset of connector {connector} from"):
            return self._load(connector)

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        now_ms = self._now_ms()
        with self._transaction(f"save the offset of connector {connector} in"):
            self._refuse_lost_hold(connector)
            stored = self._position(connector, self.lock_row)
            refuse_to_go_back(connector, stored, position)
            self._put(connector, position, now_ms, is_new=stored is None)
            if snapshot:
                self._put_progress(connector, snapshot)
            if self._sampled.due(connector, now_ms):
                self._sample(connector, position, now_ms)
        self._sampled.done(connector, now_ms)

    def all(self) -> list[Stored]:
        with self._lock, self._reported("read"):
            rows = self._run(f"select connector, saved_at_ms from {self._prefix}offset_current")
            return [
                Stored(name, offset, time_of(saved_at_ms))
                for name, saved_at_ms in sorted(rows)
                if (offset := self._load(name)) is not None
            ]

    def replace(self, connector: str, offset: Offset | None, command: str) -> None:
        now_ms = self._now_ms()
        with self._transaction(f"{command} the offset of connector {connector} in"):
            self._refuse_lost_hold(connector)
            before = self._load(connector, self.lock_row)
            self._run(
                f'insert into {self._prefix}offset_change (connector, changed_at_ms, command, "before", "after")'
                " values (%s, %s, %s, %s, %s)",
                (connector, now_ms, command, to_json(before), to_json(offset)),
            )
            self._run(f"delete from {self._prefix}snapshot_progress where connector = %s", (connector,))
            if offset is None:
                self._run(f"delete from {self._prefix}offset_current where connector = %s", (connector,))
            else:
                self._put(connector, offset.position, now_ms, is_new=before is None)
                self._put_progress(connector, offset.snapshot)
                self._sample(connector, offset.position, now_ms)

    def changes(self, connector: str, limit: int = 20) -> list[Change]:
        with self._lock, self._reported("read"):
            rows = self._run(
                f'select command, "before", "after", changed_at_ms from {self._prefix}offset_change'
                " where connector = %s order by id desc limit %s",
                (connector, limit),
            )
        return [Change(row[0], from_json(row[1]), from_json(row[2]), time_of(row[3])) for row in rows]

    def position_at(self, connector: str, moment: datetime) -> Position | None:
        with self._lock, self._reported("read"):
            rows = self._run(
                # By id, not by time: where the clock was set back, the earlier of two answers is the safe one.
                f"select position, token, origin from {self._prefix}offset_sample where connector = %s and id <"
                f" coalesce((select min(id) from {self._prefix}offset_sample where connector = %s and saved_at_ms > %s)"
                ", 9223372036854775807) order by id desc limit 1",
                (connector, connector, int(moment.timestamp() * 1000)),
            )
        return Position(*rows[0]) if rows else None

    @abstractmethod
    def _refuse_lost_hold(self, connector: str) -> None:
        """Raise HoldLost where we held `connector` and somebody else does now. Within a transaction."""

    def _position(self, connector: str, lock_row: str = "") -> Position | None:
        rows = self._run(
            f"select position, token, origin from {self._prefix}offset_current where connector = %s{lock_row}",
            (connector,),
        )
        return Position(*rows[0]) if rows else None

    def _load(self, connector: str, lock_row: str = "") -> Offset | None:
        position = self._position(connector, lock_row)
        if position is None:
            return None
        progress = self._run(
            f"select table_name, progress from {self._prefix}snapshot_progress where connector = %s", (connector,)
        )
        return Offset(position, dict(progress))

    def _put(self, connector: str, position: Position, now_ms: int, *, is_new: bool) -> None:
        if is_new:
            columns = "(position, token, origin, saved_at_ms, connector) values (%s,%s,%s,%s,%s)"
            sql = f"insert into {self._prefix}offset_current {columns}"
        else:
            columns = "position = %s, token = %s, origin = %s, saved_at_ms = %s"
            sql = f"update {self._prefix}offset_current set {columns} where connector = %s"
        self._run(sql, (*position, now_ms, connector))

    def _put_progress(self, connector: str, snapshot: Mapping[str, str]) -> None:
        for table, progress in snapshot.items():
            self._run(
                f"delete from {self._prefix}snapshot_progress where connector = %s and table_name = %s",
                (connector, table),
            )
            if progress:
                self._run(
                    f"insert into {self._prefix}snapshot_progress (connector, table_name, progress) values (%s,%s,%s)",
                    (connector, table, progress),
                )

    def _sample(self, connector: str, position: Position, now_ms: int) -> None:
        self._run(
            f"insert into {self._prefix}offset_sample (connector, saved_at_ms, position, token, origin)"
            " values (%s,%s,%s,%s,%s)",
            (connector, now_ms, *position),
        )
        self._run(
            # The last one before the limit stays: it is the answer for any moment up to the next. MySQL wants the inner
            # select wrapped in another one.
            f"delete from {self._prefix}offset_sample where connector = %s and id < (select id from (select max(id) as"
            f" id from {self._prefix}offset_sample where connector = %s and saved_at_ms < %s) as kept)",
            (connector, connector, now_ms - SAMPLES_KEPT_MS),
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        """All or nothing; durable when it ends."""
        with self._lock, self._reported(doing):
            try:
                self._begin()
                yield
                self._commit()
            except BaseException:
                self._roll_back()
                raise
