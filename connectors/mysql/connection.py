"""MySQL and MariaDB connections: opened, identified, their errors translated at one border."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import pymysql
from pymysql.constants import CR, ER

from connectors.errors import LogGap, SourceError, SourceMisconfigured, SourceRefused, SourceUnreachable
from connectors.mysql.config import MysqlConfig
from connectors.mysql.coordinates import Coordinates
from offsets import mysql_errors, tls

CONNECT_TIMEOUT_S = 30
ANSWER_S = 300.0
"""So long may a server be silent over a query before it counts as gone."""
SEARCH_S = 3600.0
"""So long where it must look through a whole table."""
LOCK_TIMEOUT_S = 10
STALL_S = 3600
"""How long the server waits for us to take what it sends: a sink may be slow."""
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 30),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 0), 10),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 0), 3),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 0), 60_000),
)
"""In s and the last in ms: a host that is gone is an error, not a wait for ever. 0 where the system has none."""
_SESSION = {
    "time_zone": "'+00:00'",
    # No mode that pads CHAR or takes quotes away; a date that the server holds may be compared with.
    "sql_mode": "'ALLOW_INVALID_DATES'",
    "lock_wait_timeout": LOCK_TIMEOUT_S,
    "net_write_timeout": STALL_S,
    "wait_timeout": 31_536_000,
    "sql_select_limit": "default",
}
_NO_LIMIT = {"mysql": "max_execution_time", "mariadb": "max_statement_time"}
GONE = (ER.NO_SUCH_TABLE, ER.BAD_DB_ERROR)
_SAME_SERVER_ID = 4052
"""MariaDB's; MySQL has it among the fatal errors of reading the log."""
_START_ANEW = "run `tailrace offsets reset NAME` and start again: every table is copied anew"

Flavor = Literal["mysql", "mariadb"]


class Server(NamedTuple):
    """`uuid` is MySQL's server_uuid or MariaDB's server_uid; `gtids`: every transaction in the log has one.

    `log` is what the names of its binlogs begin with: ``binlog`` of ``binlog.000003``.
    """

    flavor: Flavor
    version: tuple[int, ...]
    uuid: str
    server_id: int
    gtids: bool
    log: str

    @property
    def system(self) -> str:
        """Tells its log from those of other servers."""
        return self.uuid or f"server-{self.server_id}"


def connect(config: MysqlConfig, *, application: str) -> "pymysql.connections.Connection[Any]":
    """An autocommit connection in utf8mb4 and UTC whose text output is what the snapshot reads. Raises SourceError."""
    is_socket = config.host.startswith("/")
    mode = config.tls_mode
    password = config.password.get_secret_value() if config.password else ""
    try:
        connection = pymysql.connections.Connection(
            host=None if is_socket else config.host,
            unix_socket=config.host if is_socket else None,
            port=config.port,
            user=config.user,
            password=password.encode(),
            charset="utf8mb4",
            autocommit=True,
            program_name=application,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=CONNECT_TIMEOUT_S,
            # Without a context of ours PyMySQL takes TLS where the server has it.
            ssl=None if mode in ("disable", "prefer") else _tls(config),
            ssl_disabled=mode == "disable" or (is_socket and mode == "prefer"),
        )
        _prepare(connection, is_socket)
        return connection
    except pymysql.MySQLError as error:
        raise source_error(error, config) from None


def _tls(config: MysqlConfig) -> ssl.SSLContext:
    try:
        return tls.context(config.tls_mode, config.tls.ca, config.tls.cert, config.tls.key)
    except tls.CertificateUnusable as unusable:
        raise SourceMisconfigured(f"source.{unusable}", f"correct source.tls.{unusable.key}") from None


def _prepare(connection: Any, is_socket: bool) -> None:
    if not is_socket:
        for level, option, value in _KEEPALIVE:
            if option:
                connection._sock.setsockopt(level, option, value)
    flavor: Flavor = "mariadb" if "MariaDB" in connection.get_server_info() else "mysql"
    settings = {**_SESSION, _NO_LIMIT[flavor]: 0}
    with connection.cursor() as cursor:
        cursor.execute("set " + ", ".join(f"session {name} = {value}" for name, value in settings.items()))
    connection._read_timeout = ANSWER_S


