"""The replication stream: the dump of a binlog over a connection's own socket.

Source: MySQL manual, "COM_REGISTER_SLAVE", "COM_BINLOG_DUMP", "COM_BINLOG_DUMP_GTID"; sql/rpl_source.cc,
sql/rpl_binlog_sender.cc; MariaDB, sql/sql_repl.cc, and its manual, "Replica Registration". PyMySQL speaks up to the
dump request; behind it the server alone speaks, and its packets are split here.
"""

import socket
import ssl
import time
from select import select
from struct import Struct
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.constants.COMMAND import COM_BINLOG_DUMP, COM_REGISTER_SLAVE

from connectors.errors import SourceError, SourceRefused, SourceUnreachable
from connectors.mysql import events, packets
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import Server, address, log_error, source_error
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.gtid import MysqlGtids
from connectors.mysql.place import Place
from connectors.mysql.rows import HEADER_BYTES

HEARTBEAT_S = 5
SILENCE_S = 20.0
"""So long without a byte, heartbeats included, and the link is dead."""
START_SILENCE_S = 120.0
"""The server looks for our start in its files first."""
LONGEST_POS = (1 << 32) - 1
"""What COM_BINLOG_DUMP can ask for."""
_BLOCK_BYTES = 1 << 18
_LARGE_BLOCK_BYTES = 1 << 20
_COM_BINLOG_DUMP_GTID = 0x1E
_HEARTBEAT_V2 = 0x02
"""Dump flag of MySQL; older servers ignore it."""
_ANNOTATE = 0x02
"""Dump flag of MariaDB."""
_DUMP = Struct("<IHI")
_DUMP_GTID = Struct("<HII")
_REPORT = "see the server's log, and report this with the server's version"
_TELLING = (events.ROTATE, events.FORMAT_DESCRIPTION, events.HEARTBEAT, events.HEARTBEAT_V2)
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BinlogStream:
    """One dump. Log events come as bytes, their checksums verified and cut off."""

    def __init__(self, config: MysqlConfig, server: Server, connection: "pymysql.connections.Connection[Any]") -> None:
        """`connection` belongs to the stream from now on."""
        self._config = config
        self._where = address(config)
        self._server = server
        self._connection: Any = connection
        self._socket: socket.socket
        self._blocks: list[bytes] = []
        self._size = 0
        self._need = 1
        """What `_blocks` must hold before it can hold a whole payload."""
        self._has_checksum: bool | None = None
        """None until the first FORMAT_DESCRIPTION."""
        self._failure: SourceError | None = None
        self._file, self._last = "", b""
        self._skipping: Coordinates | None = None
        self._place = Place(Coordinates("", 4))
        self._patience_s = START_SILENCE_S
        self.silent_s = 0.0
        """How long we have listened and the server has said nothing."""

    def start(self, after: Coordinates, server_id: int, by_gtid: bool, *, annotate: bool = False) -> None:
        """Stream what follows `after`: its GTIDs with `by_gtid`, else its file and position. Raises SourceError.

        That the log is not there any more comes with the first `receive`. Positions over 4 GB, which the request by
        position cannot hold, are asked for by the one by GTID where the server has GTIDs, else the file is read from
        its start. `annotate`: MariaDB sends each statement before its rows.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(_settings(self._server, after.gtids if by_gtid else None))
            self._register(server_id)
            self._dump(after, server_id, by_gtid, annotate)
        except pymysql.MySQLError as error:
            raise self._refused(error) from None
        self._socket = self._connection._sock
        self._socket.setblocking(False)
        self._file = after.file
        self._server_id = server_id

    def receive(self, timeout_s: float, limit_bytes: int) -> list[bytes]:
        """The log events that are here, up to about `limit_bytes`; empty where none came within `timeout_s`.

        Heartbeats are among them. Raises SourceUnreachable where the connection broke, ended or is silent for too
        long, LogGap where the log no longer holds what follows the start, SourceRefused where another reader has our
        server id, SourceError for a corrupt log event.
        """
        if self._failure:
            raise self._failure
        found: list[bytes] = []
        deadline = time.monotonic() + timeout_s
        while True:
            if self._size >= self._need:
                self._take(found)
                if found:
                    return self._behind(self._skipping, found) if self._skipping else found
            wait_s = max(0.0, deadline - time.monotonic())
            if not self._fill(wait_s, limit_bytes):
                return found

    def close(self) -> None:
        self._connection._force_close()

    def _register(self, server_id: int) -> None:
        """SHOW REPLICAS names us then."""
        host = socket.gethostname().encode()[:60]
        body = Struct("<I").pack(server_id) + bytes((len(host),)) + host + bytes(2) + bytes(2) + bytes(4) + bytes(4)
        self._connection._execute_command(COM_REGISTER_SLAVE, body)
        self._connection._read_packet()

    def _dump(self, after: Coordinates, server_id: int, by_gtid: bool, annotate: bool) -> None:
        is_mysql = self._server.flavor == "mysql"
        flags = _HEARTBEAT_V2 if is_mysql else _ANNOTATE if annotate else 0
        far = not by_gtid and after.pos > LONGEST_POS
        if is_mysql and (by_gtid or (far and self._server.gtids)):
            name = b"" if by_gtid else after.file.encode()
            gtids = MysqlGtids.parse(after.gtids if by_gtid else "").encoded()
            body = _DUMP_GTID.pack(flags, server_id, len(name)) + name
            body += (4 if by_gtid else after.pos).to_bytes(8, "little") + len(gtids).to_bytes(4, "little") + gtids
            self._connection._execute_command(_COM_BINLOG_DUMP_GTID, body)
            return
        if far:
            self._skipping, self._place = after, Place(Coordinates(after.file, 4))
        file, pos = ("", 4) if by_gtid else (after.file, 4 if far else after.pos)
        self._connection._execute_command(COM_BINLOG_DUMP, _DUMP.pack(pos, flags, server_id) + file.encode())

    def _take(self, found: list[bytes]) -> None:
        """Split what is here; keep the rest, which is less than a payload."""
        data = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        at = 0
        while True:
            if self._has_checksum is not None:
                at = packets.split(data, at, self._has_checksum, found)
            stop = packets.end_of(data, at)
            if stop > len(data):
                break
            try:
                self._look(packets.payload(data, at, stop), found)
            except SourceError as error:
                if not found:
                    raise
                self._failure = error
                break
            at = stop
        if found:
            self._last = found[-1]
        if at < len(data):
            self._blocks.append(data[at:] if at else data)
        self._size = len(data) - at
        self._need = stop - at

    def _look(self, payload: bytes, found: list[bytes]) -> None:
        """Take what needs a look: an error, the end, a long log event, or one that tells where and how to read on."""
        if payload[0] == 0xFF:
            text = payload[9:] if payload[3:4] == b"#" else payload[3:]
            number = int.from_bytes(payload[1:3], "little")
            raise self._refused(pymysql.OperationalError(number, text.decode("utf-8", "replace")))
        if payload[0] == 0xFE and len(payload) < 9:
            raise SourceUnreachable(f"{self._where}: the server ended the stream", "it is opened again")
        if payload[0] or len(payload) <= HEADER_BYTES + packets.CHECKSUM_BYTES:
            raise SourceError(f"{self._where} sent what is no log event", _REPORT)
        event = payload[1:]
        matches = packets.checksum_matches(event)
        if event[4] == events.FORMAT_DESCRIPTION:
            # Its checksum has a place in any case, and before that stands how its file's events have theirs.
            if (algorithm := event[-1 - packets.CHECKSUM_BYTES]) > 1:
                raise SourceError(f"{self._where} writes checksums of the unknown kind {algorithm}", _REPORT)
            self._has_checksum = has_checksum = algorithm == 1
            event = event if has_checksum else event[: -packets.CHECKSUM_BYTES]
        elif event[4] == events.ROTATE and events.is_artificial(event):
            has_checksum = matches  # it comes before that, so that nothing else tells
        else:
            has_checksum = bool(self._has_checksum)
        if has_checksum:
            if not matches:
                raise self._corrupt(found)
            event = event[: -packets.CHECKSUM_BYTES]
        if event[4] == events.ROTATE:
            self._file, self._last = events.rotate(event)[0], b""
        found.append(event)

    def _refused(self, error: pymysql.MySQLError) -> SourceError:
        """Behind the login the server calls a missing privilege a wrong password."""
        if error.args and error.args[0] == ER.ACCESS_DENIED_ERROR:
            return SourceRefused(
                f"{self._where}: user {self._config.user} may not read the binary log: REPLICATION SLAVE is missing",
                "run `tailrace check` for the SQL that grants what is missing",
            )
        refused = source_error(error, self._config)
        if isinstance(refused, SourceRefused) and "server_id" in str(refused):
            return SourceRefused(f"{refused}, {self._server_id}", refused.hint)
        return refused

    def _corrupt(self, found: list[bytes]) -> SourceError:
        behind = next((end for event in (*reversed(found), self._last) if event and (end := events.end_pos(event))), 4)
        return SourceError(
            f"{self._where}: the log event behind {self._file}:{behind} is corrupt: its checksum does not match",
            f"run mysqlbinlog --verify-binlog-checksum on {self._file} and see the server's disk; if the event is lost,"
            " run `tailrace offsets reset NAME` and start again: every table is copied anew",
        )

    def _fill(self, timeout_s: float, limit_bytes: int) -> bool:
        """Read once; False where nothing came within `timeout_s`. Raises SourceUnreachable."""
        missing = self._need - self._size
        size = min(missing, _LARGE_BLOCK_BYTES) if missing > _BLOCK_BYTES else min(limit_bytes, _BLOCK_BYTES)
        block = self._read(size, timeout_s)
        if not block:
            return False
        self._blocks.append(block)
        self._size += len(block)
        return True

    def _read(self, size: int, timeout_s: float) -> bytes:
        """Empty where nothing came. TLS may hold bytes that it has read already, so it is asked before the socket."""
        try:
            for is_last in (False, True):
                try:
                    block = self._socket.recv(size)
                except _NOT_NOW:
                    if is_last or not self._wait(timeout_s):
                        return b""
                else:
                    break
        except OSError as error:
            raise source_error(error, self._config) from None
        if not block:
            raise SourceUnreachable(f"{self._where}: the server closed the stream", "it is opened again")
        self.silent_s = 0.0
        self._patience_s = SILENCE_S
        return block

    def _wait(self, timeout_s: float) -> bool:
        if select([self._socket], [], [], timeout_s)[0]:
            return True
        self.silent_s += timeout_s
        if self.silent_s >= self._patience_s:
            raise SourceUnreachable(
                f"{self._where}: the server has been silent for {self.silent_s:.0f} s, without the heartbeats it was"
                " asked for",
                "check that the server answers and that nothing between us cuts idle connections; it is opened again",
            )
        return False

    def _behind(self, start: Coordinates, found: list[bytes]) -> list[bytes]:
        """Leave out what a file that is read from its beginning has before `start`."""
        kept: list[bytes] = []
        for nth, event in enumerate(found):
            if self._place.step(event) >= start.pos:
                self._skipping = None
                return kept + found[nth:]
            if self._place.file != start.file:
                raise log_error(f"the start {start.file}:{start.pos} is an impossible position", self._where)
            if event[4] in _TELLING:
                kept.append(event)
        return kept


def _settings(server: Server, gtids: str | None) -> str:
    """What the dump thread reads from its session. MySQL has new names for them, and older servers the old ones."""
    period = HEARTBEAT_S * 1_000_000_000
    names = "source", "master"
    pairs = [f"@{name}_heartbeat_period = {period}, @{name}_binlog_checksum = 'CRC32'" for name in names]
    if server.flavor == "mariadb":
        # It understands GTID events; without, the server rewrites them.
        pairs.append("@mariadb_slave_capability = 4")
        if gtids is not None:
            pairs.append(f"@slave_connect_state = '{gtids}', @slave_gtid_strict_mode = 1")
    return "set " + ", ".join(pairs)
