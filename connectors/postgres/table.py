"""Captured tables: one object per version of a table, ready to encode."""

from typing import NamedTuple

from connectors.postgres.catalog import Catalog
from connectors.postgres.envelope import SOURCE_SCHEMA, SourceBlock
from connectors.postgres.pgoutput import Relation
from schema.avro import topic_name
from schema.binding import bind
from schema.encoder import TableEncoder
from schema.registry import Registry


class CapturedTable(NamedTuple):
    """`key` holds column indexes in key order; `block` writes the event's `source` struct."""

    name: str
    topic: str
    relation: Relation
    key: tuple[int, ...]
    encoder: TableEncoder
    block: SourceBlock

    @property
    def id(self) -> int:
        return self.relation.oid

    @property
    def form(self) -> tuple[object, object]:
        """(of keys, of rows): equal where their values mean the same."""
        columns = [(column.name, column.type_oid, column.typmod) for column in self.relation.columns]
        return [columns[i] for i in self.key], columns


class Tables:
    """Turns what the log shows of a table into something that encodes, registering its schemas first."""

    def __init__(self, catalog: Catalog, registry: Registry, topic_prefix: str, database: str, version: str) -> None:
        self._catalog = catalog
        self._registry = registry
        self.topic_prefix = topic_prefix
        self._database = database
        self._version = version
        self._nullable: dict[str, frozenset[str]] = {}

    def captured(self, relation: Relation) -> CapturedTable:
        """The version that `relation` and the catalogue make, with its schemas registered.

        Raises Incompatible, psycopg.Error, and what the registry raises.
        """
        full = f"{relation.schema}.{relation.name}"
        table = self._catalog.version(relation, self._nullable.get(full, frozenset()))
        topic = topic_name(self.topic_prefix, full)
        (encoder,) = bind(self._registry, topic, [table], SOURCE_SCHEMA)
        return CapturedTable(
            full,
            topic,
            relation,
            table.key,
            encoder,
            SourceBlock(self._version, self.topic_prefix, self._database, relation.schema, relation.name),
        )

    def loosened(self, table: CapturedTable, column: str) -> CapturedTable:
        """The same table with `column` nullable: the log holds a NULL from before a SET NOT NULL."""
        self._nullable[table.name] = self._nullable.get(table.name, frozenset()) | {column}
        return self.captured(table.relation)
