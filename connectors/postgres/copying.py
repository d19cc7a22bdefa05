"""Postgres' own part of a snapshot: COPY for the rows, log positions and database snapshots for what they contain."""

import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import sql

from connectors.chunk import AGAIN_ROWS, Key, Progress, Read
from connectors.copying import Limit, NotRead, Piece, Reader
from connectors.postgres.catalog import Catalog, TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.pgoutput import Relation
from connectors.postgres.stream import connect, copy_out, parse_lsn
from connectors.postgres.table import CapturedTable, Tables
from schema.change import Table, Value

WATERMARK_PREFIX = "tailrace"
_ESCAPES = {ord("b"): 8, ord("f"): 12, ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("v"): 11}
_BACKSLASH = ord("\\")
_NULL = b"\\N"
_REFUSED = (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)

log = structlog.get_logger("tailrace")


class Visible(NamedTuple):
    """Which transactions a database snapshot contains; `until` is an LSN behind the last of them.

    Source: PostgreSQL manual, "pg_snapshot Components".
    """

    first_running: int
    first_unborn: int
    running: frozenset[int]
    until: int

    @classmethod
    def parse(cls, snapshot: str, until: int) -> "Visible":
        """`snapshot` as pg_current_snapshot() prints it: ``10:20:10,14,15``."""
        first, last, running = snapshot.split(":")
        return cls(int(first), int(last), frozenset(int(xid) for xid in running.split(",") if xid), until)

    def contains(self, transaction: int) -> bool:
        """`transaction` is the log's: 32 bits, without the epoch."""
        full = self._with_epoch(transaction)
        return full < self.first_running or (full < self.first_unborn and full not in self.running)

    def lacks(self, transaction: int) -> bool:
        return not self.contains(transaction)

    def dump(self) -> list[Any]:
        return [self.first_running, self.first_unborn, sorted(self.running), self.until]

    @classmethod
    def load(cls, parts: Sequence[Any]) -> "Visible":
        return cls(parts[0], parts[1], frozenset(parts[2]), parts[3])

    def _with_epoch(self, xid: int) -> int:
        full = (self.first_unborn & ~0xFFFFFFFF) | xid
        return full - (1 << 32) if full > self.first_unborn + (1 << 31) else full


class PostgresReader:
    """Reads chunks over a connection, which it closes where it `owns` it. Methods raise psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any], publication: str, *, owns: bool) -> None:
        self._connection = connection
        self._publication = publication
        self._owns = owns
        self._catalog = Catalog(connection)

    def read(self, name: TableName, progress: Progress, limit: Limit, streamed: tuple[int, ...]) -> Read | NotRead:
        try:
            return self._read(name, progress, limit, streamed)
        except _REFUSED as error:
            if not progress.where:
                raise
            log.warning(f"snapshot: {error.diag.message_primary or error}", table=name.full, where=progress.where)
            return NotRead.REFUSED

    def _read(self, name: TableName, progress: Progress, limit: Limit, streamed: tuple[int, ...]) -> Read | NotRead:
        started = time.monotonic()
        low = self._end_of_log()
        with self._connection.transaction():
            pinned = self.pin(name, streamed)
            if isinstance(pinned, NotRead):
                return pinned
            relation, row_filter, visible = pinned
            table = self._catalog.version(relation)
            if not table.key:
                return NotRead.NO_KEY
            key = tuple(f"{relation.columns[i].name} {relation.columns[i].type_oid}" for i in table.key)
            progress = progress.of_key(key)
            rows = None if progress.ended else limit.rows
            query = chunk_query(name, table, row_filter, progress, rows).as_string(self._connection)
            again = min(len(progress.again), AGAIN_ROWS) if progress.ended else 0
            lines = list(copy_out(self._connection, query, None if progress.ended else limit.size_bytes))
        high = emit_message(self._connection, uuid.uuid4().hex)
        is_last = len(lines) < limit.rows and sum(map(len, lines)) < limit.size_bytes
        last_key = key_text(table.key, parse_line(lines[-1])) if lines else None
        took_s = time.monotonic() - started
        return Read(relation, key, lines, last_key, is_last, again, low, high, visible.lacks, took_s)

    def pin(self, name: TableName, streamed: tuple[int, ...]) -> tuple[Relation, str | None, Visible] | NotRead:
        """Within a transaction: hold the table's shape and a database snapshot (shape, row filter, snapshot)."""
        self._connection.execute("set transaction isolation level repeatable read, read only")
        try:
            with self._connection.transaction():
                self._connection.execute(f"lock table {name.quoted()} in access share mode")
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return NotRead.GONE
        row = self._connection.execute("select pg_current_snapshot()::text").fetchone()
        assert row is not None
        visible = Visible.parse(row[0], self._end_of_log())
        if any(map(visible.lacks, streamed)):
            return NotRead.TOO_EARLY
        columns, row_filter = self._catalog.published(self._publication, name)
        relation = self._catalog.relation(name, columns)
        return (relation, row_filter, visible) if relation else NotRead.GONE

    def stop(self) -> None:
        """The socket ends, and with it what waits for it."""
        if self._owns:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._owns:
            self._connection.close()

    def _end_of_log(self) -> int:
        row = self._connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        return parse_lsn(row[0])


