"""Captured tables: one object per version of a table, ready to encode."""

from collections.abc import Iterable
from typing import NamedTuple

from connectors.mysql.connection import Flavor
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.envelope import SOURCE_SCHEMA, SourceBlock
from connectors.mysql.names import TableName
from connectors.mysql.shape import ColumnShape, TableShape
from connectors.mysql.shapes import Shapes
from connectors.mysql.statements import Statement
from connectors.mysql.tablemap import TableMap
from connectors.mysql.types import constant_default, log_type, may_be_null, text_type
from schema.avro import topic_name
from schema.binding import bind
from schema.change import Column, ColumnType, Table
from schema.encoder import TableEncoder
from schema.registry import Registry


class CapturedTable(NamedTuple):
    """`encoder` takes the log's bytes, `copier` the server's text; both write the same. `block` writes `source`."""

    name: str
    topic: str
    shape: TableShape
    key: tuple[int, ...]
    encoder: TableEncoder
    copier: TableEncoder
    block: SourceBlock

    @property
    def id(self) -> str:
        """A table is its name."""
        return self.name

    @property
    def form(self) -> tuple[object, object]:
        """(of keys, of rows): equal where their Avro means the same."""
        columns = [(c.name, c.type.name, c.optional, c.default is None) for c in self.encoder.table.columns]
        return [columns[i] for i in self.key], columns


class Tables:
    """Turns what log and catalogue show of a table into something that encodes, registering its schemas first.

    Methods that give a table raise LogGap, SourceError, Incompatible, pymysql.MySQLError, and what the registry raises.
    """

    def __init__(self, shapes: Shapes, registry: Registry, topic_prefix: str, flavor: Flavor, version: str) -> None:
        """`version` is tailrace's own."""
        self._shapes = shapes
        self._registry = registry
        self.topic_prefix = topic_prefix
        self._flavor: Flavor = flavor
        self._version = version
        self._nullable: dict[str, frozenset[str]] = {}
        self._made: dict[TableShape, CapturedTable] = {}

    def has_noted(self, until: int) -> bool:
        return self._shapes.has_noted(until)

    def noted(self, until: int) -> dict[str, str]:
        """What is to be stored with a position of this order."""
        return self._shapes.noted(until)

    def forget(self, name: str, here: Coordinates) -> None:
        """What was stored of this table holds no more from `here` on."""
        self._shapes.forget(name, here)

    def captured(self, shown: TableMap, here: Coordinates) -> CapturedTable:
        """The version that a TABLE_MAP shows; `here` is where it stands, or its transaction begins."""
        return self.of(self._shapes.at(shown, here))

    def copied(self, shape: TableShape) -> CapturedTable:
        """The version that the catalogue shows, for a copy: the stream's own object where it is the same."""
        return self.of(self._shapes.reconciled(shape))

    def current(self, table: TableName) -> CapturedTable | None:
        """As the stream has it, as far as that is known; None where the table is gone."""
        shape = self._shapes.current(table.database, table.name)
        return None if shape is None else self.of(shape)

    def learn(self, tables: Iterable[TableName], here: Coordinates) -> None:
        """Tables that were met at `here`: know them before they change, where the log alone will not do."""
        self._shapes.learn([(table.database, table.name) for table in tables], here)

    def altered(self, said: Statement, tables: Iterable[TableName], here: Coordinates) -> None:
        """A statement redefines these tables; `here` is behind it."""
        self._shapes.altered(said, [(table.database, table.name) for table in tables], here)

    def loosened(self, table: CapturedTable, column: str) -> CapturedTable:
        """The same table with `column` nullable: a copy was read when it was."""
        self._nullable[table.name] = self._nullable.get(table.name, frozenset()) | {column}
        self._made = {shape: made for shape, made in self._made.items() if made.name != table.name}
        return self.of(table.shape)

    def of(self, shape: TableShape) -> CapturedTable:
        """This very version."""
        if shape not in self._made:
            self._made[shape] = self._make(shape)
        return self._made[shape]

    def _make(self, shape: TableShape) -> CapturedTable:
        nullable = self._nullable.get(shape.full, frozenset())
        forms = [
            Table(shape.full, tuple(_column(column, read(column), nullable) for column in shape.columns), shape.key)
            for read in (log_type, text_type)
        ]
        topic = topic_name(self.topic_prefix, shape.full)
        encoder, copier = bind(self._registry, topic, forms, SOURCE_SCHEMA[self._flavor])
        return CapturedTable(
            shape.full,
            topic,
            shape,
            shape.key,
            encoder,
            copier,
            SourceBlock(self._flavor, self._version, self.topic_prefix, shape.database, shape.name),
        )


def _column(shape: ColumnShape, kind: ColumnType, nullable: frozenset[str]) -> Column:
    return Column(shape.name, kind, may_be_null(shape) or shape.name in nullable, constant_default(shape))
