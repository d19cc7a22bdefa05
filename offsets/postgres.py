"""Offsets in a Postgres database."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal, Self

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from offsets import libpq
from offsets.base import Doubt
from offsets.errors import (
    OffsetError,
    OffsetStoreFailed,
    OffsetStoreGone,
    OffsetStoreMisconfigured,
    OffsetStoreRefused,
    OffsetUnreadable,
)
from offsets.hosts import Host, is_local
from offsets.relational import Row
from offsets.server import TABLES, ServerStore
from offsets.tls import Mode, StoreTls

_SETTINGS = {
    "client_encoding": "UTF8",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_session_timeout": "0",
    # The server frees the lock of a host that is gone within offsets.errors.HOLD_ENDS_S.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "45000",
}
"""Of the session, those of them that the server knows."""
_PREPARE = """
    select set_config(s.name, v.value, false) from pg_settings s join unnest(%s::text[], %s::text[]) v(name, value)
    using (name) where s.context = 'user'
    union all
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
"""
_RETRYABLE = ("08", "23", "25", "40", "53", "55", "57", "58", "XX")
_GRANT = "grant usage, create on schema SCHEMA to USER; docs/offset-stores.md has the whole SQL"


class PostgresStoreConfig(BaseModel):
    """Offsets in tables of a Postgres database, version 14 or newer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["postgres"]
    host: Host = Field(description="Host name, address, or folder of the Unix socket.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port.")
    database: str = Field(min_length=1, description="Database that has the tables.")
    user: str = Field(min_length=1, description="Role that may write them.")
    password: SecretStr | None = Field(
        default=None, description="Its password, as ${env:NAME} or ${file:PATH}. Default: none is sent."
    )
    tls: StoreTls = Field(default=StoreTls(), description="How the connection is protected.")
    prefix: str = Field(
        default="tailrace_",
        max_length=60,
        pattern=r"^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]{0,30}$",
        description="First part of the tables' names, with a schema and a dot before it or without.",
    )

    @property
    def tls_mode(self) -> Mode:
        return self.tls.mode or ("prefer" if is_local(self.host) else "verify-full")

    @property
    def place(self) -> str:
        return f"postgres {self.host}:{self.port}/{self.database}"


class PostgresStore(ServerStore):
    """An OffsetStore whose lock is an advisory one of the session that saves."""

    Config: ClassVar[type[PostgresStoreConfig]] = PostgresStoreConfig

    def __init__(
        self, config: PostgresStoreConfig, clock: Callable[[], float] = time.time, *, make: bool = True
    ) -> None:
        self._config = config
        super().__init__(config.place, config.prefix, clock, make=make)

    @classmethod
    def without_tables(cls, config: PostgresStoreConfig) -> Self:
        return cls(config, make=False)

    def _connect(self) -> None:
        config = self._config
        if config.tls_mode not in ("disable", "prefer"):
            config.tls.context(config.tls_mode)  # says which file is unfit; libpq's words would not
        with self._reported("reach"):
            self._connection = psycopg.connect(
                make_conninfo(
                    host=config.host,
                    port=config.port,
                    dbname=config.database,
                    user=config.user,
                    password=config.password.get_secret_value() if config.password else None,
                    application_name="tailrace offsets",
                    connect_timeout=libpq.CONNECT_TIMEOUT_S,
                    **libpq.NETWORK,
                    **libpq.protection(config.tls_mode, config.tls.ca, config.tls.cert, config.tls.key),
                ),
                autocommit=True,
            )
            try:
                self._run(_PREPARE, (list(_SETTINGS), list(_SETTINGS.values())))
            except BaseException:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        self._connection.close()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def _begin(self) -> None:
        self._run("begin isolation level read committed")

    def _commit(self) -> None:
        self._run("commit")

    def _roll_back(self) -> None:
        with suppress(psycopg.Error):
            self._connection.rollback()

    def _types(self) -> dict[str, str]:
        return {"name": "text not null", "text": "text", "id": "bigint generated always as identity"}

    def _missing(self) -> list[str]:
        return [name for name in TABLES if self._run("select to_regclass(%s)", (f"{self._prefix}{name}",)) == [(None,)]]

    def _try_lock(self, connector: str) -> bool:
        return bool(self._run("select pg_try_advisory_lock(%s)", (self._key(connector),))[0][0])

    def _is_locked(self, connector: str) -> bool:
        key = self._key(connector) & (1 << 64) - 1
        return bool(
            self._run(
                "select 1 from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
                " and classid::bigint = %s and objid::bigint = %s"
                " and database = (select oid from pg_database where datname = current_database())",
                (key >> 32, key & 0xFFFF_FFFF),
            )
        )

    def _try_to_write(self) -> list[Doubt]:
        with self._taken_back():
            self._make_tables(self._missing())
            self._put_runner("")
        return []

    def _doubts(self) -> list[Doubt]:
        if self._run("show fsync") == [("on",)]:
            return []
        return [Doubt(f"{self.place} runs with fsync off: a crash of its host may lose offsets", "set fsync = on")]

    def _key(self, connector: str) -> int:
        digest = hashlib.sha256(f"{self._prefix}{connector}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._translated(error, doing) from None

    def _translated(self, error: psycopg.Error, doing: str) -> OffsetError:
        state, text = libpq.failure(error)
        said = f"cannot {doing} {self.place}: {text}"
        match state:
            case "28P01" | "28000":
                return OffsetStoreRefused(
                    said, "correct offsets.user and offsets.password, or the server's pg_hba.conf"
                )
            case "tls":
                return OffsetStoreRefused(said, "correct offsets.tls; `verify-full` is the default off this host")
            case "3D000" | "3F000":
                return OffsetStoreMisconfigured(said, "correct offsets.database and offsets.prefix, or create it")
            case "42501":
                return OffsetStoreRefused(said, f"as its owner: {_GRANT}")
            case "42P01":
                return OffsetStoreGone(said, "stop tailrace, put the table back from a backup, and start it again")
            case "42703":
                return OffsetUnreadable(
                    said, "another program or version made this table; choose another offsets.prefix"
                )
            case "25006":
                return OffsetStoreFailed(
                    said, "nothing was changed; let offsets.host lead to the server that is written"
                )
            case None:
                return OffsetStoreFailed(said, "check that the server runs and that this host may reach it")
        if state[:2] in _RETRYABLE:
            return OffsetStoreFailed(f"{said} (SQLSTATE {state})", "see the server's log for the whole story")
        return OffsetStoreRefused(f"{said} (SQLSTATE {state})", "see the server's log for the whole story")
