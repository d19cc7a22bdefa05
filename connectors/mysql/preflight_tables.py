"""The part of `tailrace check` for MySQL and MariaDB that looks at tables."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pymysql

from connectors.mysql.connection import log_status
from connectors.mysql.look import Look
from connectors.mysql.names import SYSTEM_DATABASES, is_captured, quoted
from connectors.patterns import selected, without_match
from schema.preflight import Finding

_NOT_OURS = tuple(sorted(SYSTEM_DATABASES))
_DATABASES_SQL = f"select schema_name from information_schema.schemata where schema_name not in {_NOT_OURS}"
_TABLES_SQL = f"""
    select table_schema, table_name, engine from information_schema.tables
    where table_type in ('BASE TABLE', 'SYSTEM VERSIONED') and table_schema not in {_NOT_OURS}
    order by table_schema, table_name
"""
# An index over an expression has no column name, and its values are not in a row.
_KEYED_SQL = f"""
    select table_schema, table_name from information_schema.statistics
    where non_unique = 0 and table_schema not in {_NOT_OURS}
    group by table_schema, table_name, index_name having sum(nullable = 'YES' or column_name is null) = 0
"""
_DATED_SQL = f"""
    select table_schema, table_name, column_name from information_schema.columns
    where data_type in ('date', 'datetime', 'timestamp') and table_schema not in {_NOT_OURS}
"""
_CASCADES_SQL = """
    select constraint_schema, table_name, constraint_name, delete_rule, update_rule
    from information_schema.referential_constraints
    where delete_rule not in ('RESTRICT', 'NO ACTION') or update_rule not in ('RESTRICT', 'NO ACTION')
"""
CASCADES_LOGGED_SINCE = (9, 6)
"""MySQL's own layer carries cascades out from here on, and logs them; before, only InnoDB knew of them."""
_NO_ZERO_DATES = {"NO_ZERO_DATE", "NO_ZERO_IN_DATE"}
_STRICT = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}


