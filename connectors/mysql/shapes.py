"""What tables look like where the stream is, which may be far behind what the catalogue shows.

With ``binlog_row_metadata=FULL`` the log tells all that reading a row takes; the catalogue adds what events show beside
(defaults, declared types) where it agrees with the log. With less, a table's columns are known from the catalogue, and
only where no statement redefines the table between the stream and the log's end. Known shapes are kept with the offset.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from connectors.errors import LogGap, SourceError
from connectors.mysql.catalog import Catalog, hides_labels, is_same_text
from connectors.mysql.charsets import decoder
from connectors.mysql.coordinates import Coordinates, order
from connectors.mysql.shape import ColumnShape, TableShape, load
from connectors.mysql.statements import Kind, Statement
from connectors.mysql.tablemap import ENUM, GEOMETRY, SET, VECTOR, Metadata, TableMap
from connectors.mysql.tokens import Name

Scout = Callable[[Coordinates, Collection[Name]], Mapping[Name, Coordinates]]
"""Where between a place and the end of the log, as it is now, each of some tables is redefined first."""

STORED: Final = "shape:"
"""What the names of stored shapes begin with."""
_YEAR: Final = 13
_GEOMETRIES: Final = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    "geometrycollection",
)
_HINT: Final = "set binlog_row_metadata = FULL on the server, then run `tailrace offsets reset NAME` and start again"


def shapes_in(stored: Mapping[str, str]) -> dict[str, TableShape]:
    """Those that `Shapes.noted` gave, from what was stored with the offset."""
    return {key.removeprefix(STORED): load(text) for key, text in stored.items() if key.startswith(STORED)}


class Shapes:
    """`known` holds each table's shape at the place of the stream, by ``database.table``."""

    def __init__(self, catalog: Catalog, scout: Scout, known: Mapping[str, TableShape]) -> None:
        self._catalog = catalog
        self._scout = scout
        self._known = dict(known)
        self._before: dict[str, TableShape] = {}
        self._noted: list[tuple[int, str, TableShape | None]] = []
        """From where in the log on which table has which shape, None where that is not known; in the log's order."""

    def has_noted(self, until: int) -> bool:
        return bool(self._noted) and self._noted[0][0] <= until

    def noted(self, until: int) -> dict[str, str]:
        """What is to be stored with a position of this order, and is not noted any more.

        Shapes from behind it are for a later one: a run that begins there comes past what defines them.
        """
        found: dict[str, str] = {}
        while self.has_noted(until):
            _, full, shape = self._noted.pop(0)
            found[STORED + full] = shape.dump() if shape else ""
        return found

    def forget(self, full: str, here: Coordinates) -> None:
        """What was stored of this table holds no more from `here` on."""
        self._known.pop(full, None)
        self._note(full, None, here)

    def at(self, shown: TableMap, here: Coordinates) -> TableShape:
        """The shape of the rows behind a TABLE_MAP; `here` is where it stands, or its transaction begins.

        Raises LogGap where nobody can tell, SourceError, pymysql.MySQLError.
        """
        full = f"{shown.database}.{shown.name}"
        known = self._known.get(full)
        if shown.metadata is not None and shown.metadata.names:
            if known is None or not self._is(known, shown, shown.metadata):
                known = self._keep(self._from_log(shown, shown.metadata), here)
            return known
        if known is None:
            known = self._keep(self._certain((shown.database, shown.name), here), here)
        self._check(known, shown, here)
        return known

    def reconciled(self, now: TableShape) -> TableShape:
        """What the catalogue shows now: as known where both say the same, else with the labels that it hides."""
        known = self._known.get(now.full)
        return known if known is not None and _is_same(now, known) else self._catalog.with_labels(now)

    def current(self, database: str, name: str) -> TableShape | None:
        """As the stream has it, as far as that is known."""
        return self._known.get(f"{database}.{name}") or self._catalog.shape(database, name)

    def learn(self, tables: Iterable[Name], here: Coordinates) -> None:
        """Know these tables, met just now, before they change again. Needless where the log has all.

        Raises SourceError, pymysql.MySQLError.
        """
        if self._catalog.log_has_names():
            return
        found = {name: self._catalog.shape(*name) for name in tables if self._catalog.is_settled(*name)}
        redefined = self._scout(here, found.keys()) if found else {}
        for name, shape in found.items():
            if shape is not None and name not in redefined:
                self._keep(shape, here)

    def altered(self, said: Statement, tables: Iterable[Name], here: Coordinates) -> None:
        """A statement redefines `tables`; `here` is behind it. What it only renames keeps its columns."""
        moved: dict[str, TableShape | None] = {}
        for old, new in said.renames if said.kind is Kind.RENAME else ():
            shape = moved.pop(_full(old), None) if _full(old) in moved else self._known.get(_full(old))
            moved[_full(old)] = None
            moved[_full(new)] = None if shape is None else shape._replace(database=new[0], name=new[1])
        unknown = []
        for name in tables:
            shape = self._known.pop(_full(name), None)
            if shape is not None:
                self._before[_full(name)] = shape
            if (shape := moved.get(_full(name))) is not None:
                self._keep(shape, here)
            else:
                self._note(_full(name), None, here)
                unknown.append(name)
        self.learn(unknown, here)

    def _keep(self, shape: TableShape, here: Coordinates) -> TableShape:
        self._known[shape.full] = shape
        self._note(shape.full, shape, here)
        return shape

    def _note(self, full: str, shape: TableShape | None, here: Coordinates) -> None:
        self._noted.append((order(here), full, shape))

    def _certain(self, name: Name, here: Coordinates) -> TableShape:
        """What the catalogue shows is what `here` shows if nothing redefines the table between here and now."""
        shape = self._catalog.shape(*name)
        if shape is None and self._catalog.is_settled(*name):
            # A table that is filled by the statement that creates it is in the log before it can be seen.
            shape = self._catalog.shape(*name)
        redefined = self._scout(here, [name])
        if shape is not None and name not in redefined:
            return shape
        later = f"it was altered again at {redefined[name]}" if name in redefined else "it is gone"
        raise LogGap(
            f"{_full(name)}: the log has rows at {here} without the names of their columns, and what the table looked"
            f" like there is not known any more: {later}",
            _HINT,
        )

    def _check(self, known: TableShape, shown: TableMap, here: Coordinates) -> None:
        if differs := self._misfit(known, shown):
            raise LogGap(
                f"{known.full}: the rows at {here} were not written with the columns that are known: {differs}",
                _HINT,
            )
        for column in known.columns:
            if hides_labels(column):
                raise LogGap(
                    f"{known.full}.{column.name}: the catalogue shows a label as one with ?, and the log has no labels",
                    _HINT,
                )

    def _misfit(self, known: TableShape, shown: TableMap) -> str:
        """Empty where `shown` may be the table as known, else how they differ."""
        if len(known.columns) != len(shown.kinds):
            return f"{len(known.columns)} columns are known, the log has {len(shown.kinds)}"
        for i, column in enumerate(known.columns):
            if (column.kind, column.meta) != (shown.kinds[i], shown.metas[i]):
                return f"{column.name} is a {column.declared}, in the log a type {shown.kinds[i]} ({shown.metas[i]:#x})"
            if column.optional != shown.optional[i]:
                return f"{column.name} may{'' if column.optional else ' not'} be NULL, in the log it is the reverse"
            if shown.metadata is not None:
                if shown.metadata.unsigned and column.unsigned != _unsigned(shown, shown.metadata, i):
                    return f"{column.name} is a {column.declared}, in the log it has the other sign"
                charset = self._charset(shown, shown.metadata, i)
                if charset and charset != column.charset:
                    return f"{column.name} is in {column.charset}, in the log in {charset}"
        return ""

    def _is(self, known: TableShape, shown: TableMap, metadata: Metadata) -> bool:
        return (
            tuple(column.name for column in known.columns) == metadata.names
            and not self._misfit(known, shown)
            and metadata.key == known.key
            and all(
                column.labels == self._labels(shown, metadata, i)
                for i, column in enumerate(known.columns)
                if column.kind in (ENUM, SET)
            )
        )

    def _from_log(self, shown: TableMap, metadata: Metadata) -> TableShape:
        full = f"{shown.database}.{shown.name}"
        others = (self._catalog.shape(shown.database, shown.name), self._known.get(full), self._before.get(full))
        hints = [shape for shape in others if shape is not None]
        columns = tuple(self._column(shown, metadata, i, hints) for i in range(len(shown.kinds)))
        return TableShape(shown.database, shown.name, columns, metadata.key)

    def _column(self, shown: TableMap, metadata: Metadata, i: int, hints: list[TableShape]) -> ColumnShape:
        kind = shown.kinds[i]
        column = ColumnShape(
            metadata.names[i],
            kind,
            shown.metas[i],
            _unsigned(shown, metadata, i),
            shown.optional[i],
            self._charset(shown, metadata, i),
            self._labels(shown, metadata, i),
        )
        for shape in hints:
            for hint in shape.columns:
                if _agrees(hint, column):
                    return column._replace(declared=hint.declared, default=hint.default)
        if kind == GEOMETRY and metadata.geometries:
            return column._replace(declared=_GEOMETRIES[metadata.geometries[i]])
        if kind == VECTOR and metadata.dimensions:
            return column._replace(declared=f"vector({metadata.dimensions[i]})")
        return column

    def _charset(self, shown: TableMap, metadata: Metadata, i: int) -> str:
        collation = metadata.collations[i]
        if not collation or shown.kinds[i] in (GEOMETRY, VECTOR):
            return ""
        if not (charset := self._catalog.charset(collation)):
            raise SourceError(
                f"{shown.database}.{shown.name}: the log names collation {collation}, which the server does not know",
                "read the log from a server of the version that wrote it",
            )
        return charset

    def _labels(self, shown: TableMap, metadata: Metadata, i: int) -> tuple[str, ...]:
        if shown.kinds[i] not in (ENUM, SET):
            return ()
        charset = self._charset(shown, metadata, i)
        if charset == "binary":
            return tuple(label.decode(errors="backslashreplace") for label in metadata.labels[i])
        return tuple(map(decoder(charset), metadata.labels[i]))


def _full(name: Name) -> str:
    return f"{name[0]}.{name[1]}"


def _unsigned(shown: TableMap, metadata: Metadata, i: int) -> bool:
    """The log calls every YEAR unsigned, the catalogue none."""
    return bool(metadata.unsigned) and metadata.unsigned[i] and shown.kinds[i] != _YEAR


def _agrees(hint: ColumnShape, column: ColumnShape) -> bool:
    """Whether the catalogue's column is the log's, so that its declaration holds there too."""
    return hint[:4] == column[:4] and hint.charset == column.charset and _same_labels(hint, column)


def _same_labels(catalogued: ColumnShape, column: ColumnShape) -> bool:
    return len(catalogued.labels) == len(column.labels) and all(map(is_same_text, catalogued.labels, column.labels))


def _is_same(now: TableShape, known: TableShape) -> bool:
    """But for what the catalogue shows as ``?``, in labels and in declarations made of them."""
    return (
        len(now.columns) == len(known.columns)
        and now.key == known.key
        and all(
            _agrees(a, b) and (a.optional, a.default) == (b.optional, b.default)
            for a, b in zip(now.columns, known.columns, strict=True)
        )
    )
