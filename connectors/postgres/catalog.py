"""What the catalogue says of tables now; the log says what they looked like then.

A Relation message gives names and types at its point of the log. NOT NULL, defaults, key order and enum labels
are only in the catalogue, and are taken from there by column name.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from connectors.postgres.pgoutput import Relation, RelationColumn
from connectors.postgres.types import TYPES_SQL, TypeInfo, column_type, constant_default
from schema.change import Column, Table

_TABLES_SQL = """
    select c.oid::bigint, n.nspname, c.relname, c.relreplident::text, c.relkind = 'p', greatest(c.reltuples, 0)::bigint
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
      and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
    order by n.nspname, c.relname
"""

_COLUMNS_SQL = """
    select a.attname, a.atttypid::bigint, a.atttypmod, a.attnotnull or t.typnotnull,
           case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end, a.attgenerated <> ''
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
    order by a.attnum
"""

# The columns whose values identify a row: the replica identity index where one is set, so that every delete
# carries them; else the primary key; else the first unique index over NOT NULL columns.
_KEY_SQL = """
    select array(select a.attname from unnest(i.indkey) with ordinality k(attnum, nth)
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                 where k.nth <= i.indnkeyatts order by k.nth)
    from pg_index i join pg_class t on t.oid = i.indrelid join pg_class x on x.oid = i.indexrelid
    where i.indrelid = %s and i.indisunique and i.indisvalid and i.indimmediate
      and i.indpred is null and i.indexprs is null
      and not exists (select from unnest(i.indkey) k(attnum)
                      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                      where not a.attnotnull)
    order by (t.relreplident = 'i' and i.indisreplident) desc, i.indisprimary desc, x.relname
    limit 1
"""

# RowExclusiveLock is the weakest that a writer holds, and it holds it until others see what it wrote.
_WRITERS_SQL = """
    select virtualtransaction from pg_locks
    where locktype = 'relation' and granted and mode not in ('AccessShareLock', 'RowShareLock', 'ShareLock')
      and database = (select oid from pg_database where datname = current_database())
      and (relation = %(oid)s or relation in (select relid from pg_partition_tree(%(oid)s::oid::regclass)))
      and pid is distinct from pg_backend_pid()
"""

_PUBLISHED_SQL = """
    select attnames, rowfilter from pg_publication_tables
    where pubname = %s and schemaname = %s and tablename = %s
"""


class TableName(NamedTuple):
    oid: int
    schema: str
    name: str
    identity: str
    is_partitioned: bool
    row_estimate: int

    @property
    def id(self) -> int:
        return self.oid

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    def quoted(self) -> str:
        """As SQL names it."""
        return sql.Identifier(self.schema, self.name).as_string()


class CatalogColumn(NamedTuple):
    name: str
    type_oid: int
    typmod: int
    not_null: bool
    default: str | None
    is_generated: bool


class Definition(NamedTuple):
    """A table as the catalogue has it now; `key` holds column names in key order."""

    columns: tuple[CatalogColumn, ...]
    key: tuple[str, ...]


class Catalog:
    """Reads the catalogue over one ordinary connection. Methods raise psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def tables(self) -> list[TableName]:
        """Every permanent user table; of partitioned ones the root, not its partitions."""
        return [TableName(*row) for row in self._connection.execute(_TABLES_SQL)]

    def definition(self, oid: int) -> Definition | None:
        """None for a table that is gone."""
        columns = tuple(CatalogColumn(*row) for row in self._connection.execute(_COLUMNS_SQL, [oid]))
        if not columns:
            return None
        key = self._connection.execute(_KEY_SQL, [oid]).fetchone()
        return Definition(columns, tuple(key[0]) if key else ())

    def writers(self, oid: int) -> set[str]:
        """The open transactions that may have written to a table."""
        return {row[0] for row in self._connection.execute(_WRITERS_SQL, {"oid": oid})}

    def types(self, oids: Iterable[int]) -> dict[int, TypeInfo]:
        rows = self._connection.execute(TYPES_SQL, {"oids": sorted(set(oids))})
        return {info.oid: info for info in (TypeInfo(*row) for row in rows)}

    def published(self, publication: str, table: TableName) -> tuple[list[str] | None, str | None]:
        """(columns, row filter) that the publication has for the table; None: all (before 15 there is no choice)."""
        if self._connection.info.server_version < 150000:
            return None, None
        row = self._connection.execute(_PUBLISHED_SQL, [publication, table.schema, table.name]).fetchone()
        return (row[0], row[1]) if row else (None, None)

    def relation(self, table: TableName, columns: Sequence[str] | None) -> Relation | None:
        """What the log would say of the table as it is now, limited to `columns`. None where it is gone.

        Generated columns are in the log only where a publication names them, from Postgres 18 on.
        """
        generated = columns is not None and self._connection.info.server_version >= 180000
        definition = self.definition(table.oid)
        if definition is None:
            return None
        return Relation(
            table.oid,
            table.schema,
            table.name,
            table.identity,
            tuple(
                RelationColumn(column.name, column.type_oid, column.typmod, column.name in definition.key)
                for column in definition.columns
                if (columns is None or column.name in columns) and (generated or not column.is_generated)
            ),
        )

    def version(self, relation: Relation, nullable: frozenset[str] = frozenset()) -> Table:
        """The table as `relation` shows it, completed from the catalogue.

        `nullable` names columns that held NULL though the catalogue says NOT NULL now. Raises Incompatible.
        """
        definition = self.definition(relation.oid) or Definition((), ())
        known = {column.name: column for column in definition.columns}
        types = self.types(column.type_oid for column in relation.columns)
        columns = []
        for shown in relation.columns:
            column_now = known.get(shown.name)
            kind = column_type(shown.type_oid, shown.typmod, types)
            same = column_now is not None and column_now.type_oid == shown.type_oid
            columns.append(
                Column(
                    shown.name,
                    kind,
                    optional=column_now is None or not column_now.not_null or shown.name in nullable,
                    default=constant_default(column_now.default, kind) if same and column_now else None,
                )
            )
        return Table(f"{relation.schema}.{relation.name}", tuple(columns), _key(relation, definition))


def _key(relation: Relation, definition: Definition) -> tuple[int, ...]:
    """The catalogue's key, in its order, unless the log shows another: that of an older or newer definition."""
    at = {column.name: i for i, column in enumerate(relation.columns)}
    shown = tuple(i for i, column in enumerate(relation.columns) if column.in_identity)
    if relation.identity in "di" and shown and {relation.columns[i].name for i in shown} != set(definition.key):
        return shown
    if definition.key and all(name in at for name in definition.key):
        return tuple(at[name] for name in definition.key)
    if relation.identity == "f":
        return ()
    return shown
