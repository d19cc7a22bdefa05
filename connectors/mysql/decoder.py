"""Log events become transactions: where each begins and ends, what it was committed as, whose rows it holds."""

from collections.abc import Callable, Iterator

import structlog

from connectors.errors import SourceError
from connectors.mysql import events
from connectors.mysql.changes import Changes, Group
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import Server
from connectors.mysql.coordinates import Coordinates, order
from connectors.mysql.executed import Executed
from connectors.mysql.names import TableName
from connectors.mysql.place import Place
from connectors.mysql.rows import MalformedEvent
from connectors.mysql.statements import Kind, Statement, statement
from connectors.mysql.structure import Structure
from connectors.mysql.table import CapturedTable
from connectors.mysql.xa import DELIVERED, UNSURE, Held
from connectors.snapshot import Snapshot

_BEGIN = b"\x00BEGIN"
_PLAIN_ROWS = (23, 24, 25, 30, 31, 32, 39)
HOLD_BYTES = 256 << 10
"""So much of a transaction that may be cut off stays in memory as events; the rest is held as it was logged."""

log = structlog.get_logger("tailrace")


class Decoder:
    """Follows the log, event by event; the events for readers stand in `changes`.

    `inside` says that a transaction is open, `pauses` that a copy can go on. `follow` raises MalformedEvent,
    SchemaError, SourceError, and PyMySQL's errors, for the catalogue is asked where a table's shape is new.
    """

    def __init__(
        self,
        config: MysqlConfig,
        server: Server,
        start: Coordinates,
        changes: Changes,
        structure: Structure,
        snapshot: Snapshot[TableName, CapturedTable],
        delivered: Coordinates | None,
        first_order: int,
        closed_before: int = 0,
    ) -> None:
        """`delivered`: how far an earlier run came, where it stored a position before that.

        `closed_before` is the order from which on files may still be written, where others may end in a transaction
        that a crash cut off; 0 where the server cuts that off its log by itself.
        """
        self._config = config
        self._server = server
        self._changes = changes
        self._structure = structure
        self._snapshot = snapshot
        self._delivered = delivered
        self._closed_before = closed_before
        self._place = Place(start)
        self._gtids = Executed(server.flavor, start.gtids)
        self._reached_file, self._reached_pos, self._reached_order = start.file, start.pos, order(start)
        self._seen_order = first_order
        self._begins = start
        self._event_at = start.pos
        self._gtid = ""
        self._has_begin = self._is_not_done = False
        self._savepoints: dict[str, tuple[int, int]] = {}
        self._held = Held()
        self._unsure_bytes = 0
        self._replayed: str | None = None
        self._replay: Iterator[tuple[int, bytes]] = iter(())
        self._unpacked: Iterator[bytes] | None = None
        self.inside = self.pauses = False
        self._kinds: dict[int, Callable[[bytes], None]] = self._by_kind()

    @property
    def end(self) -> Coordinates:
        """Behind the last whole transaction, but before the first whose XA COMMIT is still to come."""
        undecided = self._held.first
        return self.reached if undecided is None else undecided.begins

    @property
    def end_order(self) -> int:
        """Of `end`; lower where what follows may begin before it."""
        undecided = self._held.first
        return self._seen_order if undecided is None else min(order(undecided.begins), self._seen_order)

    @property
    def reached(self) -> Coordinates:
        """Behind the last whole transaction, whatever is undecided before it."""
        return Coordinates(self._reached_file, self._reached_pos, str(self._gtids))

    @property
    def noted(self) -> dict[str, str]:
        """What is to be stored with `end`."""
        if self._held.first is None:
            return {}
        before = self._delivered
        return {DELIVERED: str(self.reached if before is None or self._is_behind(before) else before)}

    def has_reached(self, end: Coordinates) -> bool:
        return self._reached_order >= order(end) and self._gtids.contains(end.gtids)

    def _is_behind(self, place: Coordinates) -> bool:
        """Maybe on another server than the one that `place` is of."""
        return self._gtids.contains(place.gtids) if place.gtids else self._reached_order >= order(place)

    @property
    def is_unsure(self) -> bool:
        """Inside a transaction that a crash of the server may have cut off: so far it is nothing for readers."""
        return self.inside and self._replayed is None and self._place.order_of_file < self._closed_before

    def follow(self, received: Iterator[bytes], limit_bytes: int) -> int:
        """Decode what came: its size in bytes. Stops where a copy can go on, or behind the limit in a transaction."""
        size = 0
        self.pauses = False
        while size < limit_bytes or not self.inside:
            if self._replayed is not None:
                size += self._replay_next(self._replayed)
                continue
            event = next(self._unpacked or received, None)
            if event is None:
                if self._unpacked is None:
                    break
                self._unpacked = None
                continue
            size += len(event)
            self._decode(event)
            if self.pauses:
                break
        if self.is_unsure:
            self._unsure_bytes += size
            if self._unsure_bytes >= HOLD_BYTES and self._held.current is None:
                self._hold(UNSURE)
        return size

    def _decode(self, event: bytes) -> None:
        kind = event[4]
        self._event_at = self._place.step(event)
        read = self._kinds.get(kind)
        if read is not None:
            read(event)
        elif not events.flags(event) & events.SKIPPABLE:
            raise SourceError(
                f"{self._server.flavor} wrote a log event of the unknown type {kind} at {self._here()}",
                "nothing behind it was delivered; report this with the server's version",
            )

    def _by_kind(self) -> dict[int, Callable[[bytes], None]]:
        kinds: dict[int, Callable[[bytes], None]] = {
            events.GTID: self._begin_mysql,
            events.GTID_TAGGED: self._begin_mysql,
            events.ANONYMOUS_GTID: self._begin_mysql,
            events.MARIADB_GTID: self._begin_mariadb,
            events.QUERY: self._query,
            events.QUERY_COMPRESSED: self._query,
            events.EXECUTE_LOAD_QUERY: self._query,
            events.XID: self._commit,
            events.XA_PREPARE: self._prepare,
            events.TABLE_MAP: self._table_map,
            events.ROWS_QUERY: self._rows_query,
            events.ANNOTATE_ROWS: self._rows_query,
            events.HEARTBEAT: self._heartbeat,
            events.HEARTBEAT_V2: self._heartbeat,
            events.INCIDENT: self._incident,
            events.TRANSACTION_PAYLOAD: self._unpack,
            events.FORMAT_DESCRIPTION: self._begin_file,
        }
        kinds.update(dict.fromkeys(_PLAIN_ROWS, self._rows))
        kinds.update(dict.fromkeys(range(166, 172), self._compressed_rows))
        kinds.update(dict.fromkeys(events.TELL_NOTHING, self._pass_by))
        return kinds

    # -- transactions

    def _begin_mysql(self, event: bytes) -> None:
        gtid = events.gtid(event)
        self._begin(event, gtid.text, gtid.original_commit_us)

    def _begin_mariadb(self, event: bytes) -> None:
        gtid = events.mariadb_gtid(event)
        self._begin(event, gtid.text, 0)
        self._changes.group.thread = gtid.thread
        self._has_begin = not gtid.flags & events.STANDALONE
        self._is_not_done = bool(gtid.extra_flags & events.NOT_DONE)
        if gtid.flags & events.XA_PREPARED:
            self._hold(gtid.xid)

    def _begin(self, event: bytes, gtid: str, committed_at_us: int) -> None:
        if self.inside:
            raise SourceError(
                f"the log holds a transaction without an end before {self._here()}",
                "the log is damaged: run `tailrace offsets reset NAME` to copy every table anew",
            )
        place, pos = self._place, self._event_at
        self._begins = Coordinates(place.file, pos)
        self._gtid = gtid
        self._has_begin = False
        self._savepoints.clear()
        self._unsure_bytes = 0
        self.inside = True
        at_us = committed_at_us or events.timestamp_s(event) * 1_000_000
        of = place.order_of_file | pos
        self._changes.group = Group(of, place.file, pos, at_us, events.server_id(event), gtid)
        self._snapshot.begin(of)

    def _commit(self, event: bytes = b"") -> None:
        if self._held.current == UNSURE:
            self._decide(UNSURE, commits=True)
            return
        self.inside = False
        if self._gtid and self._server.gtids:  # without them, some transactions may have one: no whole set
            self._gtids.add(self._gtid)
        if self._held.first is not None:
            self._held.passed()
        self._stand_here()

    def _begin_file(self, event: bytes) -> None:
        """No transaction goes on in another file: of one that a crash cut off, nothing counts."""
        if self.inside and not events.is_artificial(event):
            log.warning(f"a crash of the server cut off the transaction before {self._here()}; it is left out")
            self._take_back((0, 0))
            if self._held.current is not None:
                self._held.drop(self._held.current)
            self._gtid, self.inside = "", False
        self._pass_by(event)

    def _unpack(self, event: bytes) -> None:
        self._unpacked = events.unpacked(event)

    def _pass_by(self, event: bytes) -> None:
        if not self.inside:
            self._stand_here()

    def _stand_here(self) -> None:
        """Between two transactions. By GTID a stream may begin in front of where our position says."""
        place = self._place
        if (reached := place.order_of_file | place.pos) > self._reached_order:
            self._reached_file, self._reached_pos, self._reached_order = place.file, place.pos, reached
        if reached > self._seen_order:
            self._seen_order = reached
        self.pauses = self._snapshot.passed(self._reached_order)

    def _heartbeat(self, event: bytes) -> None:
        """The server has no more for us up to a position, which may lie in a file that we have not seen begin."""
        if self.inside:
            return
        place, (file, pos) = self._place, events.heartbeat(event)
        if file and order(Coordinates(file, pos)) > place.order_of_file | place.pos:
            place.reach(file, pos)
        self._stand_here()

    def _incident(self, event: bytes) -> None:
        raise SourceError(
            f"the server says at {self._here()} that changes are missing in its log: {events.incident(event)}",
            "run `tailrace offsets reset NAME` and start again: every table is copied anew",
        )

    # -- XA

    def _hold(self, xid: str) -> None:
        """From here on, the transaction that is open goes to readers once it is decided."""
        self._held.begin(xid, Coordinates(self._begins.file, self._begins.pos, str(self._gtids)))

    def _prepare(self, event: bytes) -> None:
        """The end of a prepared transaction's group, or on MySQL of one that is committed in one phase."""
        xid, one_phase = events.xa_prepare(event)
        self._held.current = None
        if one_phase:
            self._decide(xid, commits=True)
        else:
            self._commit()

    def _decide(self, xid: str, *, commits: bool) -> None:
        """The end of a group that decides; where it commits, its rows come first."""
        undecided = self._held.decided(xid)
        if undecided is not None and commits:
            self._changes.group.file = undecided.begins.file
            self._replayed, self._replay = xid, undecided.events()
            return
        if undecided is not None:
            self._held.drop(xid)
        elif commits and not self._was_delivered():
            self._structure.copy_again(
                f"XA COMMIT {xid} at {self._here()} commits changes that lie before where this run began"
            )
        self._commit()

    def _was_delivered(self) -> bool:
        """Whether the group that is open was decoded by the run before."""
        if self._delivered is None:
            return False
        if self._gtid and self._delivered.gtids:
            return Executed(self._server.flavor, self._delivered.gtids).contains(self._gtid)
        return order(self._begins) < order(self._delivered)

    def _replay_next(self, xid: str) -> int:
        """Decode one more log event of a transaction that was held and is committed: its size in bytes."""
        for pos, event in self._replay:
            self._event_at = pos
            self._kinds[event[4]](event)
            return len(event)
        self._held.drop(xid)
        self._replayed = None
        self._commit()
        return 0

    def close(self) -> None:
        """Remove the temporary files."""
        self._held.close()

    # -- statements

    def _query(self, event: bytes) -> None:
        if event.endswith(_BEGIN):
            self._changes.group.thread = int.from_bytes(event[19:23], "little")
            self._has_begin = True
            return
        query = events.query(event)
        if not self.inside:  # a server without GTID events
            self._begin(event, "", 0)
        self._changes.group.thread = query.thread
        said = statement(query.sql, query.schema)
        if said.kind is Kind.XA_START:
            self._has_begin = True
            self._hold(said.xid)
        elif said.kind in (Kind.XA_COMMIT, Kind.XA_ROLLBACK):
            self._decide(said.xid, commits=said.kind is Kind.XA_COMMIT)
        elif said.kind is Kind.COMMIT:
            self._commit()
        elif said.kind is Kind.ROLLBACK:
            self._roll_back()
        elif said.kind is Kind.ROLLBACK_TO:
            self._take_back(self._savepoints.get(said.savepoint))
        elif said.kind is Kind.SAVEPOINT:
            self._savepoints[said.savepoint] = self._mark()
        elif said.kind in (Kind.XA_END, Kind.BEGIN):
            self._has_begin |= said.kind is Kind.BEGIN
        else:
            self._change_tables(said, query)

    def _change_tables(self, said: Statement, query: events.Query) -> None:
        if said.kind is Kind.DML:
            self._structure.dml(said, query.sql, self._here())
        elif not self._is_not_done:
            self._structure.ddl(said, query, self._event_at, Coordinates(self._place.file, self._place.pos))
        self._has_begin |= said.opens_transaction
        if not self._has_begin:
            self._commit()

    def _mark(self) -> tuple[int, int]:
        """How far the transaction is, for `_take_back`: its events, and the bytes that are held."""
        return self._changes.group.nth, self._held.size_bytes

    def _take_back(self, mark: tuple[int, int] | None) -> None:
        """The rows behind `mark` were rolled back; mostly the server takes them out of its log by itself."""
        if mark is None:
            raise MalformedEvent("a transaction that goes back to a savepoint which it never set")
        nth, size_bytes = mark
        self._held.cut(size_bytes)
        if not self._changes.take_back(nth):
            raise SourceError(
                f"the log holds rows that were rolled back at {self._here()}, so many that some are delivered already",
                "run `tailrace offsets reset NAME` to copy every table anew, and keep temporary tables and such without"
                " transactions out of large transactions",
            )

    def _roll_back(self) -> None:
        self._take_back((0, 0))
        if self._held.current is not None:
            self._decide(self._held.current, commits=False)
        else:
            self._commit()

    # -- rows

    def _table_map(self, event: bytes) -> None:
        if not self._held.add(self._event_at, event):
            self._structure.announce(event, self._begins)

    def _rows_query(self, event: bytes) -> None:
        if not self._held.add(self._event_at, event) and self._config.query:
            self._changes.group.query = events.rows_query(event)

    def _compressed_rows(self, event: bytes) -> None:
        self._rows(events.expanded(event))

    def _rows(self, event: bytes) -> None:
        if self._held.add(self._event_at, event):
            return
        bound = self._structure.bound(event)
        if bound is not None:
            self._changes.read(bound, event, self._event_at)

    def _here(self) -> str:
        return f"{self._place.file}:{self._event_at}" + (f" ({self._gtid})" if self._gtid else "")