class PostgresCopying:
    """Over the source's ordinary connection, besides those of the readers. Methods raise psycopg.Error."""

    hidden = 0

    def __init__(
        self,
        config: PostgresConfig,
        connector: str,
        connection: psycopg.Connection[Any],
        catalog: Catalog,
        tables: Tables,
    ) -> None:
        self._config = config
        self._connector = connector
        self._connection = connection
        self._catalog = catalog
        self._tables = tables
        self._own = PostgresReader(connection, config.publication, owns=False)
        self._writers: dict[int, set[str]] = {}

    def readers(self, count: int) -> list[Reader[TableName]]:
        """Raises SourceError."""
        if count == 1:
            return [self._own]
        application = f"tailrace {self._connector} copy"
        readers: list[Reader[TableName]] = []
        try:
            while len(readers) < count:
                connection = connect(self._config, application=application)
                readers.append(PostgresReader(connection, self._config.publication, owns=True))
        except BaseException:
            for reader in readers:
                reader.close()
            raise
        return readers

    def has_key(self, name: TableName) -> bool:
        definition = self._catalog.definition(name.oid)
        return definition is None or bool(definition.key)

    def refusal(self, name: TableName, where: str) -> str:
        try:
            with self._connection.transaction():
                self._connection.execute(f"select from {name.quoted()} where ({where}) limit 0".encode())
        except _REFUSED as error:
            return error.diag.message_primary or str(error)
        return ""

    def queue(self, name: TableName, *, begins: bool) -> None:
        """What a transaction wrote before its table was published is not streamed, however late it commits."""
        if begins:
            self._writers[name.oid] = self._catalog.writers(name.oid)

    def is_being_written(self, name: TableName) -> bool:
        if self._writers.get(name.oid):
            self._writers[name.oid] &= self._catalog.writers(name.oid)
        return bool(self._writers.get(name.oid))

    def captured(self, version: Relation) -> CapturedTable:
        return self._tables.captured(version)

    def key(self, table: CapturedTable, line: bytes) -> bytes:
        values, columns = parse_line(line), table.encoder.columns
        return b"".join([columns[i][0](values[i]) for i in table.key])  # type: ignore[arg-type]

    def values(self, table: CapturedTable, line: bytes) -> list[Value]:
        return parse_line(line)

    def piece(self, name: TableName, streamed: tuple[int, ...]) -> Piece | NotRead:
        self._connection.execute("begin")
        pinned = self._own.pin(name, streamed)
        if isinstance(pinned, NotRead):
            self._connection.execute("rollback")
            return pinned
        relation, row_filter, visible = pinned
        table = replace(self._catalog.version(relation), key=())
        query = chunk_query(name, table, row_filter, Progress(name.oid), None).as_string(self._connection)
        return Piece(relation, visible, self._lines(query))

    def contained(self, dumped: list[Any]) -> Visible:
        return Visible.load(dumped)

    def _lines(self, query: str) -> Iterator[bytes]:
        yield from copy_out(self._connection, query, None)
        self._connection.execute("commit")


def emit_message(connection: psycopg.Connection[Any], content: str) -> int:
    """Put `content` into the log as a transaction of its own, flushed on return; an LSN before its end."""
    row = connection.execute(
        "select pg_logical_emit_message(true, %s, %s)::text", [WATERMARK_PREFIX, content]
    ).fetchone()
    assert row is not None
    return parse_lsn(row[0])


def chunk_query(
    name: TableName, table: Table, row_filter: str | None, progress: Progress, limit: int | None
) -> sql.Composed:
    """The next rows, in key order, at most `limit`: behind the last key; where that has ended, those to read again."""
    columns = [sql.Identifier(column.name) for column in table.columns]
    key = sql.SQL(", ").join(columns[i] for i in table.key)
    only = sql.SQL("") if name.is_partitioned else sql.SQL("only ")
    query = sql.SQL("select {} from {}{}").format(
        sql.SQL(", ").join(columns), only, sql.Identifier(name.schema, name.name)
    )
    conditions = [sql.SQL("({})").format(sql.SQL(asked)) for asked in (row_filter, progress.where) if asked]
    if progress.ended:
        moved = sql.SQL(", ").join(map(_row, progress.again[:AGAIN_ROWS]))
        conditions.append(sql.SQL("({}) in ({})").format(key, moved))
    elif progress.after is not None:
        conditions.append(sql.SQL("({}) > {}").format(key, _row(progress.after)))
    if conditions:
        query += sql.SQL(" where ") + sql.SQL(" and ").join(conditions)
    if table.key:
        query += sql.SQL(" order by {}").format(key)
    if limit is not None:
        query += sql.SQL(" limit {}").format(sql.Literal(limit))
    return query


def key_text(key: Sequence[int], values: Sequence[Value]) -> Key:
    """The key of a row as the server's text; `key` are its columns."""
    cells = [values[i] for i in key]
    assert all(isinstance(value, bytes) for value in cells), "a key column is NOT NULL and never left out"
    return tuple(value.decode() for value in cells if isinstance(value, bytes))


def _row(key: Key) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, key)))


def parse_line(line: bytes) -> list[Value]:
    """One line of COPY's text format, newline included, as values in column order.

    Source: PostgreSQL manual, COPY, "Text Format"; CopyAttributeOutText writes no octal or hexadecimal escapes.
    """
    fields: list[Value] = line[:-1].split(b"\t")  # type: ignore[assignment]
    backslashes = line.count(b"\\")
    if not backslashes:
        return fields
    if backslashes == fields.count(_NULL):  # nothing else is escaped: nearly every row with a NULL
        return [None if field == _NULL else field for field in fields]
    return [
        None if field == _NULL else _unescape(field) if b"\\" in field else field  # type: ignore[operator, arg-type]
        for field in fields
    ]


def _unescape(field: bytes) -> bytes:
    out = bytearray()
    rest = iter(field)
    for byte in rest:
        if byte == _BACKSLASH:
            byte = next(rest)
            byte = _ESCAPES.get(byte, byte)
        out.append(byte)
    return bytes(out)