class _Table(NamedTuple):
    database: str
    name: str
    engine: str | None

    @property
    def full(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def in_sql(self) -> str:
        return f"{quoted(self.database)}.{quoted(self.name)}"


def check_tables(look: Look) -> Iterator[Finding]:
    """What is captured, and what of it the log or the copy would not have. Raises pymysql.MySQLError."""
    config = look.config
    databases = [name for (name,) in look.rows(_DATABASES_SQL)]
    tables = [_Table(*row) for row in look.rows(_TABLES_SQL) if selected(config.databases, row[0])]
    captured = [table for table in tables if is_captured(config, table.database, table.name)]
    unmatched = [
        *_patterns(look, "databases", config.databases, databases),
        *_patterns(look, "tables", config.tables, [table.full for table in tables]),
    ]
    yield from unmatched
    if captured:
        yield Finding("ok", f"{len(captured)} tables are captured")
    elif not unmatched:
        yield Finding(
            "warn",
            f"{config.user} sees no table to capture",
            f"create one, or: grant select on {_target((config.databases or '*')[0])} to {look.grants.account}",
        )
    keyed = {(database, name) for database, name in look.rows(_KEYED_SQL)}
    for table in captured:
        yield from _table(look, table, (table.database, table.name) in keyed)
    yield from _filters(look, sorted({table.database for table in captured}))
    yield from _cascades(look, captured)
    yield from _zero_dates(look, captured)


def _patterns(look: Look, key: str, patterns: Sequence[str] | None, names: Sequence[str]) -> Iterator[Finding]:
    """What the user may not read does not show: such a name cannot be told from a wrong one."""
    for pattern in without_match(patterns, names):
        database = pattern.partition(".")[0]
        if look.grants.on(database, "SELECT"):
            yield Finding("fail", f"source.{key}: nothing matches {pattern}", "correct it, or create it first")
        else:
            yield Finding(
                "fail",
                f"source.{key}: nothing that {look.config.user} may read matches {pattern}",
                f"correct it, create it first, or: grant select on {_target(database)} to {look.grants.account}",
            )


def _table(look: Look, table: _Table, has_key: bool) -> Iterator[Finding]:
    is_copied = look.config.snapshot != "never"
    if is_copied and not _may_select(look, table):
        yield Finding(
            "fail",
            f"{look.config.user} may not read {table.full}",
            f"grant select on {table.in_sql} to {look.grants.account}",
        )
    if not has_key:
        yield Finding(
            "warn",
            f"{table.full} has no key: its events carry none, and its copy is made in one piece",
            f"alter table {table.in_sql} add primary key (...)",
        )
    if is_copied and _is_locked(look, has_key) and not look.grants.on(table.database, "LOCK TABLES"):
        why = "which has no key" if look.server.gtids else "for the server has no GTIDs"
        yield Finding(
            "fail",
            f"{look.config.user} may not lock {table.full}, {why}, for the begin of its copy",
            f"grant lock tables on {quoted(table.database)}.* to {look.grants.account}",
        )
    if table.engine != "InnoDB":
        yield Finding(
            "warn",
            f"{table.full} is a table of {table.engine}: its changes are delivered even where their transaction is "
            "rolled back",
            f"alter table {table.in_sql} engine = InnoDB",
        )


def _is_locked(look: Look, has_key: bool) -> bool:
    """For an instant, so that what the log has and what a SELECT sees are of the same moment."""
    return not has_key or not look.server.gtids


def _may_select(look: Look, table: _Table) -> bool:
    try:
        look.rows(f"select * from {table.in_sql} limit 0")
    except pymysql.err.OperationalError:
        return False
    return True


def _filters(look: Look, databases: Sequence[str]) -> Iterator[Finding]:
    """What the server was told to keep out of its log."""
    try:
        [status] = look.rows(log_status(look.server)) or [("", 0, "", "")]
    except pymysql.err.OperationalError:  # no REPLICATION CLIENT: a finding of its own
        return
    only, never = (set(filter(None, names.split(","))) for names in status[2:4])
    for database in databases:
        if database in never or (only and database not in only):
            name = "binlog_ignore_db" if database in never else "binlog_do_db"
            yield Finding("fail", f"{name} keeps {database} out of the log", f"take {name} out of my.cnf, and restart")


def _cascades(look: Look, captured: Sequence[_Table]) -> Iterator[Finding]:
    """Changes of rows that no statement names."""
    logged = look.server.flavor == "mysql" and look.server.version >= CASCADES_LOGGED_SINCE
    if logged and not look.is_on("innodb_native_foreign_keys"):
        return
    for database, name, constraint, on_delete, on_update in look.rows(_CASCADES_SQL):
        table = next((table for table in captured if (table.database, table.name) == (database, name)), None)
        if table is not None:
            rules = " ".join(
                f"on {what} {rule.lower()}"
                for what, rule in (("delete", on_delete), ("update", on_update))
                if rule not in ("RESTRICT", "NO ACTION")
            )
            yield Finding(
                "warn",
                f"the server does not log what foreign key {constraint} ({rules}) does to {table.full}: those changes "
                "are not delivered",
                f"change those rows by statements of your own, and: alter table {table.in_sql} "
                f"drop foreign key {quoted(constraint)}",
            )


def _zero_dates(look: Look, captured: Sequence[_Table]) -> Iterator[Finding]:
    modes = set(look.settings.get("sql_mode", "").split(","))
    if modes >= _NO_ZERO_DATES and modes & _STRICT:
        return
    names = {(table.database, table.name) for table in captured}
    dated = sorted(".".join(row) for row in look.rows(_DATED_SQL) if row[:2] in names)
    if dated:
        more = f" and {len(dated) - 1} more" if len(dated) > 1 else ""
        yield Finding(
            "warn",
            f"sql_mode lets zero dates into {dated[0]}{more}: no event can hold one, and errors.unrepresentable says "
            "what becomes of it",
            look.set("sql_mode", "concat(@@global.sql_mode, ',STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE')"),
        )


def _target(database: str) -> str:
    """What to grant on, for one pattern of `source.databases`."""
    return "DATABASE.*" if set("*?[!") & set(database) else f"{quoted(database)}.*"
