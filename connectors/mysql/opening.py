"""Opening one connector's log: which server, from where, and whether it still holds what follows."""

import socket
from typing import Any, NamedTuple
from zlib import crc32

import pymysql
import structlog

from connectors.errors import LogGap, SourceMisconfigured, SourceRefused
from connectors.mysql import coordinates, reach
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import (
    Server,
    binary_logs,
    connect,
    end_of_log,
    identify,
    run,
    source_error,
    start_of_log,
    text_of,
)
from connectors.mysql.coordinates import Coordinates, order
from connectors.mysql.gtid import MariadbGtids, MysqlGtids
from connectors.mysql.stream import BinlogStream
from offsets.origin import facts, same_log
from offsets.position import Offset

FIRST_VERSION = {"mysql": (8, 0), "mariadb": (10, 6)}
NAMES = {"mysql": "MySQL", "mariadb": "MariaDB"}
_COUNTED_SINCE = (11, 4)
"""From here on MariaDB's log events lack their position inside a transaction: to count it, all must be sent."""
_OWN_IDS = 1 << 31
_RESET = "run `tailrace offsets reset {}` and start again: every table is copied anew"

Connection = "pymysql.connections.Connection[Any]"

log = structlog.get_logger("tailrace")


class View(NamedTuple):
    """Look without leaving a trace. `start`: ``now``, ``start`` (where the log begins) or a position."""

    start: str


class OpenLog(NamedTuple):
    """A stream that is running behind `start`, and an ordinary connection beside it.

    `end` is where the log ended meanwhile: what was committed before it counts as committed when we started.
    `first_order` is one that all that follows lies behind. By GTID that may begin before `start`, for the log has
    transactions that are not executed yet.
    """

    stream: BinlogStream
    connection: Any
    server: Server
    start: Coordinates
    end: Coordinates
    origin: str
    first_order: int


class _Start(NamedTuple):
    at: Coordinates
    by_gtid: bool


def open_log(config: MysqlConfig, connector: str, after: Offset | View | None) -> OpenLog:
    """Check, and start the stream. Leaves no connection open where it raises SourceError."""
    connection = connect(config, application=f"tailrace {connector}")
    stream: BinlogStream | None = None
    try:
        server = identify(connection)
        check_server(connection, config, server)
        begin = _begin(config, connector, connection, server, after)
        dump = connect(config, application=f"tailrace {connector} binlog")
        stream = BinlogStream(config, server, dump)
        stream.start(
            begin.at,
            server_id(config, connector, view=isinstance(after, View)),
            begin.by_gtid,
            annotate=config.query or (server.flavor == "mariadb" and server.version >= _COUNTED_SINCE),
        )
        end = end_of_log(connection, server)
        origin = reach.origin(server, config)
        first_order = order(begin.at._replace(pos=4) if begin.by_gtid else begin.at)
        if isinstance(after, Offset) and same_log(after.position.origin, origin):
            first_order = after.position.order
        return OpenLog(stream, connection, server, begin.at, end, origin, first_order)
    except pymysql.MySQLError as error:
        _close(connection, stream)
        raise source_error(error, config) from None
    except BaseException:
        _close(connection, stream)
        raise


def _close(connection: Any, stream: BinlogStream | None) -> None:
    if stream is not None:
        stream.close()
    connection.close()


def server_id(config: MysqlConfig, connector: str, *, view: bool) -> int:
    """Ours among the server's replicas; the same at each start, so that the server ends what is left of the last."""
    if config.server_id is not None and not view:
        return config.server_id
    name = f"{connector}@{socket.gethostname()}{' view' if view else ''}"
    return _OWN_IDS | crc32(name.encode()) & (_OWN_IDS - 1)


