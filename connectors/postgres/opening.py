"""Opening one connector's log: which server, which tables, which slot, from where."""

from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import structlog

from connectors.chunk import Progress
from connectors.errors import LogGap, SourceMisconfigured, SourceRefused
from connectors.patterns import exclusion, named, selected, without_match
from connectors.postgres import slot as slots
from connectors.postgres.catalog import Catalog, TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.stream import ReplicationStream, connect, format_lsn, parse_lsn, source_error
from offsets.position import Offset, Position

log = structlog.get_logger("tailrace")


class OpenLog(NamedTuple):
    """A stream that is running from `position` on, and an ordinary connection beside it.

    `added` are the OIDs of tables that the publication lacked: what happened to them before is not in the log.
    `left_out` are tables that are no part of `tables`, for the publication lacks them and may not be changed.
    """

    stream: ReplicationStream
    connection: psycopg.Connection[Any]
    catalog: Catalog
    tables: list[TableName]
    position: Position
    confirmed: int
    added: set[int]
    left_out: tuple[TableName, ...] = ()


class Published(NamedTuple):
    """What `ensure_published` did: the OIDs of tables that the publication lacked, and the tables it still lacks."""

    added: set[int]
    left_out: tuple[TableName, ...] = ()


class View(NamedTuple):
    """Look without leaving a trace. `start`: ``now``, ``start`` (where the connector's slot begins) or an LSN."""

    start: str


def open_log(config: PostgresConfig, connector: str, after: Offset | View | None) -> OpenLog:
    """Check, make what is absent, and start the stream. Leaves no connection open where it raises SourceError."""
    connection = connect(config, application=f"tailrace {connector}")
    try:
        replication = connect(config, replication=True, application=f"tailrace {connector}")
    except BaseException:
        connection.close()
        raise
    try:
        return _open(config, connector, connection, replication, after)
    except psycopg.Error as error:
        connection.close()
        replication.close()
        raise source_error(error, config) from None
    except BaseException:
        connection.close()
        replication.close()
        raise


def _open(
    config: PostgresConfig,
    connector: str,
    connection: psycopg.Connection[Any],
    replication: psycopg.Connection[Any],
    after: Offset | View | None,
) -> OpenLog:
    check_server(connection, config)
    server = slots.identify(replication)
    catalog = Catalog(connection)
    tables = captured_tables(config, catalog)
    report_patterns(config, tables, is_new=not isinstance(after, Offset))
    published = Published(set())
    if isinstance(after, View):
        name, start = _passing_slot(config, connection, replication, after.start)
    elif config.snapshot == "only":
        published = ensure_published(connection, config, tables)
        name, start = _passing_slot(config, connection, replication, "now")
    else:
        _check_offset(config, connector, connection, server, after)
        # The publication first: the log is decoded with the publications of its own time.
        published = ensure_published(connection, config, tables, _dispensable(config, after))
        name, start = _lasting_slot(config, connector, connection, replication, after)
    slot = slots.find(connection, name)
    stream = ReplicationStream(replication, config)
    stream.start(name, start, config.publication)
    position = Position(start, format_lsn(start), slots.origin(server, config))
    tables = [table for table in tables if table not in published.left_out]
    confirmed = slot.confirmed if slot else start
    return OpenLog(stream, connection, catalog, tables, position, confirmed, published.added, published.left_out)


def _check_offset(
    config: PostgresConfig,
    connector: str,
    connection: psycopg.Connection[Any],
    server: slots.Server,
    after: Offset | None,
) -> None:
    """Raise SourceError unless the slot and the publication go on where `after` ends."""
    if after is None:
        return
    slots.check_resumable(connector, after.position, slots.find(connection, config.slot), server, config)
    if not slots.publication_exists(connection, config.publication):
        raise SourceRefused(
            f"publication {config.publication} is gone; the log behind our offset needs the one that was there",
            f"drop the slot (select pg_drop_replication_slot('{config.slot}')), run `tailrace offsets reset "
            f"{connector}` and start again: every table is copied anew",
        )


def _lasting_slot(
    config: PostgresConfig,
    connector: str,
    connection: psycopg.Connection[Any],
    replication: psycopg.Connection[Any],
    after: Offset | None,
) -> tuple[str, int]:
    """The connector's own slot and where to start in it."""
    slot = slots.find(connection, config.slot)
    if slot is not None and after is not None:
        log.info("goes on behind its offset", slot=config.slot, position=after.position.token)
        return config.slot, after.position.order
    if slot is not None:
        log.warning(
            f"slot {config.slot} was there before, but this state folder has no offset: {connector} starts as new",
            position=format_lsn(slot.confirmed),
            hint="after `offsets reset` this is meant; else stop it, and name the state of earlier runs by --state",
        )
        return config.slot, slot.confirmed
    log.info("making the slot; the server first waits for the transactions that are open now", slot=config.slot)
    start = slots.create(replication, config.slot)
    log.info("slot made", slot=config.slot, position=format_lsn(start))
    return config.slot, start


def _passing_slot(
    config: PostgresConfig, connection: psycopg.Connection[Any], replication: psycopg.Connection[Any], start: str
) -> tuple[str, int]:
    """A slot that ends with the connection: a new one, or a copy of the connector's to look back with."""
    name = f"{config.slot[:48]}_{replication.info.backend_pid}"
    if start == "now":
        if not slots.publication_exists(connection, config.publication):
            ensure_published(connection, config, captured_tables(config, Catalog(connection)))
        return name, slots.create(replication, name, temporary=True)
    slot = slots.find(connection, config.slot)
    if slot is None:
        raise SourceMisconfigured(
            f"slot {config.slot} does not exist yet, so there is nothing to look back at",
            "look from now on (--from now), or run the connector first",
        )
    lsn = slot.confirmed if start == "start" else _parsed_lsn(start)
    if lsn < slot.confirmed:
        raise LogGap(
            f"the server has forgotten what was committed before {format_lsn(slot.confirmed)}",
            f"look from {format_lsn(slot.confirmed)} or later (--from start)",
        )
    slots.copy(replication, config.slot, name)
    return name, lsn


