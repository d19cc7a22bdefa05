"""A binlog as the product's own stream reads it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from connectors.mysql import events
from connectors.mysql.config import MariadbConfig, MysqlConfig
from connectors.mysql.connection import connect, end_of_log, identify
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.stream import BinlogStream
from tests.mysql_servers import MysqlDatabase

SERVER_ID = 4711


def config_of(database: MysqlDatabase, **keys: Any) -> MysqlConfig:
    """A source section that reaches the database's server as root, `keys` laid over it."""
    kind = MysqlConfig if database.flavor == "mysql" else MariadbConfig
    reach = {"type": database.flavor, "host": database.address.host, "port": database.address.port}
    return kind.model_validate({**reach, "user": database.address.user, "password": database.address.password, **keys})


def here(database: MysqlDatabase) -> Coordinates:
    """The end of the server's log."""
    connection = connect(config_of(database), application="test")
    try:
        return end_of_log(connection, identify(connection))
    finally:
        connection.close()


class Dump:
    def __init__(self, stream: BinlogStream) -> None:
        self.stream = stream
        self.events: list[bytes] = []

    def until(self, condition: Callable[[bytes], object], timeout_s: float = 120) -> bytes:
        """Read until a log event is as `condition` says; that event. All that was read is in `events`."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for event in self.events[seen:]:
                seen += 1
                if condition(event):
                    return event
            assert time.monotonic() < deadline, f"{len(self.events)} log events came, none of them the one"
            self.events += self.stream.receive(0.2, 1 << 20)

    def until_sql(self, sql: str) -> bytes:
        """Read until a statement is logged that begins so."""
        return self.until(lambda event: event[4] in QUERIES and events.query(event).sql.startswith(sql))

    def of(self, *kinds: int) -> list[bytes]:
        return [event for event in self.events if event[4] in kinds]


QUERIES = (events.QUERY, events.QUERY_COMPRESSED)


@contextmanager
def dumping(
    database: MysqlDatabase,
    after: Coordinates | None = None,
    *,
    by_gtid: bool = False,
    server_id: int = SERVER_ID,
    annotate: bool = False,
    **keys: Any,
) -> Iterator[Dump]:
    """The log behind `after`, by default from now on."""
    start = after or here(database)
    config = config_of(database, **keys)
    connection = connect(config, application="test")
    stream = BinlogStream(config, identify(connection), connection)
    try:
        stream.start(start, server_id, by_gtid, annotate=annotate)
        yield Dump(stream)
    finally:
        stream.close()
