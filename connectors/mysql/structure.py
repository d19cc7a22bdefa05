"""Which tables the log is talking about: announced by TABLE_MAP, changed by the statements that pass by."""

import time

import structlog

from connectors.errors import LogGap, SourceMisconfigured, SourceRefused
from connectors.mysql import events, rows
from connectors.mysql.catalog import Catalog
from connectors.mysql.changes import Bound, Changes
from connectors.mysql.config import MysqlConfig
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.ddl_event import DdlTopic
from connectors.mysql.names import SYSTEM_DATABASES, TableName, is_captured, is_shadow
from connectors.mysql.rows import MalformedEvent
from connectors.mysql.statements import Kind, Statement
from connectors.mysql.table import CapturedTable, Tables
from connectors.mysql.tablemap import TableMap, table_map
from connectors.patterns import without_match
from connectors.snapshot import Snapshot

_SEQUENCE = (
    *("next_not_cached_value", "minimum_value", "maximum_value", "start_value", "increment"),
    *("cache_size", "cycle_option", "cycle_count"),
)

log = structlog.get_logger("tailrace")


class Structure:
    """`known` are the tables that were met, by ``database.table``; `has_changed` says that there may be others now."""

    def __init__(
        self,
        config: MysqlConfig,
        catalog: Catalog,
        tables: Tables,
        snapshot: Snapshot[TableName, CapturedTable],
        changes: Changes,
        ddl_topic: DdlTopic | None,
        *,
        is_mariadb: bool,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._tables = tables
        self._snapshot = snapshot
        self._changes = changes
        self._ddl_topic = ddl_topic
        self._is_mariadb = is_mariadb
        self._by_id: dict[int, Bound | None] = {}
        self._by_body: dict[bytes, Bound | None] = {}
        self._here: Coordinates | None = None
        self.known: dict[str, TableName] = {}
        self.has_changed = False

    def announce(self, event: bytes, here: Coordinates) -> None:
        """A TABLE_MAP event in the transaction that begins `here`: its table id now means the table it describes."""
        if here is not self._here:  # ids hold within a statement; the server has new ones for ever
            self._here = here
            self._by_id.clear()
        body = event[rows.BODY_AT :]
        try:
            bound = self._by_body[body]
        except KeyError:
            bound = self._by_body[body] = self._bind(event, here)
        self._by_id[rows.table_id(event)] = bound

    def bound(self, event: bytes) -> Bound | None:
        """The table of a rows event, None for one that is not captured."""
        try:
            return self._by_id[rows.table_id(event)]
        except KeyError:
            raise MalformedEvent(f"rows of table {rows.table_id(event)}, which was never announced") from None

    def meet(self, tables: list[TableName]) -> None:
        self.known.update({table.full: table for table in tables})

    def discovered(self) -> list[TableName]:
        """The captured tables that are there now and were not met."""
        self.has_changed = False
        return [table for table in self.captured() if table.full not in self.known]

    def captured(self) -> list[TableName]:
        """The tables to capture now."""
        return [table for table in self._catalog.tables() if is_captured(self._config, table.database, table.name)]

    def report_patterns(self, captured: list[TableName], *, is_new: bool) -> None:
        """A new connector whose patterns find nothing is misconfigured; for an old one, tables come and go."""
        config = self._config
        databases = without_match(config.databases, {table.database for table in captured})
        if databases and config.tables:
            # such a database may be right, and what is asked for in it wrong
            databases = without_match(databases, {table.database for table in self._catalog.tables()})
        if system := SYSTEM_DATABASES.intersection(databases):
            raise SourceMisconfigured(
                f"source.databases: {', '.join(sorted(system))} holds the server's own tables, which are not captured",
                "name databases of users",
            )
        missing = databases + without_match(config.tables, (table.full for table in captured))
        if missing and is_new:
            raise SourceMisconfigured(
                f"source.databases and source.tables: no table matches {', '.join(missing)} on {config.host}",
                "correct the name (database.table, case as in the catalogue), create the table first, or grant"
                f" {config.user} SELECT on it",
            )
        for pattern in missing:
            log.warning("source.tables: nothing matches any more", pattern=pattern)

    def among(self, said: Statement) -> list[TableName]:
        """The captured tables that a statement concerns."""
        said = said.folded() if self._catalog.ignores_case else said
        named = [TableName(*name) for name in said.tables if is_captured(self._config, *name)]
        met = [table for table in self.known.values() if said.concerns(table.database, table.name)]
        return list({table.full: table for table in (*named, *met)}.values())

    def dml(self, said: Statement, sql: str, where: str) -> None:
        """A change that was logged as the statement that made it: which rows it changed is not in the log.

        Raises SourceRefused where the policy says so.
        """
        tables = self.among(said)
        if not tables:
            return
        names = [table.full for table in tables]
        what = f"a change of {', '.join(names)} is logged as a statement at {where}: {sql[:200]}"
        copy = f"tailrace snapshot NAME {' '.join(names)}"
        if self._config.statements == "fail":
            raise SourceRefused(
                what,
                f"set binlog_format = ROW for every session, then run `{copy}` and set source.statements to"
                ' "skip" until this place is passed',
            )
        log.warning(f"left out: {what}", hint=f"copy the table again: {copy}")

    def ddl(self, said: Statement, query: events.Query, pos: int, behind: Coordinates) -> None:
        """A statement that is no change of rows passes by, between `pos` and `behind`."""
        if said.kind is Kind.OTHER:
            return
        said = said.folded() if self._catalog.ignores_case else said
        tables = self.among(said)
        self.has_changed = True
        self._by_body.clear()
        for table in tables:
            self._snapshot.altered(table.id)
        if said.kind is not Kind.TRUNCATE:
            self._tables.altered(said, tables, behind)
        else:
            for table in tables:
                self._truncate(table, pos)
        if said.kind is Kind.DROP:
            for table in tables:
                self._lose(table)
        self._rename(said)
        if said.moves_rows:
            self._warn_of_moved(tables, query.sql)
        if self._ddl_topic is not None and tables:
            self._show(query, tables, pos)

    def copy_again(self, why: str) -> None:
        """Changes were committed that this run cannot see: a copy of every table has them."""
        if self._config.snapshot == "never":
            raise LogGap(
                f"{why}; these changes cannot be read any more",
                "run `tailrace offsets reset NAME` to begin behind them, or seek to a position before they were made",
            )
        log.warning(f"every table is copied again: {why}")
        for table in self.known.values():
            self._snapshot.again(table, None)

    def _bind(self, event: bytes, here: Coordinates) -> Bound | None:
        described = table_map(event, self._is_mariadb)
        if not is_captured(self._config, described.database, described.name) or self._is_sequence(described):
            return None
        table = self._tables.captured(described, here)
        self._snapshot.announced(table)
        return Bound(table)

    def _is_sequence(self, described: TableMap) -> bool:
        """MariaDB logs what a sequence reserves as rows of a table."""
        if not self._is_mariadb or len(described.kinds) != len(_SEQUENCE):
            return False
        if described.metadata is not None and described.metadata.names:
            return described.metadata.names == _SEQUENCE
        shape = self._catalog.shape(described.database, described.name)
        return shape is not None and tuple(column.name for column in shape.columns) == _SEQUENCE

    def _truncate(self, table: TableName, pos: int) -> None:
        order = self._changes.group.order
        captured = self._tables.current(table)
        if captured is not None and not self._snapshot.leaves_out(table.id, order, order + 1):
            self._changes.truncated(captured, pos)

    def _lose(self, table: TableName) -> None:
        if self.known.pop(table.full, None) is not None:
            self._snapshot.forget(table)

    def _rename(self, said: Statement) -> None:
        """The name makes the table: what comes to a captured name from elsewhere is copied, for its rows are new to us.

        But a tool for online schema changes has filled its shadow table with the rows that the name had before.
        """
        filled = {TableName(*new).full for old, new in said.renames if is_shadow(old[1])} & self.known.keys()
        for pair in said.renames:
            for name in pair:
                table = TableName(*name)
                if table.full not in filled:
                    self._lose(table)

    def _warn_of_moved(self, tables: list[TableName], sql: str) -> None:
        for table in tables:
            log.warning(
                f"rows of {table.full} came or went that the log does not have: {sql[:200]}",
                hint=f"where readers should have them, copy the table again: tailrace snapshot NAME {table.full}",
            )

    def _show(self, query: events.Query, tables: list[TableName], pos: int) -> None:
        assert self._ddl_topic is not None, "asked for"
        group = self._changes.group
        names = [table.name for table in tables]
        block = self._ddl_topic.block(query.schema, names)
        block.begin(group.order, group.committed_at_us, group.server_id, group.gtid, group.file, group.thread)
        block.event(pos)
        shapes = {table.full: self._catalog.shape(table.database, table.name) for table in tables}
        event = self._ddl_topic.event(
            query.sql, query.schema, block.change(0), time.time_ns(), shapes, (group.order, group.nth)
        )
        group.nth += 1
        self._changes.events.append(event)
