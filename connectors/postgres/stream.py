"""Postgres sockets: the replication stream and COPY. The only file that touches libpq.

Source: PostgreSQL manual, "Streaming Replication Protocol" (START_REPLICATION, standby status update).
"""

import time
from collections.abc import Iterator
from select import select
from struct import Struct
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from connectors.errors import LogBusy, LogGap, SourceError, SourceMisconfigured, SourceRefused, SourceUnreachable
from connectors.postgres.config import PostgresConfig
from connectors.postgres.types import SESSION_SETTINGS
from offsets import libpq

_STATUS = Struct(">cQQQqB")
_POSTGRES_EPOCH_S = 946_684_800
_LINGER_S = 0.0004
LOCK_TIMEOUT_S = 10
_NO_LIMITS_SQL = """
    select set_config(name, '0', false) from pg_settings where name in
    ('statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')
"""
_NOT_IN_STATE = "55000"
_START_ANEW = "drop the slot, run `tailrace offsets reset NAME` and start again: every table is copied anew"


def connect(config: PostgresConfig, *, replication: bool = False, application: str) -> psycopg.Connection[Any]:
    """An autocommit connection whose text output is what connectors.postgres.types reads. Raises SourceError."""
    # With row_security a copy would lack the rows that a policy hides in silence; without, they are an error.
    # A commit of ours, a watermark, need not wait for a standby that may be down.
    settings = {**SESSION_SETTINGS, "row_security": "off", "synchronous_commit": "local"}
    if not replication:  # there, making a slot waits for open transactions
        settings["lock_timeout"] = f"{LOCK_TIMEOUT_S}s"
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    conninfo = make_conninfo(
        **config.conninfo(),
        application_name=application,
        options=options,
        client_encoding="utf8",
        connect_timeout=libpq.CONNECT_TIMEOUT_S,
        **libpq.NETWORK,
        **({"replication": "database"} if replication else {}),
    )
    try:
        connection = psycopg.connect(conninfo, autocommit=True)
        connection.execute(_NO_LIMITS_SQL)
        return connection
    except psycopg.Error as error:
        raise source_error(error, config) from None


def source_error(error: psycopg.Error, config: PostgresConfig) -> SourceError:
    """What a Postgres error means to us: by SQLSTATE where the server answered, else by libpq's text."""
    where = f"{config.host}:{config.port}/{config.database}"
    state, text = libpq.failure(error)
    match state:
        case "28P01" | "28000":
            return SourceRefused(
                f"{where} refused user {config.user}: {text}",
                "correct source.user and source.password, or the server's pg_hba.conf",
            )
        case "3D000":
            return SourceMisconfigured(f"{where}: the database does not exist", "correct source.database, or create it")
        case "42501":
            return SourceRefused(f"{where}: {text}", "run `tailrace check` for the SQL that grants what is missing")
        case "55006":
            return LogBusy(
                f"{where}: {text}",
                "another process reads this slot; stop it (select * from pg_replication_slots), or use another slot",
            )
        case "55P03":
            return SourceUnreachable(
                f"{where}: {text}",
                "another session keeps a table locked that we must look at: find it in pg_locks, or wait for its end",
            )
        case "58P01" | "55000":
            return LogGap(f"{where}: {text}", _START_ANEW)
        case "42704":  # the slot, or the publication as of that point of the log
            return LogGap(f"{where}: {text}", _START_ANEW)
        case "tls":
            return SourceRefused(f"{where}: {text}", "correct source.tls; `verify-full` is the default off this host")
        case None:
            return SourceUnreachable(f"{where}: {text}", "check that the server runs and that this host may reach it")
    retryable = state[:2] in ("08", "53", "57", "58", "XX", "40")
    return (SourceUnreachable if retryable else SourceRefused)(
        f"{where}: {text} (SQLSTATE {state})", "see the server's log for the whole story"
    )