def identify(connection: "pymysql.connections.Connection[Any]") -> Server:
    """Raises pymysql.MySQLError."""
    names = "'version', 'server_id', 'server_uuid', 'server_uid', 'gtid_mode', 'log_bin_basename'"
    found = {
        name.lower(): value
        for name, value in run(connection, f"show global variables where variable_name in ({names})")
    }
    version = tuple(int(part) for part in re.findall(r"\d+", found["version"].partition("-")[0]))
    server_id = int(found["server_id"])
    log = (found.get("log_bin_basename") or "").rpartition("/")[2]
    if "MariaDB" in found["version"]:
        return Server("mariadb", version, found.get("server_uid", ""), server_id, True, log)
    return Server("mysql", version, found["server_uuid"], server_id, found.get("gtid_mode") == "ON", log)


def end_of_log(connection: "pymysql.connections.Connection[Any]", server: Server) -> Coordinates:
    """Where the next transaction will stand. Raises pymysql.MySQLError, SourceRefused.

    A transaction that commits meanwhile may lie before the position and not be in the GTIDs, never the other way
    round: a stream that starts behind the GTIDs lacks nothing.
    """
    gtids = _executed(connection, server)
    rows = run(connection, log_status(server))
    if not rows:
        raise SourceRefused(
            "the server writes no binary log", "set log_bin in the server's configuration and restart the server"
        )
    return Coordinates(rows[0][0], int(rows[0][1]), gtids)


def log_status(server: Server) -> str:
    """The statement that gives file, position, and the databases that alone, or never, are logged."""
    modern = server.flavor == "mysql" and server.version >= (8, 2)
    return "show binary log status" if modern else "show master status"


def start_of_log(connection: "pymysql.connections.Connection[Any]", server: Server) -> Coordinates:
    """The first log event that the server still has. Raises pymysql.MySQLError, LogGap where it has none."""
    logs = binary_logs(connection)
    if not logs:
        raise LogGap("the server has no binary log left", "run `flush binary logs` on the server")
    file = logs[0][0]
    gtids = ""
    if server.flavor == "mariadb":
        gtids = text_of(connection, f"select binlog_gtid_pos('{file}', 4)")
    elif server.gtids:
        gtids = text_of(connection, "select @@global.gtid_purged")
    return Coordinates(file, 4, gtids)


def binary_logs(connection: "pymysql.connections.Connection[Any]") -> list[tuple[str, int]]:
    """(file, its size in bytes), the oldest first. Raises pymysql.MySQLError."""
    return [(row[0], int(row[1])) for row in run(connection, "show binary logs")]


def _executed(connection: "pymysql.connections.Connection[Any]", server: Server) -> str:
    if server.flavor == "mariadb":
        return text_of(connection, "select @@global.gtid_binlog_pos")
    return text_of(connection, "select @@global.gtid_executed") if server.gtids else ""


@contextmanager
def searching(connection: Any) -> Iterator[None]:
    """Queries in here may take SEARCH_S until their first row."""
    connection._read_timeout = SEARCH_S
    try:
        yield
    finally:
        connection._read_timeout = ANSWER_S


def text_of(connection: "pymysql.connections.Connection[Any]", sql: str) -> str:
    """Of the only column of the only row, as one line; empty for NULL. Raises pymysql.MySQLError."""
    return "".join((run(connection, sql)[0][0] or "").split())


