"""Offsets in the tables of a database server, which every machine reaches: a connector may move.

A runner holds a lock of its session, which the server frees when the connection ends, and its name stands in
`offset_runner`. Each save looks there within its transaction: where the lock was lost, or is none because the servers
of a cluster do not share it, whoever came later wins and the other's save fails.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self

from offsets.base import Doubt
from offsets.errors import HeldElsewhere, HoldLost
from offsets.relational import RelationalStore
from offsets.runner import TOKEN, Renewal, ourselves

TABLES = {
    "offset_current": "(connector {name} primary key, position bigint not null, token {text} not null,"
    " origin {text} not null, saved_at_ms bigint not null)",
    "snapshot_progress": "(connector {name}, table_name {name}, progress {text} not null,"
    " primary key (connector, table_name))",
    "offset_sample": "(id {id}, connector {name}, saved_at_ms bigint not null, position bigint not null,"
    " token {text} not null, origin {text} not null, primary key (connector, id))",
    "offset_change": "(id {id}, connector {name}, changed_at_ms bigint not null, command {name},"
    ' "before" {text}, "after" {text}, primary key (connector, id))',
    "offset_runner": "(connector {name} primary key, token {name}, runner {name})",
}
NAME_LENGTH = 255


class ServerStore(RelationalStore):
    """An OffsetStore on a server; a dialect has its connection, its lock and its types."""

    table_options = ""

    def __init__(self, place: str, prefix: str, clock: Callable[[], float], *, make: bool) -> None:
        """Connect, and make the tables where they are absent and `make` allows it."""
        super().__init__(place, prefix, clock)
        self._held: str | None = None
        self._renewal: Renewal | None = None
        self._connect()
        try:
            if make:
                with self._reported("make its tables in"):
                    self._make_tables(self._missing())
        except BaseException:
            self._disconnect()
            raise

    @classmethod
    def check(cls, config: Any) -> Sequence[Doubt]:
        """Try whether it can be reached and written; nothing is changed. Raises OffsetError."""
        with closing(cls.without_tables(config)) as store, store._lock, store._reported("write to"):
            return [*store._try_to_write(), *store._doubts()]

    @classmethod
    @abstractmethod
    def without_tables(cls, config: Any) -> Self:
        """A store that makes none."""

    @abstractmethod
    def _connect(self) -> None:
        """Open the connection in autocommit. Raises OffsetError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Never raises; harmless when called twice."""

    @abstractmethod
    def _types(self) -> dict[str, str]:
        """What `name`, `text` and `id` are in TABLES."""

    @abstractmethod
    def _missing(self) -> list[str]:
        """Those of TABLES that are not there."""

    @abstractmethod
    def _try_lock(self, connector: str) -> bool:
        """Take the session's lock of `connector`, if nobody has it."""

    @abstractmethod
    def _is_locked(self, connector: str) -> bool: ...

    @abstractmethod
    def _try_to_write(self) -> list[Doubt]:
        """Write and take it back; a doubt where that cannot be tried."""

    @abstractmethod
    def _doubts(self) -> list[Doubt]:
        """Settings of the server that may lose what it has committed."""

    def hold(self, connector: str) -> None:
        doing = f"hold connector {connector} in"
        with self._lock, self._reported(doing):
            if not self._try_lock(connector):
                raise HeldElsewhere(connector, self._runner(connector), self.place)
        with self._transaction(doing):
            self._put_runner(connector)
        self._held = connector
        self._renewal = Renewal(self._renew)

    def holder(self, connector: str) -> str | None:
        with self._lock, self._reported("read"):
            return self._runner(connector) if self._is_locked(connector) else None

    def close(self) -> None:
        if self._renewal is not None:
            self._renewal.close()
        self._disconnect()

    def _renew(self) -> None:
        """So that the server sees us alive while there is nothing to save."""
        with self._lock, self._reported("reach"):
            self._run("select 1")

    def _refuse_lost_hold(self, connector: str) -> None:
        if self._held != connector:
            return
        rows = self._run(
            f"select token, runner from {self._prefix}offset_runner where connector = %s{self.lock_row}", (connector,)
        )
        if not rows or rows[0][0] != TOKEN:
            other = rows[0][1] if rows else "nobody"
            raise HoldLost(
                f"connector {connector} was taken over by {other}, says {self.place}",
                "stop one of the two; the offset was not changed",
            )

    def _runner(self, connector: str) -> str:
        rows = self._run(f"select runner from {self._prefix}offset_runner where connector = %s", (connector,))
        return str(rows[0][0]) if rows else "another process"

    def _put_runner(self, connector: str) -> None:
        self._run(f"delete from {self._prefix}offset_runner where connector = %s", (connector,))
        self._run(
            f"insert into {self._prefix}offset_runner (connector, token, runner) values (%s, %s, %s)",
            (connector, TOKEN, ourselves()[:NAME_LENGTH]),
        )

    def _make_tables(self, names: Sequence[str]) -> None:
        for name in names:
            columns = TABLES[name].format(**self._types())
            self._run(f"create table if not exists {self._prefix}{name} {columns}{self.table_options}")

    @contextmanager
    def _taken_back(self) -> Iterator[None]:
        """What is written within is rolled back at the end."""
        self._begin()
        try:
            yield
        finally:
            self._roll_back()
