"""MySQL's and MariaDB's own part of a snapshot: keyset SELECTs for the rows, log orders for what they contain.

A transaction is in the binlog before other sessions see it. What hides there depends on the server: MariaDB tells with
a consistent snapshot how far in the log it is; MySQL with GTIDs lists those that are visible (`gtid_executed`);
without GTIDs no more can hide than there are sessions.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from typing import Any, NamedTuple

import pymysql
import structlog
from pymysql.constants import ER, FIELD_TYPE

from connectors.chunk import AGAIN_ROWS, Key, Progress, Read
from connectors.copying import Limit, NotRead, Piece, Reader
from connectors.mysql.catalog import Catalog
from connectors.mysql.charsets import UTF8
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import GONE, Server, connect, end_of_log, run, searching, source_error
from connectors.mysql.coordinates import Coordinates, order
from connectors.mysql.names import TableName, quoted
from connectors.mysql.resultset import cells
from connectors.mysql.select import begin_select, rest_of_select, select_lines
from connectors.mysql.shape import ColumnShape, TableShape
from connectors.mysql.table import CapturedTable, Tables
from connectors.mysql.types import key_expression, key_literal, select_expression
from schema.change import Value

LOCK_S = 1
LOCK_EVERY_S = 5.0
APPLIERS = 1_100
"""Sessions that `max_connections` does not count: replication's workers, 1,024 at most, and scheduled events."""
_ALTERED = (ER.BAD_FIELD_ERROR, ER.TABLE_DEF_CHANGED)
_INTEGERS = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG)
_STRINGS = (FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING)
log = structlog.get_logger("tailrace")

_PINNED = "start transaction with consistent snapshot"


class UpTo(NamedTuple):
    """A piece contains every transaction up to this order of the log of the server `system`."""

    until: int
    system: str

    def contains(self, transaction: int) -> bool:
        return True

    def dump(self) -> list[Any]:
        return [self.until, self.system]


class MysqlReader:
    """Reads chunks over a connection, which it closes where it `owns` it. Methods raise pymysql.MySQLError."""

    def __init__(
        self,
        config: MysqlConfig,
        connection: Any,
        server: Server,
        streamed_gtids: Callable[[], str],
        logged: Callable[[], int],
        *,
        owns: bool,
    ) -> None:
        """`streamed_gtids` on MySQL, and an order that was `logged` on MariaDB: what a query must see."""
        self._config = config
        self._connection = connection
        self._server = server
        self._streamed_gtids = streamed_gtids
        self._logged = logged
        self._owns = owns
        self._catalog = Catalog(connection, server)

    def read(self, name: TableName, progress: Progress, limit: Limit, streamed: tuple[int, ...]) -> Read | NotRead:
        try:
            if self._server.flavor == "mysql":
                return self._read(name, progress, limit) if self._sees_all() else NotRead.TOO_EARLY
            return self._read_pinned(name, progress, limit, streamed)
        except pymysql.MySQLError as error:
            if (why := _redefined(error)) is not None:
                return why
            if progress.where and not source_error(error, self._config).retryable:
                log.warning(f"snapshot: {error.args[-1]}", table=name.full, where=progress.where)
                return NotRead.REFUSED
            raise

    def stop(self) -> None:
        """The socket ends, and with it what waits for it."""
        if self._owns:
            with suppress(OSError, AttributeError):
                self._connection._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._owns:
            self._connection._force_close()

    def _read(self, name: TableName, progress: Progress, limit: Limit) -> Read | NotRead:
        started = time.monotonic()
        shape = self._catalog.shape(name.database, name.name)
        if shape is None:
            return NotRead.GONE
        if not shape.key:
            return NotRead.NO_KEY
        key = tuple(f"{shape.columns[i].name} {shape.columns[i].declared}" for i in shape.key)
        progress = progress.of_key(key)
        again = min(len(progress.again), AGAIN_ROWS) if progress.ended else 0
        query = chunk_query(shape, progress, None if progress.ended else limit.rows)
        with searching(self._connection) if progress.where else nullcontext():
            lines = list(select_lines(self._connection, query, None if progress.ended else limit.size_bytes))
        is_last = len(lines) < limit.rows and sum(map(len, lines)) < limit.size_bytes
        last_key = key_text(shape.key, cells(lines[-1])) if lines else None
        high = order(end_of_log(self._connection, self._server))
        return Read(shape, key, lines, last_key, is_last, again, 0, high, _lacks_none, time.monotonic() - started)

    def _read_pinned(
        self, name: TableName, progress: Progress, limit: Limit, streamed: Sequence[int]
    ) -> Read | NotRead:
        """MariaDB. `streamed` are the orders where transactions begin."""
        run(self._connection, _PINNED)
        try:
            status = dict(run(self._connection, "show status like 'binlog_snapshot_%'"))
            seen = Coordinates(status["Binlog_snapshot_file"], int(status["Binlog_snapshot_position"]))
            if order(seen) < self._logged() or (streamed and order(seen) <= streamed[-1]):
                return NotRead.TOO_EARLY
            return self._read(name, progress, limit)
        finally:
            run(self._connection, "rollback")

    def _sees_all(self) -> bool:
        if not self._server.gtids:
            return True
        query = f"select gtid_subset('{self._streamed_gtids()}', @@global.gtid_executed)"
        return bool(run(self._connection, query)[0][0])


