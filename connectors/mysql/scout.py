"""Looking ahead in the log: is a table, as the catalogue has it now, the one that the stream has before it?"""

import secrets
from collections.abc import Collection
from typing import Any

from connectors.mysql import events
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import Server, connect, end_of_log
from connectors.mysql.coordinates import Coordinates, order
from connectors.mysql.place import Place
from connectors.mysql.statements import Kind, statement
from connectors.mysql.stream import BinlogStream
from connectors.mysql.tokens import Name

_REDEFINES = (Kind.DDL, Kind.RENAME, Kind.DROP)
_NOT_DONE = events.START_ALTER | events.ROLLBACK_ALTER
_BLOCK_BYTES = 4 << 20
_WAIT_S = 1.0


class Scout:
    """Reads the log up to its end over a connection of its own, for DDL statements alone."""

    def __init__(self, config: MysqlConfig, server: Server, connection: Any, ignores_case: bool) -> None:
        """`connection` tells where the log ends."""
        self._config = config
        self._server = server
        self._connection = connection
        self._ignores_case = ignores_case

    def __call__(self, after: Coordinates, tables: Collection[Name]) -> dict[Name, Coordinates]:
        """Where between `after` and the end of the log, as it is now, each of `tables` is redefined first.

        Raises SourceError, pymysql.MySQLError.
        """
        end = end_of_log(self._connection, self._server)
        if order(after) >= order(end):
            return {}
        stream = BinlogStream(self._config, self._server, connect(self._config, application="tailrace scout"))
        try:
            # Another reader with our id would end the stream.
            stream.start(after, 1 << 31 | secrets.randbits(31), by_gtid=False)
            return self._read(stream, after, order(end), tables)
        finally:
            stream.close()

    def _read(
        self, stream: BinlogStream, after: Coordinates, end: int, tables: Collection[Name]
    ) -> dict[Name, Coordinates]:
        place = Place(after)
        found: dict[Name, Coordinates] = {}
        is_done = True
        while order(Coordinates(place.file, place.pos)) < end:
            for event in stream.receive(_WAIT_S, _BLOCK_BYTES):
                kind = event[4]
                at = place.step(event)
                if kind == events.MARIADB_GTID:
                    is_done = not events.mariadb_gtid(event).extra_flags & _NOT_DONE
                elif kind in (events.QUERY, events.QUERY_COMPRESSED) and is_done:
                    for table in self._redefined(event, tables):
                        found.setdefault(table, Coordinates(place.file, at))
        return found

    def _redefined(self, event: bytes, tables: Collection[Name]) -> list[Name]:
        query = events.query(event)
        said = statement(query.sql, query.schema)
        if said.kind not in _REDEFINES:
            return []
        said = said.folded() if self._ignores_case else said
        return [table for table in tables if said.concerns(*table)]