def run(connection: "pymysql.connections.Connection[Any]", sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    """The rows of one statement, none where it gives none. Raises pymysql.MySQLError."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def address(config: MysqlConfig) -> str:
    """How sentences name the server."""
    return config.host if config.host.startswith("/") else f"{config.host}:{config.port}"


def source_error(error: pymysql.MySQLError | OSError, config: MysqlConfig) -> SourceError:
    """What an error of PyMySQL or of the socket means to us: by its number where the server gave one."""
    where = address(config)
    cause = error if isinstance(error, OSError) else getattr(error, "original_exception", None)
    if isinstance(cause, OSError):
        return _network_error(cause, where)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[-1]).split()) if error.args else ""
    if number in (ER.MASTER_FATAL_ERROR_READING_BINLOG, _SAME_SERVER_ID):
        return log_error(text, where)
    if number in mysql_errors.WRONG_USER:
        return SourceRefused(
            f"{where} refused user {config.user}: {text}",
            "correct source.user and source.password, or the account on the server (select user, host, plugin from"
            " mysql.user)",
        )
    if number in mysql_errors.NO_PRIVILEGE:
        return SourceRefused(f"{where}: {text}", "run `tailrace check` for the SQL that grants what is missing")
    if number in mysql_errors.TLS:
        return SourceRefused(f"{where}: {text}", "correct source.tls; `verify-full` is the default off this host")
    if number in (ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE):
        return SourceMisconfigured(f"{where}: {text}", "correct source.databases and source.tables, or create it")
    if number == ER.NO_BINARY_LOGGING:
        return SourceRefused(
            f"{where} writes no binary log", "set log_bin in the server's configuration and restart the server"
        )
    if number == ER.LOCK_WAIT_TIMEOUT:
        return SourceUnreachable(
            f"{where}: {text}",
            "another session keeps a table locked that we must look at: find it in performance_schema.metadata_locks,"
            " or wait for its end",
        )
    if number in _GONE or number < 1000:
        return SourceUnreachable(
            f"{where}: {text or 'the connection is closed'}",
            "check that the server runs and that this host may reach it",
        )
    return SourceRefused(f"{where}: {text} (error {number})", "see the server's log for the whole story")


_GONE = {
    *(CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR),
    *(ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS, ER.USER_LIMIT_REACHED, ER.SERVER_SHUTDOWN),
    *(ER.NORMAL_SHUTDOWN, ER.QUERY_INTERRUPTED, ER.LOCK_DEADLOCK, ER.NET_READ_INTERRUPTED, ER.NET_ERROR_ON_WRITE),
    *(ER.NET_READ_ERROR, ER.NET_WRITE_INTERRUPTED, ER.NEW_ABORTING_CONNECTION, ER.ABORTING_CONNECTION),
    *(1927, 3024, 3168, 3169, 4031),  # killed, timed out, not ready yet, killed, idle for too long
}


def _network_error(error: OSError, where: str) -> SourceError:
    text = str(error.strerror or error).removesuffix(".")
    if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = (getattr(error, "verify_message", "") or error.reason or text).removesuffix(".")
        return SourceRefused(
            f"{where}: TLS failed: {reason}", "correct source.tls; `verify-full` is the default off this host"
        )
    return SourceUnreachable(f"{where}: {text}", "check that the server runs and that this host may reach it")


_GAP = re.compile(
    "Could not find first log file|purged|has more GTIDs|position > file size|impossible position"
    "|not in the master's binlog|Could not find GTID state|is missing the GTID",
    re.IGNORECASE,
)


def log_error(text: str, where: str) -> SourceError:
    """What error 1236 means, one number for all that hinders the server from sending its log.

    Source: MySQL, sql/rpl_source.cc and sql/rpl_binlog_sender.cc; MariaDB, sql/sql_repl.cc.
    """
    if _GAP.search(text):
        return LogGap(f"{where}: {text}", _START_ANEW)
    if "with the same server_" in text:
        return SourceRefused(
            f"{where} ended our stream for another reader that has the same server_id",
            "stop the other reader, which `show processlist` lists, or give this one a source.server_id of its own",
        )
    if "max_allowed_packet" in text:
        return SourceRefused(
            f"{where}: {text}",
            "set max_allowed_packet on the server to 1G, which is its limit, and start again; if that changes nothing,"
            f" the position lies within an event, as after RESET: {_START_ANEW}",
        )
    if "GTID_MODE" in text:
        return SourceRefused(f"{where}: {text}", f"set gtid_mode = ON on the server again, or {_START_ANEW}")
    return SourceError(
        f"{where} cannot read its own log: {text}",
        f"see the server's log and its disk; if the log is lost, {_START_ANEW}",
    )
