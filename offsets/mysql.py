"""Offsets in a MySQL or MariaDB database."""

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal, Self

import pymysql
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pymysql.constants import ER

from offsets import mysql_errors
from offsets.base import Doubt
from offsets.errors import (
    HOLD_ENDS_S,
    OffsetError,
    OffsetStoreFailed,
    OffsetStoreGone,
    OffsetStoreMisconfigured,
    OffsetStoreRefused,
    OffsetUnreadable,
)
from offsets.hosts import Host, is_local
from offsets.relational import Row
from offsets.server import NAME_LENGTH, TABLES, ServerStore
from offsets.tls import Mode, StoreTls

_TIMEOUT_S = 60
_SETTINGS = {
    "sql_mode": "'ANSI_QUOTES,STRICT_ALL_TABLES'",
    "transaction_isolation": "'REPEATABLE-READ'",
    "innodb_lock_wait_timeout": 10,
    "lock_wait_timeout": 10,
    # The server frees the lock of a host that is gone; Renewal asks more often.
    "wait_timeout": int(HOLD_ENDS_S),
}
_COLLATIONS = {"mysql": "utf8mb4_0900_bin", "mariadb": "utf8mb4_nopad_bin"}
"""Every letter as it is, and spaces at the end count."""
_READ_ONLY = {ER.OPTION_PREVENTS_STATEMENT, 1792, 1836}  # the last two: in such a transaction or mode
_UNKNOWN = {ER.BAD_FIELD_ERROR, ER.WRONG_VALUE_COUNT_ON_ROW}
_CERTAIN = {ER.PARSE_ERROR, ER.DATA_TOO_LONG, ER.NO_DEFAULT_FOR_FIELD, ER.BAD_NULL_ERROR}


