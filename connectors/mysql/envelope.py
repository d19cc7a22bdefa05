"""The `source` struct of an event, as Avro.

Source: Debezium's BinlogSourceInfoStructMaker. `ts_*` are the commit's time, for a snapshot the time of its reading;
`file` and `pos` are where the rows event begins, `row` counts the rows in it from 0.
"""

from typing import Literal

from schema.avro import SOURCE_FIELDS
from schema.change import Avro
from schema.varint import long, sized

_NULL = b"\x00"
_PRESENT = b"\x02"
_NO_SEQUENCE = _NULL
_BRANCH = b"\x00"


def _schema(connector: str) -> Avro:
    namespace = f"io.debezium.connector.{connector}"
    return {
        "type": "record",
        "name": "Source",
        "namespace": namespace,
        "fields": [
            *SOURCE_FIELDS,
            {"name": "table", "type": ["null", "string"], "default": None},
            {"name": "server_id", "type": "long"},
            {"name": "gtid", "type": ["null", "string"], "default": None},
            {"name": "file", "type": "string"},
            {"name": "pos", "type": "long"},
            {"name": "row", "type": "int"},
            {"name": "thread", "type": ["null", "long"], "default": None},
            {"name": "query", "type": ["null", "string"], "default": None},
        ],
        "connect.version": 1,
        "connect.name": f"{namespace}.Source",
    }


SOURCE_SCHEMA: dict[str, Avro] = {"mysql": _schema("mysql"), "mariadb": _schema("mariadb")}
"""By the name of the connector."""


class SourceBlock:
    """Writes the `source` struct of one table; what transaction and log event do not change is written once.

    `begun` is the `order` of the transaction last begun, 0 before the first.
    """

    def __init__(
        self, connector: Literal["mysql", "mariadb"], version: str, name: str, database: str, table: str
    ) -> None:
        """`table` is empty for what is about no table."""
        self._origin = _string(version) + _string(connector) + _string(name)
        self._streamed = _BRANCH + _string("false") + _string(database) + _NO_SEQUENCE + _PRESENT
        self._copied = _BRANCH + _string("true") + _string(database) + _NO_SEQUENCE + _PRESENT
        self._table = _optional(table)
        self._ms = self._server_id = -1
        self._until_us = self._table_and_server = self._head = self._event = self._session = self._tail = b""
        self.begun = 0

    def begin(self, order: int, committed_at_us: int, server_id: int, gtid: str, file: str, thread: int | None) -> None:
        """A transaction. `order` tells it from others; `gtid` is empty where the server writes none."""
        self.begun = order
        ms = committed_at_us // 1000
        if ms != self._ms:
            self._ms = ms
            self._until_us = self._origin + long(ms) + self._streamed
        at = self._until_us + long(committed_at_us) + _PRESENT + long(committed_at_us * 1000)
        if server_id != self._server_id:
            self._server_id = server_id
            self._table_and_server = self._table + long(server_id)
        self._head = at + self._table_and_server + _optional(gtid) + _string(file)
        self._session = _NULL if thread is None else _PRESENT + long(thread)

    def event(self, pos: int, query: str = "") -> None:
        """The rows event that begins at `pos` and the statement it comes from, as far as that is to be shown."""
        self._event = self._head + long(pos)
        self._tail = self._session + _optional(query)

    def change(self, row: int) -> bytes:
        """The `row`-th of the log event last named."""
        return self._event + long(row) + self._tail

    def snapshot(self, file: str, pos: int, read_at_ns: int) -> bytes:
        """The rows of a copy, read where the log stood at `pos` of `file`."""
        at_us = read_at_ns // 1000
        at = self._origin + long(at_us // 1000) + self._copied + long(at_us) + _PRESENT + long(read_at_ns)
        return at + self._table + long(0) + _NULL + _string(file) + long(pos) + long(0) + _NULL + _NULL


def _optional(text: str) -> bytes:
    return _PRESENT + _string(text) if text else _NULL


def _string(text: str) -> bytes:
    return sized(text.encode())