class ReplicationStream:
    """One START_REPLICATION. Frames come as bytes; statuses go back on the same socket."""

    def __init__(self, connection: psycopg.Connection[Any], config: PostgresConfig) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._config = config
        self._skipped = ""
        self.silent_s = 0.0
        """How long we have listened and the server has said nothing."""
        connection.add_notice_handler(self._noticed)

    def start(self, slot: str, position: int, publication: str) -> None:
        """Stream from `position` on. Raises SourceError, LogGap among them."""
        name = publication.replace('"', '""').replace("'", "''")
        command = (
            f'START_REPLICATION SLOT "{slot}" LOGICAL {format_lsn(position)} '
            f"(proto_version '1', publication_names '\"{name}\"', messages 'true')"
        )
        try:
            result = self._pgconn.exec_(command.encode())
        except psycopg.Error as error:
            raise source_error(error, self._config) from None
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise source_error(psycopg.errors.error_from_result(result), self._config)

    def receive(self, timeout_s: float, limit_bytes: int) -> list[bytes]:
        """The frames that are here, up to about `limit_bytes`; empty where none came within `timeout_s`.

        Raises SourceUnreachable where the connection broke or ended, LogGap where the server left changes out.
        """
        frames: list[bytes] = []
        size = 0
        get = self._pgconn.get_copy_data
        try:
            while True:
                count, data = get(1)
                if self._skipped:
                    raise LogGap(f"{self._config.host} leaves changes out: {self._skipped}", _START_ANEW)
                if count > 0:
                    frames.append(bytes(data))
                    size += count
                    if size >= limit_bytes:
                        return frames
                elif count == 0:
                    if frames or not self._wait(timeout_s):
                        return frames
                else:
                    raise self._ended()
        except psycopg.Error as error:
            raise source_error(error, self._config) from None

    def linger(self) -> None:
        """Where nothing more is here, let the server send some rows before the next `receive`.

        That makes one system call for many rows, not for two.
        """
        try:
            if not self._readable(0.0):
                time.sleep(_LINGER_S)
            self._pgconn.consume_input()
        except psycopg.Error as error:
            raise source_error(error, self._config) from None

    def send_status(self, received: int, flushed: int, *, ask_reply: bool = False) -> None:
        """Tell the server what we hold and what it may forget; `ask_reply` asks for a keepalive at once."""
        clock_us = int((time.time() - _POSTGRES_EPOCH_S) * 1_000_000)
        try:
            self._pgconn.put_copy_data(_STATUS.pack(b"r", received, flushed, flushed, clock_us, ask_reply))
            self._pgconn.flush()
        except psycopg.Error as error:
            raise source_error(error, self._config) from None

    def close(self) -> None:
        self._connection.close()

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        """Since Postgres 18 a publication that the log does not know at that point is a warning, not an error.

        The server then goes on without the changes, so that only this stands between us and a silent loss.
        """
        if notice.severity_nonlocalized == "WARNING" and notice.sqlstate == _NOT_IN_STATE:
            self._skipped = f"{notice.message_primary}: {notice.message_detail}"

    def _wait(self, timeout_s: float) -> bool:
        readable = self._readable(timeout_s)
        self.silent_s = 0.0 if readable else self.silent_s + timeout_s
        # Also where the socket is empty: TLS may hold the end of a frame that it has read already.
        self._pgconn.consume_input()
        return readable

    def _readable(self, timeout_s: float) -> bool:
        return bool(select([self._pgconn.socket], [], [], timeout_s)[0])

    def _ended(self) -> SourceError:
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return source_error(psycopg.errors.error_from_result(result), self._config)
        return SourceUnreachable(f"{self._config.host}: the server ended the stream", "it is opened again")


def copy_out(connection: psycopg.Connection[Any], query: str, limit_bytes: int | None) -> Iterator[bytes]:
    """The lines of ``COPY (query) TO STDOUT``, each with its newline, one by one.

    Behind `limit_bytes` the query is cancelled and the lines end: the caller sees a prefix. Raises psycopg.Error.
    """
    pgconn = connection.pgconn
    result = pgconn.exec_(f"COPY ({query}) TO STDOUT".encode())
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    size = 0
    cancelled = False
    while True:
        count, data = pgconn.get_copy_data(0)
        if count < 0:
            break
        if cancelled:
            continue
        yield bytes(data)
        size += count
        if limit_bytes is not None and size >= limit_bytes:
            connection.cancel_safe()
            cancelled = True
    failed: pq.abc.PGresult | None = None
    while (ended := pgconn.get_result()) is not None:
        if ended.status == pq.ExecStatus.FATAL_ERROR and not cancelled:
            failed = ended
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)


def format_lsn(lsn: int) -> str:
    """``0/31C6530``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Raises ValueError."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