class MysqlStoreConfig(BaseModel):
    """Offsets in tables of a MySQL 8.0 or MariaDB 10.6 database, or newer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["mysql"]
    host: Host = Field(description="Host name, address, or path of the Unix socket.")
    port: int = Field(default=3306, ge=1, le=65535, description="TCP port.")
    database: str = Field(min_length=1, description="Database that has the tables.")
    user: str = Field(min_length=1, description="User that may write them.")
    password: SecretStr | None = Field(
        default=None, description="Its password, as ${env:NAME} or ${file:PATH}. Default: none is sent."
    )
    tls: StoreTls = Field(default=StoreTls(), description="How the connection is protected.")
    prefix: str = Field(
        default="tailrace_", pattern=r"^[a-z_][a-z0-9_]{0,30}$", description="First part of the tables' names."
    )

    @property
    def tls_mode(self) -> Mode:
        return self.tls.mode or ("prefer" if is_local(self.host) else "verify-full")

    @property
    def place(self) -> str:
        return f"mysql {self.host}:{self.port}/{self.database}"


class MysqlStore(ServerStore):
    """An OffsetStore whose lock is GET_LOCK's of the session that saves."""

    Config: ClassVar[type[MysqlStoreConfig]] = MysqlStoreConfig
    table_options = " engine = InnoDB default character set utf8mb4"

    def __init__(self, config: MysqlStoreConfig, clock: Callable[[], float] = time.time, *, make: bool = True) -> None:
        self._config = config
        super().__init__(config.place, config.prefix, clock, make=make)

    @classmethod
    def without_tables(cls, config: MysqlStoreConfig) -> Self:
        return cls(config, make=False)

    def _connect(self) -> None:
        config = self._config
        is_socket = config.host.startswith("/")
        mode = config.tls_mode
        password = config.password.get_secret_value() if config.password else ""
        self._connection: Any
        with self._reported("reach"):
            self._connection = pymysql.connections.Connection(
                host=None if is_socket else config.host,
                unix_socket=config.host if is_socket else None,
                port=config.port,
                user=config.user,
                password=password.encode(),
                database=config.database,
                charset="utf8mb4",
                autocommit=True,
                program_name="tailrace offsets",
                connect_timeout=_TIMEOUT_S,
                read_timeout=_TIMEOUT_S,
                write_timeout=_TIMEOUT_S,
                # Without a context of ours PyMySQL takes TLS where the server has it.
                ssl=None if mode in ("disable", "prefer") else config.tls.context(mode),
                ssl_disabled=mode == "disable" or (is_socket and mode == "prefer"),
            )
            self._flavor = "mariadb" if "MariaDB" in self._connection.server_version else "mysql"
            try:
                settings = {**_SETTINGS}
                if self._flavor == "mariadb":
                    settings["tx_isolation"] = settings.pop("transaction_isolation")
                self._run("set " + ", ".join(f"session {name} = {value}" for name, value in settings.items()))
            except BaseException:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        if self._connection.open:
            with suppress(pymysql.MySQLError, OSError):
                self._connection.close()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return list(cursor.fetchall())

    def _begin(self) -> None:
        self._connection.begin()

    def _commit(self) -> None:
        self._connection.commit()

    def _roll_back(self) -> None:
        with suppress(pymysql.MySQLError, OSError):
            self._connection.rollback()

    def _types(self) -> dict[str, str]:
        collation = f"character set utf8mb4 collate {_COLLATIONS[self._flavor]} not null"
        name = f"varchar({NAME_LENGTH}) {collation}"
        return {"name": name, "text": "longtext", "id": "bigint not null auto_increment unique"}

    def _missing(self) -> list[str]:
        rows = self._run("select table_name from information_schema.tables where table_schema = database()")
        there = {row[0] for row in rows}
        return [name for name in TABLES if f"{self._prefix}{name}" not in there]

    def _try_lock(self, connector: str) -> bool:
        return bool(self._run("select get_lock(%s, 0)", (self._key(connector),))[0][0])

    def _is_locked(self, connector: str) -> bool:
        return self._run("select is_used_lock(%s)", (self._key(connector),))[0][0] is not None

    def _try_to_write(self) -> list[Doubt]:
        if missing := self._missing():
            absent = ", ".join(f"{self._prefix}{name}" for name in missing)
            mend = "nothing to do where the user may create tables: the first start makes them"
            return [Doubt(f"{self.place} has no {absent} yet, so writing was not tried", mend)]
        with self._taken_back():
            self._put_runner("")
        return []

    def _doubts(self) -> list[Doubt]:
        names = ("innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin")
        rows = self._run("show global variables where variable_name in (%s, %s, %s)", names)
        found = {name.lower(): value for name, value in rows}
        wanted = {"innodb_flush_log_at_trx_commit": "1"}
        if found.get("log_bin") == "ON":
            wanted["sync_binlog"] = "1"
        return [
            Doubt(f"{self.place} runs with {name} = {found[name]}: a crash may lose offsets", f"set {name} = {value}")
            for name, value in wanted.items()
            if found.get(name, value) != value
        ]

    def _key(self, connector: str) -> str:
        """A lock's name counts on the whole server and has 64 characters at most."""
        name = f"{self._config.database}.{self._prefix}{connector}"
        return f"tailrace:{hashlib.sha256(name.encode()).hexdigest()[:48]}"

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            raise self._translated(error, doing) from None

    def _translated(self, error: Exception, doing: str) -> OffsetError:
        cause = error if isinstance(error, OSError) else getattr(error, "original_exception", None)
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = " ".join(str(error.args[-1]).split()) if error.args else "the connection is closed"
        said = f"cannot {doing} {self.place}: {text or 'the connection is closed'}"
        if number in mysql_errors.WRONG_USER:
            return OffsetStoreRefused(said, "correct offsets.user and offsets.password, or the account on the server")
        if number in mysql_errors.TLS or _is_tls(cause):
            return OffsetStoreRefused(said, "correct offsets.tls; `verify-full` is the default off this host")
        if number == ER.BAD_DB_ERROR:
            return OffsetStoreMisconfigured(said, "correct offsets.database, or create it")
        if number in mysql_errors.NO_PRIVILEGE:
            mend = f"grant select, insert, update, delete, create on {self._config.database}.* to"
            return OffsetStoreRefused(said, f"as root: {mend} {self._config.user}")
        if number == ER.NO_SUCH_TABLE:
            return OffsetStoreGone(said, "stop tailrace, put the table back from a backup, and start it again")
        if number in _UNKNOWN:
            return OffsetUnreadable(said, "another program or version made this table; choose another offsets.prefix")
        if number in _READ_ONLY:
            return OffsetStoreFailed(said, "nothing was changed; let offsets.host lead to the server that is written")
        if number in _CERTAIN:
            return OffsetStoreRefused(f"{said} (error {number})", "see the server's log for the whole story")
        return OffsetStoreFailed(said, "check that the server runs, has room, and that this host may reach it")


def _is_tls(error: object) -> bool:
    closed = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return isinstance(error, ssl.SSLError) and not isinstance(error, closed)
