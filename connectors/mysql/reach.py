"""What commands ask of a MySQL or MariaDB server: how far back it can go, what a position means, what is captured."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pymysql

from connectors.chunk import Progress
from connectors.errors import LogGap, SourceMisconfigured, SourceUnreachable
from connectors.mysql import coordinates, events
from connectors.mysql.catalog import Catalog
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import Server, binary_logs, connect, end_of_log, identify, source_error, start_of_log
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.gtid import MariadbGtids, MysqlGtids
from connectors.mysql.names import is_captured
from connectors.mysql.place import Place
from connectors.mysql.shapes import STORED
from connectors.mysql.stream import BinlogStream
from connectors.mysql.xa import DELIVERED
from offsets.position import Position, Range
from schema.avro import topic_name
from schema.preflight import Topic

_APPLICATION = "tailrace offsets"
_PATIENCE_S = 60.0
_BLOCK_BYTES = 1 << 20
_BEGINNINGS = (events.GTID, events.ANONYMOUS_GTID, events.GTID_TAGGED, events.MARIADB_GTID)
_OUTSIDE = (*_BEGINNINGS, events.ROTATE, events.STOP, events.BINLOG_CHECKPOINT)
"""What never stands within a transaction."""

Gtids = MysqlGtids | MariadbGtids


def origin(server: Server, config: MysqlConfig) -> str:
    """The identity of the log that a position belongs to, as JSON."""
    its = {"type": server.flavor, "host": config.host, "port": config.port, "system": server.system, "log": server.log}
    return json.dumps(its)


def positions(config: MysqlConfig) -> Range:
    """From the first binlog that is left to where the log ends now. Raises SourceError."""
    with _asking(config) as (connection, server):
        its = origin(server, config)
        earliest, latest = start_of_log(connection, server), end_of_log(connection, server)
    return Range(_position(earliest, its), _position(latest, its))


def position(config: MysqlConfig, word: str, reach: Range) -> Position:
    """``binlog.000003:1547``, a GTID set, or both as the token has them, as a position of the log.

    The transaction that a byte lies in comes after it; with GTIDs they alone count. Raises ValueError, SourceError:
    LogGap for what the server does not have.
    """
    with _asking(config) as (connection, server):
        parse = _gtids(server).parse
        if not word.strip():
            raise ValueError("it is empty")
        if ":" in word and word.partition(":")[0].rpartition(".")[2].isdecimal():
            asked = coordinates.parse(word)
        else:
            asked = Coordinates("", 0, str(parse(word)))
        if asked.gtids and server.gtids:
            found = _behind_gtids(config, server, connection, parse(asked.gtids))
        elif asked.file:
            found = _at(config, server, connection, asked.file, asked.pos)
        else:
            raise SourceMisconfigured(
                f"{config.host} gives transactions no GTIDs, so that they name no position there",
                "give a position as binlog.000003:1547",
            )
    return _position(found, reach.latest.origin)


def size_bytes(one: Position, other: Position) -> int | None:
    """How much log lies between two positions of one file; files have no known size here."""
    first, second = coordinates.parse(one.token), coordinates.parse(other.token)
    return abs(first.pos - second.pos) if first.file == second.file else None


def topics(config: MysqlConfig, topic_prefix: str) -> list[Topic]:
    """Where events of the tables that are captured now go, and DDL where it is asked for. Raises SourceError."""
    with _asking(config) as (connection, server):
        catalog = Catalog(connection, server)
        captured = [table for table in catalog.tables() if is_captured(config, table.database, table.name)]
        keys = {table.full: catalog.shape(table.database, table.name) for table in captured}
    found = [Topic(topic_name(topic_prefix, full), bool(now and now.key)) for full, now in keys.items()]
    return [*found, Topic(topic_prefix, has_keys=True)] if config.ddl else found


def copied(config: MysqlConfig) -> Mapping[str, str]:
    """Snapshot progress that calls every captured table copied: for a log that another reader has followed so far."""
    with _asking(config) as (connection, server):
        tables = Catalog(connection, server).tables()
    captured = (table for table in tables if is_captured(config, table.database, table.name))
    return {table.full: Progress(table.id, done=True).dump() for table in captured}


def copies(snapshot: Mapping[str, str]) -> Mapping[str, str]:
    """Without the shapes of tables and what an XA transaction left, which hold at their own position only."""
    return {name: stored for name, stored in snapshot.items() if not name.startswith(STORED) and name != DELIVERED}


def _behind_gtids(config: MysqlConfig, server: Server, connection: Any, gtids: Gtids) -> Coordinates:
    """Where the first transaction that is not among `gtids` begins."""
    earliest, latest = start_of_log(connection, server), end_of_log(connection, server)
    kind = _gtids(server)
    if unknown := kind.parse(str(gtids)).minus(kind.parse(latest.gtids)):
        raise LogGap(f"{config.host} does not have {unknown}", f"give GTIDs up to {latest.gtids}")
    if missing := kind.parse(earliest.gtids).minus(kind.parse(str(gtids))):
        raise LogGap(
            f"{config.host} no longer has {missing}, which is behind {gtids or 'nothing'}",
            f"give a position from {earliest} on",
        )
    if not kind.parse(latest.gtids).minus(kind.parse(str(gtids))):
        return latest._replace(gtids=str(gtids))
    for place, begins, event in _events(config, server, Coordinates(earliest.file, 4, str(gtids)), by_gtid=True):
        if event[4] in _BEGINNINGS:
            return Coordinates(place.file, begins, str(gtids))
    raise AssertionError("unreachable: _events ends by an error")


def _at(config: MysqlConfig, server: Server, connection: Any, file: str, pos: int) -> Coordinates:
    """The last position up to `pos` that lies between two transactions, with the GTIDs there."""
    logs = binary_logs(connection)
    end = dict(logs).get(file)
    if end is None:
        raise LogGap(
            f"{config.host} does not have {file}; its binlogs are {logs[0][0]} to {logs[-1][0]}",
            f"give a position from {logs[0][0]}:4 on",
        )
    if pos > end:
        raise LogGap(f"{file} on {config.host} ends at {end}, before {pos}", f"give a position up to {file}:{end}")
    latest = end_of_log(connection, server)
    if (latest.file, latest.pos) == (file, pos):
        return latest
    found = Coordinates(file, 4)
    gtids: Any = _gtids(server)()
    for place, begins, event in _events(config, server, found, by_gtid=False):
        if event[4] in (events.PREVIOUS_GTIDS, events.MARIADB_GTID_LIST):
            gtids = _before_file(event)
            found = found._replace(gtids=str(gtids) if server.gtids else "")
        elif event[4] in _OUTSIDE and begins <= pos:
            found = Coordinates(file, begins, str(gtids) if server.gtids else "")
        if event[4] != events.FORMAT_DESCRIPTION and (place.file != file or place.pos > pos):
            return found
        if event[4] in _BEGINNINGS:
            text = (events.mariadb_gtid if event[4] == events.MARIADB_GTID else events.gtid)(event).text
            gtids = gtids + text if text else gtids
    raise AssertionError("unreachable: _events ends by an error")


def _before_file(event: bytes) -> Gtids:
    """What the files before this one hold, which each file tells right behind its FORMAT_DESCRIPTION."""
    if event[4] == events.PREVIOUS_GTIDS:
        return MysqlGtids.decoded(event[19:])
    return MariadbGtids.parse(events.mariadb_gtid_list(event))


def _events(
    config: MysqlConfig, server: Server, start: Coordinates, *, by_gtid: bool
) -> Iterator[tuple[Place, int, bytes]]:
    """What stands in the files behind `start`: (the place behind the log event, where it begins, the log event)."""
    stream = BinlogStream(config, server, connect(config, application=_APPLICATION))
    with closing(stream):
        stream.start(start, 1 << 31 | secrets.randbits(31), by_gtid)
        place = Place(start)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            for event in stream.receive(1.0, _BLOCK_BYTES):
                begins = place.step(event)
                if not events.is_artificial(event):
                    deadline = time.monotonic() + _PATIENCE_S
                    yield place, begins, event
    raise SourceUnreachable(
        f"{config.host} has sent nothing of its log for {_PATIENCE_S:.0f} s", "see what the server is busy with"
    )


def _gtids(server: Server) -> Any:
    """MysqlGtids or MariadbGtids; one server never has both."""
    return MariadbGtids if server.flavor == "mariadb" else MysqlGtids


def _position(at: Coordinates, its: str) -> Position:
    return Position(coordinates.order(at), str(at), its)


@contextmanager
def _asking(config: MysqlConfig) -> Iterator[tuple[Any, Server]]:
    with closing(connect(config, application=_APPLICATION)) as connection:
        try:
            yield connection, identify(connection)
        except pymysql.MySQLError as error:
            raise source_error(error, config) from None
