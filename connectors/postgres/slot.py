"""The slot and the publication: made where absent and allowed, checked where they exist.

Our offset is the authority. The slot is compared with it, and a difference that means lost changes is a LogGap.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from connectors.errors import LogGap, SourceRefused
from connectors.postgres.catalog import TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.stream import format_lsn, parse_lsn
from offsets.position import Position

_SLOT_SQL = """
    select slot_type, plugin, database, active_pid, confirmed_flush_lsn::text, coalesce(wal_status, '')
    from pg_replication_slots where slot_name = %s
"""
_SYNCED_SQL = "select synced from pg_replication_slots where slot_name = %s"
FIRST_VERSION = 140000
_LOCK_TIMEOUT_SQL = "set local lock_timeout = '1s'"
"""An index that is being built may hold a table for hours, and until we have the lock nothing is read."""


class Server(NamedTuple):
    """Which log this is. `end` is where it ended when asked."""

    system: str
    timeline: int
    end: int


class Slot(NamedTuple):
    """A logical slot. `confirmed` is the LSN up to which the server has forgotten transactions."""

    plugin: str
    database: str
    active_pid: int | None
    confirmed: int
    wal_status: str
    synced: bool


def identify(replication: psycopg.Connection[Any]) -> Server:
    """Over a replication connection. Raises psycopg.Error."""
    row = replication.execute("IDENTIFY_SYSTEM").fetchone()
    assert row is not None
    return Server(row[0], int(row[1]), parse_lsn(row[2]))


def find(connection: psycopg.Connection[Any], name: str) -> Slot | None:
    """Raises SourceRefused for a slot of another kind."""
    row = connection.execute(_SLOT_SQL, [name]).fetchone()
    if row is None:
        return None
    kind, plugin, database, active_pid, confirmed, wal_status = row
    if kind != "logical" or plugin != "pgoutput" or database != connection.info.dbname:
        raise SourceRefused(
            f"slot {name} is a {kind} slot of {plugin or 'no plugin'} on database {database}, not ours",
            "give another name in source.slot, or drop that slot if nothing needs it",
        )
    synced = False
    if connection.info.server_version >= 170000:
        row = connection.execute(_SYNCED_SQL, [name]).fetchone()
        synced = bool(row and row[0])
    return Slot(plugin, database, active_pid, parse_lsn(confirmed or "0/0"), wal_status, synced)


def create(replication: psycopg.Connection[Any], name: str, *, temporary: bool = False) -> int:
    """A new slot; changes committed behind the returned LSN will be streamed. Raises psycopg.Error.

    A temporary one ends with the connection. Where the server can, the slot follows a failover (Postgres 17).
    """
    # The replication grammar knows no parameters; Config allows only [a-z0-9_] in a slot's name.
    failover = replication.info.server_version >= 170000 and not temporary
    options = "(SNAPSHOT 'nothing', FAILOVER true)" if failover else "NOEXPORT_SNAPSHOT"
    kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
    row = replication.execute(f'CREATE_REPLICATION_SLOT "{name}" {kind} pgoutput {options}').fetchone()
    assert row is not None
    return parse_lsn(row[1])


def copy(replication: psycopg.Connection[Any], name: str, copied: str) -> None:
    """A temporary slot at the same point of the log, also while `name` is being read. Raises psycopg.Error."""
    replication.execute(f"select pg_copy_logical_replication_slot('{name}', '{copied}', true)")


def origin(server: Server, config: PostgresConfig) -> str:
    """The identity of the log that a position belongs to, as JSON."""
    return json.dumps(
        {
            "type": "postgres",
            "host": config.host,
            "port": config.port,
            "database": config.database,
            "slot": config.slot,
            "system": server.system,
            "timeline": server.timeline,
        }
    )


def check_resumable(
    connector: str, offset: Position, slot: Slot | None, server: Server, config: PostgresConfig
) -> None:
    """Raise LogGap unless the slot still holds every transaction behind `offset` on the log that it came from."""
    stored = json.loads(offset.origin)
    again = f"run `tailrace offsets reset {connector}` and start again: every table is copied anew"
    if stored["system"] != server.system:
        raise LogGap(
            f"{config.host} is another database cluster (system identifier {server.system}) than the one our offset "
            f"{offset.token} belongs to ({stored['system']}): restored, upgraded or replaced",
            f"point source.host at the old cluster, or {again}",
        )
    if slot is None:
        raise LogGap(
            f"slot {config.slot} is gone: what was committed after {offset.token} (the server is at "
            f"{format_lsn(server.end)}, timeline {server.timeline}) can no longer be read",
            again,
        )
    if slot.wal_status == "lost":
        raise LogGap(
            f"slot {config.slot} is lost: the server removed WAL that it needed (max_slot_wal_keep_size), what was "
            f"committed after {offset.token} can no longer be read",
            f"drop the slot (select pg_drop_replication_slot('{config.slot}')) and {again}",
        )
    if stored["timeline"] != server.timeline and not slot.synced:
        raise LogGap(
            f"{config.host} was promoted (timeline {stored['timeline']} -> {server.timeline}) and slot {config.slot} "
            f"was made on it anew, not synchronised: changes between {offset.token} and "
            f"{format_lsn(slot.confirmed)} may be missing",
            f"to be sure, {again}",
        )
    if slot.confirmed > offset.order:
        raise LogGap(
            f"slot {config.slot} begins at {format_lsn(slot.confirmed)}, behind our offset {offset.token}: the "
            f"{slot.confirmed - offset.order} bytes of log between them can no longer be read (the slot was "
            "recreated or read by somebody else, or an old state folder was restored)",
            again,
        )
    if offset.order > server.end:
        raise LogGap(
            f"our offset {offset.token} lies ahead of the server's log, which ends at {format_lsn(server.end)}: "
            "changes were delivered that this server does not have (a failover that lost them, or a restore)",
            again,
        )


def publication_exists(connection: psycopg.Connection[Any], name: str) -> bool:
    return connection.execute("select 1 from pg_publication where pubname = %s", [name]).fetchone() is not None


def shows_roots(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether changes of partitions come as changes of their partitioned table."""
    row = connection.execute("select pubviaroot from pg_publication where pubname = %s", [name]).fetchone()
    return bool(row and row[0])


def published_tables(connection: psycopg.Connection[Any], name: str) -> set[str]:
    """``schema.table`` of all that the publication covers."""
    rows = connection.execute("select schemaname, tablename from pg_publication_tables where pubname = %s", [name])
    return {f"{schema}.{table}" for schema, table in rows}


def create_publication(connection: psycopg.Connection[Any], name: str, tables: Iterable[TableName]) -> None:
    """Raises psycopg.Error; 42501 where the user may not, 55P03 where a table is locked."""
    listed = sql.SQL(", ").join(sql.Identifier(table.schema, table.name) for table in tables)
    target = sql.SQL(" for table ") + listed if listed.as_string(connection) else sql.SQL("")
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT_SQL)
        connection.execute(
            sql.SQL("create publication {}").format(sql.Identifier(name))
            + target
            + sql.SQL(" with (publish_via_partition_root = true)")
        )


def add_table(connection: psycopg.Connection[Any], name: str, table: TableName) -> None:
    """Raises psycopg.Error; 42501 where the user may not, 55P03 where the table is locked."""
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT_SQL)
        connection.execute(
            sql.SQL("alter publication {} add table {}").format(
                sql.Identifier(name), sql.Identifier(table.schema, table.name)
            )
        )
