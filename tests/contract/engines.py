"""The databases that the source suite runs on, and their sources read in the test's own process."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

import connectors
from connectors.base import Source
from offsets.position import Offset, Position, merged
from schema.decode import Decoder
from schema.event import Batch, DeadLetter, Event
from schema.registry import LocalRegistry
from service.state import State
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, until

PREFIX = "shop"
PLACEHOLDER = "__debezium_unavailable_value"


class Session(Protocol):
    """A connection in autocommit: transactions are what its statements say (`begin`, `commit`)."""

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """One test's database. `schema` stands before the table in topics and patterns.

    `unrepresentable` is a type and a value of it, as SQL, that no event can hold.
    """

    schema: str
    unrepresentable: tuple[str, str]

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]: ...

    def session(self) -> Session: ...

    def section(self, **source: Any) -> dict[str, Any]:
        """The `source` part of a connector file, with `source` laid over it."""

    def left(self) -> None:
        """Wait until the server has noticed that readers who closed are gone."""

    def cut(self) -> None:
        """The server ends the connection through which it sends its log."""

    def elsewhere(self, position: Position) -> Position:
        """As another server's log would give it, whose transactions this one never saw."""


class PostgresEngine:
    schema = "public"
    unrepresentable = ("numeric(10, 2)", "'NaN'")

    def __init__(self, database: Database) -> None:
        self._database = database
        self.execute = database.execute

    def session(self) -> Session:
        return PostgresSession(psycopg.connect(self._database.dsn, autocommit=True))

    def section(self, **source: Any) -> dict[str, Any]:
        section: dict[str, Any] = self._database.connector(PREFIX, source=source)["source"]
        return section

    def left(self) -> None:
        """Until then their slot is taken."""
        active = "select 1 from pg_replication_slots where database = current_database() and active"
        until(lambda: not self.execute(active), "nobody holds a slot")

    def cut(self) -> None:
        slots = "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
        assert self.execute(f"{slots} and active_pid is not null"), "nobody reads the log"

    def elsewhere(self, position: Position) -> Position:
        return position._replace(origin=_of_another(position.origin))


class PostgresSession:
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.close = connection.close

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


class MysqlEngine:
    """MySQL and MariaDB, whose log is the whole server's."""

    unrepresentable = ("date", "'0000-00-00'")

    def __init__(self, database: MysqlDatabase) -> None:
        self._database = database
        self.schema = database.name
        self.execute = database.execute

    def session(self) -> Session:
        return MysqlSession(self._database.connect())

    def section(self, **source: Any) -> dict[str, Any]:
        section: dict[str, Any] = self._database.connector(PREFIX, source=source)["source"]
        return section

    def left(self) -> None:
        """Any number may read at once."""

    def cut(self) -> None:
        assert self._database.cut(), "nobody reads the log"

    def elsewhere(self, position: Position) -> Position:
        coordinates, _, _ = position.token.partition("/")
        gtids = "4-4711-99999" if self._database.flavor == "mariadb" else f"{uuid.uuid4()}:1-4711"
        return Position(position.order, f"{coordinates}/{gtids}", _of_another(position.origin))


class MysqlSession:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.close = connection.close

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description else []


def _of_another(origin: str) -> str:
    return json.dumps({**json.loads(origin), "system": "4711"})


class Reading:
    """`offset` is what a store would hold: the last position and the progress that came with positions."""

    def __init__(self, source: Source, registry: LocalRegistry, offset: Offset | None) -> None:
        self.source = source
        self.registry = registry
        self.position: Position | None = offset.position if offset else None
        self.progress: dict[str, str] = dict(offset.snapshot) if offset else {}
        self.events: list[Event] = []
        self.batches: list[Batch] = []
        self._decoder = Decoder(registry.schema)

    @property
    def offset(self) -> Offset:
        assert self.position is not None
        return Offset(self.position, dict(self.progress))

    def read(self, timeout_s: float = 0.2) -> Batch | None:
        batch = self.source.read(timeout_s)
        self.source.ack(None)
        if batch is not None:
            self.batches.append(batch)
            self.events += batch.events
            self.position = batch.position or self.position
            self.progress = merged(self.progress, batch.snapshot)
        return batch

    def catch_up(self) -> list[Any]:
        """Read until caught up; everything read so far, decoded: value, or None for a tombstone."""
        self.read()
        until(lambda: self.source.caught_up() or (self.read() and False), "the source has caught up")
        return self.values()

    def read_until(self, count: int) -> list[Any]:
        """Read until there are `count` events."""
        until(lambda: len(self.events) >= count or (self.read() and False), f"{count} events")
        return self.values()

    def values(self) -> list[Any]:
        return [self.value(event) for event in self.events]

    def value(self, event: Event) -> Any:
        return None if event.value is None else self._decoder.decode(event.value)

    def key(self, event: Event) -> Any:
        return None if event.key is None else self._decoder.decode(event.key)

    def ops(self) -> list[str | None]:
        return [value and value["op"] for value in self.values()]

    def afters(self) -> list[Any]:
        return [value["after"] for value in self.values()]


class Shop:
    """One connector on one database; what it registers is kept over its openings."""

    def __init__(self, engine: Engine, folder: Path, dead_letter: Callable[[DeadLetter], None] | None = None) -> None:
        self.engine = engine
        self._folder = folder
        self._dead_letter = dead_letter

    @contextmanager
    def source(self, **source: Any) -> Iterator[tuple[Source, LocalRegistry]]:
        """Made and not opened; closed at the end."""
        section = self.engine.section(**source)
        cls = connectors.load(section["type"])
        config = cls.Config.model_validate(section, context={"connector": PREFIX})
        with closing(State.open(self._folder / "schemas").registry()) as registry:
            made: Source = cls(
                config,
                connector=PREFIX,
                topic_prefix=PREFIX,
                registry=registry,
                version="0",
                dead_letter=self._dead_letter,
            )
            with closing(made):
                yield made, registry

    @contextmanager
    def reading(self, after: Offset | None = None, **source: Any) -> Iterator[Reading]:
        """Read from `after` on."""
        self.engine.left()
        with self.source(**source) as (made, registry):
            made.open(after)
            yield Reading(made, registry, after)

    @contextmanager
    def viewing(self, start: str, **source: Any) -> Iterator[Reading]:
        with self.source(**source) as (made, registry):
            made.open_view(start)
            yield Reading(made, registry, None)

    def topic(self, table: str) -> str:
        return f"{PREFIX}.{self.engine.schema}.{table}"

    def insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement, so one transaction."""
        marks = ", ".join(f"({', '.join(['%s'] * len(row))})" for row in rows)
        self.engine.execute(f"insert into {table} values {marks}", *(value for row in rows for value in row))


def folded(read: Reading) -> dict[Any, dict[str, Any]]:
    """What a reader holds at the end; a row that changes its key takes along what the log left out."""
    rows: dict[Any, dict[str, Any]] = {}
    left: dict[str, Any] = {}
    for event in read.events:
        value = read.value(event)
        key = tuple(read.key(event).values())
        if value is None:
            continue
        if value["op"] == "d":
            left = rows.pop(key, {})
            continue
        old = rows.get(key, left if value["op"] == "c" else {})
        rows[key] = {name: old.get(name, new) if new == PLACEHOLDER else new for name, new in value["after"].items()}
    return rows


def rows_of(engine: Engine, table: str, *names: str) -> dict[Any, dict[str, Any]]:
    """The table by its first column."""
    rows = engine.execute(f"select {', '.join(names)} from {table}")
    return {(row[0],): dict(zip(names, row, strict=True)) for row in rows}
