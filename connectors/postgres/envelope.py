"""The `source` struct of an event, as Avro.

Source: Debezium's PostgresSourceInfoStructMaker. `sequence` is the JSON array ``["<last commit lsn>","<lsn>"]``;
`ts_*` are the commit's time, for a snapshot the time of its reading.
"""

from schema.avro import SOURCE_FIELDS
from schema.change import Avro
from schema.varint import long, sized

_POSTGRES_EPOCH_US = 946_684_800_000_000
_NULL = b"\x00"
_PRESENT = b"\x02"

SOURCE_SCHEMA: Avro = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        *SOURCE_FIELDS,
        {"name": "schema", "type": "string"},
        {"name": "table", "type": "string"},
        {"name": "txId", "type": ["null", "long"], "default": None},
        {"name": "lsn", "type": ["null", "long"], "default": None},
        {"name": "xmin", "type": ["null", "long"], "default": None},
        {"name": "origin", "type": ["null", "string"], "default": None},
        {"name": "origin_lsn", "type": ["null", "long"], "default": None},
    ],
    "connect.version": 1,
    "connect.name": "io.debezium.connector.postgresql.Source",
}


class SourceBlock:
    """Writes the `source` struct of one table; what a transaction does not change is written once.

    `commit_lsn` is that of the transaction last begun, 0 before the first.
    """

    def __init__(self, version: str, name: str, database: str, schema: str, table: str) -> None:
        self._origin = _string(version) + _string("postgresql") + _string(name)
        self._database = _string(database)
        self._table = _string(schema) + _string(table)
        self._head = self._sequence = self._middle = b""
        self.commit_lsn = 0

    def begin(self, last_commit_lsn: int, commit_lsn: int, committed_at_us: int, xid: int) -> None:
        """`last_commit_lsn`: of the transaction before, 0 where unknown; `committed_at_us` counts from 2000-01-01."""
        self.commit_lsn = commit_lsn
        at_us = committed_at_us + _POSTGRES_EPOCH_US
        self._head = self._until_sequence(at_us, "false")
        self._sequence = b'["%d","' % last_commit_lsn if last_commit_lsn else b'[null,"'
        self._middle = self._until_lsn(at_us, at_us * 1000, _PRESENT + long(xid))

    def change(self, lsn: int) -> bytes:
        """A change at `lsn` in the transaction last begun."""
        sequence = b'%b%d"]' % (self._sequence, lsn)
        return b"%b%b%b%b%b\x00\x00\x00" % (self._head, long(len(sequence)), sequence, self._middle, long(lsn))

    def snapshot(self, lsn: int, read_at_ns: int) -> bytes:
        """The rows of a copy, read at `lsn`, the watermark."""
        at_us = read_at_ns // 1000
        sequence = sized(b'[null,"%d"]' % lsn)
        head = self._until_sequence(at_us, "true")
        return head + sequence + self._until_lsn(at_us, read_at_ns, _NULL) + long(lsn) + b"\x00\x00\x00"

    def _until_sequence(self, at_us: int, snapshot: str) -> bytes:
        branch = b"\x00"
        return self._origin + long(at_us // 1000) + branch + _string(snapshot) + self._database + _PRESENT

    def _until_lsn(self, at_us: int, at_ns: int, xid: bytes) -> bytes:
        return b"".join((_PRESENT, long(at_us), _PRESENT, long(at_ns), self._table, xid, _PRESENT))


def _string(text: str) -> bytes:
    return sized(text.encode())