class MysqlCopying:
    """Over the source's ordinary connection, besides those of the readers. Methods raise pymysql.MySQLError."""

    def __init__(
        self,
        config: MysqlConfig,
        connector: str,
        connection: Any,
        server: Server,
        catalog: Catalog,
        tables: Tables,
        streamed_gtids: Callable[[], str],
    ) -> None:
        """`streamed_gtids` tells which transactions the stream has delivered, also from another thread."""
        self._config = config
        self._application = f"tailrace {connector} copy"
        self._connection = connection
        self._server = server
        self._catalog = catalog
        self._tables = tables
        self._streamed_gtids = streamed_gtids
        self._unproven: set[str] = set()
        self._logged = 0
        self._lock_at = 0.0
        self.hidden = 0
        if not server.gtids:
            self.hidden = int(run(connection, "select @@max_connections")[0][0]) + APPLIERS

    def readers(self, count: int) -> list[Reader[TableName]]:
        """Raises SourceError."""
        if count == 1:
            return [self._reader(self._connection, owns=False)]
        readers: list[Reader[TableName]] = []
        try:
            while len(readers) < count:
                connection = connect(self._config, application=self._application)
                readers.append(self._reader(connection, owns=True))
        except BaseException:
            for reader in readers:
                reader.close()
            raise
        return readers

    def _reader(self, connection: Any, *, owns: bool) -> MysqlReader:
        return MysqlReader(
            self._config, connection, self._server, self._streamed_gtids, lambda: self._logged, owns=owns
        )

    def has_key(self, name: TableName) -> bool:
        shape = self._catalog.shape(name.database, name.name)
        return shape is None or bool(shape.key)

    def refusal(self, name: TableName, where: str) -> str:
        try:
            run(self._connection, f"select 1 from {_full(name)} where ({where}) limit 0")
        except pymysql.MySQLError as error:
            if source_error(error, self._config).retryable:
                raise
            return str(error.args[-1])
        return ""

    def queue(self, name: TableName, *, begins: bool) -> None:
        if self.hidden:
            self._unproven.add(name.full)
        elif self._server.flavor == "mariadb":
            self._logged = order(end_of_log(self._connection, self._server))

    def is_being_written(self, name: TableName) -> bool:
        """A read lock is given when every transaction that has written is visible; it is given back at once."""
        if name.full in self._unproven:
            lock = self._locked(name)
            if not isinstance(lock, NotRead):
                lock.close()
            if lock is not NotRead.TOO_EARLY:
                self._unproven.remove(name.full)
        return name.full in self._unproven

    def captured(self, version: TableShape) -> CapturedTable:
        return self._tables.copied(version)

    def key(self, table: CapturedTable, line: bytes) -> bytes:
        values, columns = cells(line), table.copier.columns
        return b"".join([columns[i][0](values[i]) for i in table.key])  # type: ignore[arg-type]

    def values(self, table: CapturedTable, line: bytes) -> list[Value]:
        return list[Value](table.copier.row(cells(line)))

    def piece(self, name: TableName, streamed: tuple[int, ...]) -> Piece | NotRead:
        """While nobody may write to the table, a database snapshot and a position are of the same moment."""
        lock = self._locked(name)
        if isinstance(lock, NotRead):
            return lock
        connection: Any = None
        try:
            with closing(lock):
                connection = connect(self._config, application=self._application)
                run(connection, "set session transaction isolation level repeatable read")
                run(connection, f"set session lock_wait_timeout = {LOCK_S}")
                run(connection, _PINNED)
                until = order(end_of_log(connection, self._server))
                shape = Catalog(connection, self._server).shape(name.database, name.name)
            if shape is None:
                connection.close()
                return NotRead.GONE
            begin_select(connection, chunk_query(shape, None, None))
        except pymysql.MySQLError as error:
            if connection is not None:
                connection._force_close()
            return self._not_read(error)
        return Piece(shape, UpTo(until, self._server.system), _piece_lines(connection))

    def _not_read(self, error: pymysql.MySQLError) -> NotRead:
        """Why a table is not copied now, where a statement that redefines it came between. Raises others."""
        why = _redefined(error)
        if why is NotRead.GONE:
            return why
        if why is None and (not error.args or error.args[0] not in (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK)):
            raise error
        self._lock_at = time.monotonic() + LOCK_EVERY_S
        return NotRead.TOO_EARLY

    def contained(self, dumped: list[Any]) -> UpTo:
        return UpTo(*dumped)

    def _locked(self, name: TableName) -> Any | NotRead:
        """A connection that lets nobody write to the table until it is closed.

        Writers wait behind our request, so that it is short and rare.
        """
        if time.monotonic() < self._lock_at:
            return NotRead.TOO_EARLY
        connection = connect(self._config, application=self._application)
        try:
            run(connection, f"set session lock_wait_timeout = {LOCK_S}")
            run(connection, f"lock tables {_full(name)} read")
        except pymysql.MySQLError as error:
            connection.close()
            return self._not_read(error)
        return connection