def check_server(connection: Any, config: MysqlConfig, server: Server) -> None:
    """Raise SourceError for a server that cannot serve us."""
    if server.flavor != config.type:
        raise SourceMisconfigured(
            f'{config.host} runs {NAMES[server.flavor]}, and source.type is "{config.type}"',
            f'set source.type to "{server.flavor}"',
        )
    first = FIRST_VERSION[server.flavor]
    if server.version < first:
        raise SourceRefused(
            f"{config.host} runs {NAMES[server.flavor]} {'.'.join(map(str, server.version))};"
            f" {'.'.join(map(str, first))} is the first that works",
            "upgrade the server",
        )
    settings = dict(run(connection, "show global variables where variable_name in ('log_bin', 'binlog_format')"))
    if settings.get("log_bin") != "ON":
        raise SourceRefused(
            f"{config.host} writes no binary log",
            "set log_bin in the server's configuration and restart the server",
        )
    if settings.get("binlog_format", "ROW") != "ROW" and config.statements == "fail":
        raise SourceRefused(
            f"{config.host} has binlog_format = {settings['binlog_format']}, which logs changes without their rows",
            "run `set global binlog_format = ROW` and let every client connect anew",
        )


def _begin(config: MysqlConfig, connector: str, connection: Any, server: Server, after: Offset | View | None) -> _Start:
    if isinstance(after, Offset):
        return _resume(config, connector, connection, server, after)
    if isinstance(after, View) and after.start == "start":
        return _Start(start_of_log(connection, server), False)
    if isinstance(after, View) and after.start != "now":
        return _Start(_named(config, after.start), False)
    start = exact_end_of_log(connection, server)
    if after is None:
        log.info("starts as a new connector", connector=connector, position=str(start))
    return _Start(start, server.flavor == "mysql" and server.gtids)


def _named(config: MysqlConfig, word: str) -> Coordinates:
    try:
        return coordinates.parse(reach.position(config, word, reach.positions(config)).token)
    except ValueError as error:
        raise SourceMisconfigured(
            f"{word!r} is no position of a binlog: {error}",
            "give now, start, a position as binlog.000003:1547, or a set of GTIDs",
        ) from None


def exact_end_of_log(connection: Any, server: Server) -> Coordinates:
    """A position behind nothing that other sessions do not see yet, where the engine can tell one."""
    if server.flavor == "mysql":
        return end_of_log(connection, server)
    gtids_before = end_of_log(connection, server).gtids
    run(connection, "start transaction with consistent snapshot")
    status = {name.lower(): text for name, text in run(connection, "show status like 'binlog\\_snapshot\\_%'")}
    file, pos = status["binlog_snapshot_file"], int(status["binlog_snapshot_position"])
    [(gtids,)] = run(connection, "select binlog_gtid_pos(%s, %s)", (file, pos))
    run(connection, "commit")
    if gtids is None:  # the server cannot read back a log event longer than its max_allowed_packet
        gtids = gtids_before
    return Coordinates(file, pos, gtids) if file else end_of_log(connection, server)


def _resume(config: MysqlConfig, connector: str, connection: Any, server: Server, after: Offset) -> _Start:
    its = facts(after.position.origin)
    if its.get("type") != server.flavor:
        raise SourceMisconfigured(
            f"the stored position {after.position.token} is none of {NAMES[server.flavor]}",
            "give this connector a name of its own, or " + _RESET.format(connector),
        )
    stored = coordinates.parse(after.position.token)
    same = its.get("system") == server.system
    if server.flavor == "mysql" and server.gtids and stored.gtids:
        return _resume_by_set(config, connector, connection, server, stored, same)
    if server.flavor == "mariadb" and stored.gtids and not (same and _is_there(connection, server, stored)):
        return _resume_by_domains(config, connector, connection, server, stored, same)
    if not same:
        raise LogGap(
            f"{config.host} is another server than the one that {stored} belongs to, and without GTIDs no position"
            " means the same on both",
            "point source.host at the old server, or " + _RESET.format(connector),
        )
    _check_file(config, connector, connection, stored)
    if server.gtids and not stored.gtids:  # they were switched on since; a part of the set would have the rest sent
        stored = stored._replace(gtids=_named(config, str(stored)).gtids)
    return _Start(stored, False)


