"""`tailrace check` for Postgres: what `run` would stumble over, with the SQL or setting that mends it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg

from connectors.errors import SourceError
from connectors.patterns import selected, without_match
from connectors.postgres import slot as slots
from connectors.postgres.catalog import Catalog, TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.opening import add_hint, create_sql, shows_partitions
from connectors.postgres.stream import connect, format_lsn, source_error
from schema.preflight import Finding

_ROLE_SQL = """
    select rolsuper, rolreplication or rolsuper or exists (
        select from pg_roles granted
        where granted.rolname in ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser')
          and pg_has_role(current_user, granted.oid, 'member'))
    from pg_roles where rolname = current_user
"""
_LIMITS_SQL = """
    select current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots),
           current_setting('max_wal_senders')::int - (select count(*) from pg_stat_replication),
           current_setting('max_slot_wal_keep_size')
"""
_MAY_PUBLISH_SQL = """
    select has_database_privilege(current_database(), 'create') and not exists (
        select from pg_class where oid = any(%s) and not pg_has_role(current_user, relowner, 'usage'))
"""
_MAY_ADD_SQL = """
    select pg_has_role(current_user, c.relowner, 'usage') and pg_has_role(current_user, p.pubowner, 'usage')
    from pg_class c, pg_publication p where c.oid = %s and p.pubname = %s
"""
_TABLE_SQL = """
    select has_table_privilege(c.oid, 'select'), row_security_active(c.oid)
    from pg_class c where c.oid = %s
"""


def check(config: PostgresConfig) -> Iterator[Finding]:
    """Findings in the order in which `run` would meet them. Changes nothing; never raises SourceError."""
    try:
        with closing(connect(config, application="tailrace check")) as connection:
            yield from _checked(config, connection)
    except SourceError as error:
        yield Finding("fail", str(error), error.hint)
    except psycopg.Error as error:
        mapped = source_error(error, config)
        yield Finding("fail", str(mapped), mapped.hint)


def _checked(config: PostgresConfig, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    version = connection.info.server_version
    yield Finding("ok", f"connected to Postgres {version // 10000}.{version % 10000} as {config.user}")
    yield from _server(config, connection)
    yield from _role(config, connection)
    yield from _slot(config, connection)
    catalog = Catalog(connection)
    tables = catalog.tables()
    for pattern in without_match(config.tables, (table.full for table in tables)):
        yield Finding("fail", f"source.tables: nothing matches {pattern}", "correct it, or create the table first")
    captured = [table for table in tables if selected(config.tables, table.full)]
    yield from _publication(config, connection, captured)
    for table in captured:
        yield from _table(config, connection, catalog, table)


def _server(config: PostgresConfig, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    if connection.info.server_version < slots.FIRST_VERSION:
        yield Finding("fail", "the server is older than Postgres 14", "upgrade the server")
    row = connection.execute("select current_setting('wal_level'), pg_is_in_recovery()").fetchone()
    assert row is not None
    if row[0] == "logical":
        yield Finding("ok", "wal_level is logical")
    else:
        yield Finding("fail", f"wal_level is {row[0]}", "alter system set wal_level = logical; then restart the server")
    if row[1]:
        yield Finding("fail", "the server is a standby", "point source.host at the primary")


def _role(config: PostgresConfig, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    row = connection.execute(_ROLE_SQL).fetchone()
    if row and row[1]:
        yield Finding("ok", f"{config.user} may replicate")
    else:
        yield Finding("fail", f"{config.user} may not replicate", f'alter role "{config.user}" with replication')
    limits = connection.execute(_LIMITS_SQL).fetchone()
    assert limits is not None
    free_slots, free_senders, keep = limits
    if free_senders < 1:
        yield Finding("fail", "no WAL sender is free", "raise max_wal_senders and restart the server")
    if free_slots < 1 and slots.find(connection, config.slot) is None:
        yield Finding("fail", "no replication slot is free", "raise max_replication_slots and restart the server")
    if keep != "-1":
        yield Finding(
            "warn",
            f"max_slot_wal_keep_size is {keep}: a connector that is down while more log than that is written loses it",
            "alter system set max_slot_wal_keep_size = -1; or watch pg_replication_slots.safe_wal_size",
        )


def _slot(config: PostgresConfig, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    slot = slots.find(connection, config.slot)
    if slot is None:
        yield Finding("ok", f"slot {config.slot} will be made")
    elif slot.wal_status == "lost":
        yield Finding(
            "fail",
            f"slot {config.slot} has lost log that it needed",
            f"select pg_drop_replication_slot('{config.slot}'); then `tailrace offsets reset`",
        )
    elif slot.active_pid is not None:
        yield Finding("ok", f"slot {config.slot} is being read by server process {slot.active_pid}")
    else:
        yield Finding("ok", f"slot {config.slot} begins at {format_lsn(slot.confirmed)}")


def _publication(
    config: PostgresConfig, connection: psycopg.Connection[Any], tables: list[TableName]
) -> Iterator[Finding]:
    name = config.publication
    if not slots.publication_exists(connection, name):
        row = connection.execute(_MAY_PUBLISH_SQL, [[table.oid for table in tables]]).fetchone()
        if row and row[0]:
            yield Finding("ok", f"publication {name} will be made")
        else:
            yield Finding("fail", f"{config.user} may not create publication {name}", create_sql(name, tables))
        return
    published = slots.published_tables(connection, name)
    lacking = [table for table in tables if table.full not in published]
    if tables and not lacking:
        yield Finding("ok", f"publication {name} covers all {len(tables)} tables")
    for table in lacking:
        yield _lacking(config, connection, table)


def _lacking(config: PostgresConfig, connection: psycopg.Connection[Any], table: TableName) -> Finding:
    name = config.publication
    if table.is_partitioned and not slots.shows_roots(connection, name):
        error = shows_partitions(config, table)
        return Finding("fail", str(error), error.hint)
    row = connection.execute(_MAY_ADD_SQL, [table.oid, name]).fetchone()
    if row and row[0]:
        return Finding("ok", f"{table.full} will be added to publication {name}")
    return Finding(
        "fail",
        f"{config.user} may not add {table.full} to publication {name}: a first start ends there, a later one too or "
        "leaves the table out",
        add_hint(name, table),
    )


def _table(
    config: PostgresConfig, connection: psycopg.Connection[Any], catalog: Catalog, table: TableName
) -> Iterator[Finding]:
    may_select, hides = connection.execute(_TABLE_SQL, [table.oid]).fetchone() or (False, False)
    if not may_select and config.snapshot != "never":
        yield Finding(
            "fail", f"{config.user} may not read {table.full}", f'grant select on {table.quoted()} to "{config.user}"'
        )
    if hides and config.snapshot != "never":
        yield Finding(
            "fail",
            f"row-level security of {table.full} may hide rows from {config.user}",
            f'alter role "{config.user}" with bypassrls',
        )
    definition = catalog.definition(table.oid)
    if definition is not None and not definition.key:
        yield Finding(
            "warn",
            f"{table.full} has no key: its events carry none, and its copy is made in one piece",
            f"alter table {table.quoted()} add primary key (...)",
        )
    if table.identity == "n":
        yield Finding(
            "warn",
            f"{table.full} has replica identity nothing: the server refuses updates and deletes once it is published",
            f"alter table {table.quoted()} replica identity default",
        )