def _parsed_lsn(text: str) -> int:
    try:
        return parse_lsn(text)
    except ValueError:
        raise SourceMisconfigured(
            f"{text!r} is no position of a Postgres log", "give now, start, or an LSN such as 0/31C6530"
        ) from None


def check_server(connection: psycopg.Connection[Any], config: PostgresConfig) -> None:
    """Raise SourceRefused for a server that cannot serve us."""
    if connection.info.server_version < slots.FIRST_VERSION:
        raise SourceRefused(
            f"{config.host} runs Postgres {connection.info.server_version // 10000}; 14 is the first that works",
            "upgrade the server",
        )
    row = connection.execute("select current_setting('wal_level'), pg_is_in_recovery()").fetchone()
    assert row is not None
    if row[0] != "logical":
        raise SourceRefused(
            f"{config.host} has wal_level = {row[0]}; the log then lacks what change capture needs",
            "run `alter system set wal_level = logical` as a superuser and restart the server",
        )
    if row[1]:
        raise SourceRefused(
            f"{config.host} is a standby and takes no watermarks",
            "point source.host at the primary, or promote this server",
        )


def captured_tables(config: PostgresConfig, catalog: Catalog) -> list[TableName]:
    """The tables to capture now."""
    return [table for table in catalog.tables() if selected(config.tables, table.full)]


def report_patterns(config: PostgresConfig, tables: list[TableName], *, is_new: bool) -> None:
    """A new connector whose patterns find nothing is misconfigured; for an old one, tables come and go."""
    missing = without_match(config.tables, (table.full for table in tables))
    if missing and is_new:
        raise SourceMisconfigured(
            f"source.tables: no table matches {', '.join(missing)} in database {config.database}",
            "correct the name (schema.table, case as in the catalogue) or create the table first",
        )
    for pattern in missing:
        log.warning("source.tables: nothing matches any more", pattern=pattern)


def _dispensable(config: PostgresConfig, after: Offset | None) -> Callable[[TableName], bool]:
    """Whether a table is none that a run before captured: it came since, and nobody named it.

    Only the progress of copies tells, so where none are made a table may always have been captured.
    """
    if after is None or config.snapshot != "initial":
        return lambda table: False
    copied = {Progress.load(text).id for text in after.snapshot.values()}
    names = after.snapshot.keys()
    return lambda table: not (table.full in names or table.oid in copied or named(config.tables, table.full))


def ensure_published(
    connection: psycopg.Connection[Any],
    config: PostgresConfig,
    tables: list[TableName],
    dispensable: Callable[[TableName], bool] = lambda table: False,
) -> Published:
    """Make the publication, or add what it lacks.

    Raises SourceRefused where the user may not, or where the publication shows partitions instead of their table;
    a `dispensable` table is then left out.
    """
    name = config.publication
    if not slots.publication_exists(connection, name):
        try:
            slots.create_publication(connection, name, tables)
        except psycopg.errors.InsufficientPrivilege as error:
            raise SourceRefused(
                f"user {config.user} may not create publication {name}: {error.diag.message_primary}",
                f"as the owner of the tables, run: {create_sql(name, tables)}",
            ) from None
        log.info("publication made", publication=name, tables=len(tables))
        return Published({table.oid for table in tables})
    shows_roots = slots.shows_roots(connection, name)
    published = slots.published_tables(connection, name)
    lacking = [table for table in tables if table.full not in published or (table.is_partitioned and not shows_roots)]
    added: set[int] = set()
    left_out = []
    # One that cannot be shown whole comes first: after it nothing is changed.
    for table in sorted(lacking, key=lambda table: not table.is_partitioned):
        try:
            _add_table(connection, config, table, shows_roots)
        except SourceRefused as error:
            if not dispensable(table):
                raise
            log.warning(f"a new table is left out: {error}", hint=error.hint)
            left_out.append(table)
        else:
            added.add(table.oid)
    return Published(added, tuple(left_out))


def _add_table(
    connection: psycopg.Connection[Any], config: PostgresConfig, table: TableName, shows_roots: bool
) -> None:
    name = config.publication
    if table.is_partitioned and not shows_roots:
        raise shows_partitions(config, table)
    try:
        slots.add_table(connection, name, table)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SourceRefused(
            f"user {config.user} may not add {table.full} to publication {name}: {error.diag.message_primary}",
            add_hint(name, table),
        ) from None
    log.info("table added to the publication", table=table.full, publication=name)


def shows_partitions(config: PostgresConfig, table: TableName) -> SourceRefused:
    return SourceRefused(
        f"publication {config.publication} shows the partitions of {table.full} as tables of their own",
        f"run: alter publication {config.publication} set (publish_via_partition_root = true)",
    )


def add_hint(name: str, table: TableName) -> str:
    """What the owner can do for us, and what the user of the connector can."""
    return (
        f"as the owner of the publication and the table, run: alter publication {name} add table {table.quoted()}; "
        f'or leave the table out, by "{exclusion(table.full)}" in source.tables'
    )


def create_sql(name: str, tables: list[TableName]) -> str:
    """The statement that the owner of the tables can run for us."""
    listed = f"for table {', '.join(table.quoted() for table in tables)} " if tables else ""
    return f"create publication {name} {listed}with (publish_via_partition_root = true)"