def chunk_query(shape: TableShape, progress: Progress | None, limit: int | None) -> str:
    """The next rows, in key order, at most `limit`: behind the last key; where that has ended, those to read again.

    The whole table, in no order, where `progress` is None.
    """
    columns = [shape.columns[i] for i in shape.key]
    query = f"select {', '.join(map(select_expression, shape.columns))}"
    query += f" from {quoted(shape.database)}.{quoted(shape.name)}"
    if progress is None:
        return query
    conditions = []
    if progress.ended:
        conditions.append(" or ".join(_same(columns, key) for key in progress.again[:AGAIN_ROWS]))
    elif progress.after is not None:
        conditions.append(_behind(columns, progress.after))
    if progress.where:
        conditions.append(progress.where)
    if conditions:
        query += " where " + " and ".join(f"({condition})" for condition in conditions)
    query += f" order by {', '.join(quoted(column.name) for column in columns)}"
    return query if limit is None else f"{query} limit {limit}"


def _full(name: TableName) -> str:
    return f"{quoted(name.database)}.{quoted(name.name)}"


def key_text(key: Sequence[int], row: Sequence[bytes | None]) -> Key:
    """The key of a row as its bytes, one character each; `key` are its columns."""
    return tuple((row[i] or b"").decode("latin1") for i in key)


def moved_key(shape: TableShape, cells: Sequence[Value]) -> Key | None:
    """The key of Avro cells in the form of `key_text`; None where one of its columns is not simple enough."""
    parts = [_part(shape.columns[i], cells[i]) for i in shape.key]
    return tuple(part for part in parts if part is not None) if None not in parts else None


def _part(column: ColumnShape, cell: Value) -> str | None:
    """Of an integer, or a string that has the same bytes in Avro as in the table."""
    if not isinstance(cell, bytes):
        return None
    if column.kind in _INTEGERS and not (column.kind == FIELD_TYPE.LONGLONG and column.unsigned):
        zigzag = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(cell))
        return str((zigzag >> 1) ^ -(zigzag & 1))
    if column.kind in _STRINGS and column.charset in ("binary", *UTF8):
        size = next(i for i, byte in enumerate(cell) if byte < 0x80) + 1
        return cell[size:].decode("latin1")
    return None


def _same(columns: Sequence[ColumnShape], key: Key) -> str:
    return " and ".join(
        f"{key_expression(column)} = {_literal(column, part)}" for column, part in zip(columns, key, strict=True)
    )


def _behind(columns: Sequence[ColumnShape], key: Key) -> str:
    """Rows behind `key`, written out, for MySQL uses no index where whole rows are compared."""
    name, value = key_expression(columns[0]), _literal(columns[0], key[0])
    if len(columns) == 1:
        return f"{name} > {value}"
    return f"{name} >= {value} and ({name} > {value} or ({_behind(columns[1:], key[1:])}))"


def _literal(column: ColumnShape, part: str) -> str:
    return key_literal(column, part.encode("latin1"))


def _redefined(error: pymysql.MySQLError) -> NotRead | None:
    """What it means for a table's copy that the table became another between two statements; None: it did not."""
    number = error.args[0] if error.args else 0
    return NotRead.GONE if number in GONE else NotRead.TOO_EARLY if number in _ALTERED else None


def _piece_lines(connection: Any) -> Iterator[bytes]:
    with closing(connection):
        yield from rest_of_select(connection, None)


def _lacks_none(transaction: int) -> bool:
    return False