def _resume_by_set(
    config: MysqlConfig, connector: str, connection: Any, server: Server, stored: Coordinates, same: bool
) -> _Start:
    ours = MysqlGtids.parse(stored.gtids)
    executed = MysqlGtids.parse(text_of(connection, "select @@global.gtid_executed"))
    purged = MysqlGtids.parse(text_of(connection, "select @@global.gtid_purged"))
    if errant := ours.minus(executed):
        raise LogGap(
            f"{config.host} has never executed {errant}, which connector {connector} has delivered",
            "this server lost transactions, was reset, or is behind: point source.host at one that has them, or "
            + _RESET.format(connector),
        )
    if missing := purged.minus(ours):
        raise LogGap(
            f"{config.host} has purged {missing} from its binary logs, which connector {connector} has not delivered",
            "point source.host at a server that still has them, or " + _RESET.format(connector),
        )
    if same and stored.file.rpartition(".")[0] == server.log:
        _check_end(config, connector, connection, stored)
        return _Start(stored, True)
    start = start_of_log(connection, server)
    log.warning("goes on by GTID in another log", connector=connector, host=config.host, gtids=stored.gtids)
    return _Start(Coordinates(start.file, start.pos, stored.gtids), True)


def _resume_by_domains(
    config: MysqlConfig, connector: str, connection: Any, server: Server, stored: Coordinates, same: bool
) -> _Start:
    ours = MariadbGtids.parse(stored.gtids)
    written = MariadbGtids.parse(text_of(connection, "select @@global.gtid_binlog_pos"))
    if errant := ours.minus(written):
        raise LogGap(
            f"the binary log of {config.host} ends before {errant}, which connector {connector} has delivered",
            "this server lost transactions, was reset, or is behind: point source.host at one that has them, or "
            + _RESET.format(connector),
        )
    start = start_of_log(connection, server)
    if missing := MariadbGtids.parse(start.gtids).minus(ours):
        raise LogGap(
            f"{config.host} has purged its binary logs up to {missing}; connector {connector} has delivered {ours}",
            "point source.host at a server that still has what is between, or " + _RESET.format(connector),
        )
    log.warning("goes on by GTID in another log", connector=connector, host=config.host, gtids=stored.gtids)
    return _Start(Coordinates(start.file, start.pos, stored.gtids), True)


def _is_there(connection: Any, server: Server, stored: Coordinates) -> bool:
    """Whether file and position mean on this MariaDB server what the GTIDs say; ids of servers may be given twice.

    Where it cannot say, a file that is long enough will do on a server with an identity of its own that wrote them.
    """
    [(found,)] = run(connection, "select binlog_gtid_pos(%s, %s)", (stored.file, stored.pos))
    if found is None:
        written = MariadbGtids.parse(text_of(connection, "select @@global.gtid_binlog_pos"))
        is_long = dict(binary_logs(connection)).get(stored.file, 0) >= stored.pos
        return bool(server.uuid) and is_long and not MariadbGtids.parse(stored.gtids).minus(written)
    return bool(MariadbGtids.parse(found) == MariadbGtids.parse(stored.gtids))


def _check_file(config: MysqlConfig, connector: str, connection: Any, stored: Coordinates) -> None:
    logs = binary_logs(connection)
    size = dict(logs).get(stored.file)
    if size is None:
        first = logs[0][0] if logs else "nothing"
        raise LogGap(
            f"{config.host} no longer has {stored.file}, where connector {connector} stands; its log begins with"
            f" {first}",
            "the changes between are lost to us: " + _RESET.format(connector),
        )
    if size < stored.pos:
        raise _ends_before(config, connector, stored, Coordinates(stored.file, size))


def _check_end(config: MysqlConfig, connector: str, connection: Any, stored: Coordinates) -> None:
    """GTIDs that were set by hand after a RESET say what is executed, and not what the log holds."""
    end = Coordinates(*binary_logs(connection)[-1])
    if order(end) < order(stored):
        raise _ends_before(config, connector, stored, end)


def _ends_before(config: MysqlConfig, connector: str, stored: Coordinates, end: Coordinates) -> LogGap:
    return LogGap(
        f"the log of {config.host} ends at {end.file}:{end.pos}, before {stored.file}:{stored.pos}, where connector"
        f" {connector} stands",
        "the server lost its log or was reset: " + _RESET.format(connector),
    )
