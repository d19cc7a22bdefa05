"""What the catalogue says of tables now; the log says what they looked like then.

Kinds and metas are computed as the server writes them into TABLE_MAP, so that both can be compared. Sources: MySQL,
sql/field.cc (``do_save_field_metadata``); MariaDB, sql/field.cc (``binlog_type_info``). The catalogue's texts are
utf8mb3: a character beyond the Basic Multilingual Plane in a label or default is shown as ``?``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pymysql
from pymysql.constants import ER, FIELD_TYPE

from connectors.errors import SourceError
from connectors.mysql.connection import GONE, LOCK_TIMEOUT_S, Server, run, searching
from connectors.mysql.names import SYSTEM_DATABASES, TableName, quoted
from connectors.mysql.shape import ColumnShape, TableShape
from connectors.mysql.tablemap import COMPRESSED_BLOB, COMPRESSED_VARCHAR, ENUM, GEOMETRY, SET, STRING, VECTOR

_TABLES_SQL = f"""
    select table_schema, table_name, coalesce(table_rows, 0) from information_schema.tables
    where table_type in ('BASE TABLE', 'SYSTEM VERSIONED')
      and table_schema not in {tuple(sorted(SYSTEM_DATABASES))}
    order by table_schema, table_name
"""

# Equality lets the server look at one table alone; it ignores case and accents, which the casts do not.
_THIS_TABLE = """
    table_schema = %(database)s and cast(table_schema as binary) = cast(%(database)s as binary)
    and table_name = %(name)s and cast(table_name as binary) = cast(%(name)s as binary)
"""

_COLUMNS_SQL = f"""
    select column_name, data_type, column_type, is_nullable, column_default, extra, character_set_name,
           character_octet_length, numeric_precision, numeric_scale, datetime_precision, generation_expression
    from information_schema.columns where {_THIS_TABLE} order by ordinal_position
"""

_VERSIONED_SQL = f"select 1 from information_schema.tables where {_THIS_TABLE} and table_type = 'SYSTEM VERSIONED'"

_JSON_SQL = """
    select constraint_name from information_schema.check_constraints
    where constraint_schema = %(database)s and table_name = %(name)s and level = 'Column'
      and check_clause = concat('json_valid(`', replace(constraint_name, '`', '``'), '`)')
"""

_INTEGERS = {
    "tinyint": FIELD_TYPE.TINY,
    "smallint": FIELD_TYPE.SHORT,
    "mediumint": FIELD_TYPE.INT24,
    "int": FIELD_TYPE.LONG,
    "bigint": FIELD_TYPE.LONGLONG,
}
_TEMPORALS = {"datetime": 18, "timestamp": 17, "time": 19}
_TEMPORALS_BEFORE_5_6 = {"datetime": 12, "timestamp": 7, "time": 11}
_BLOBS = {"tiny": 1, "": 2, "medium": 3, "long": 4}
_GEOMETRIES = {
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
}
_STORED_BYTES = {"uuid": 16, "inet6": 16, "inet4": 4}
_HAS_CHARSET = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPED = re.compile(r"''|\\(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r"}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")
_NOW = re.compile(r"current_timestamp(\(\d*\))?", re.IGNORECASE)


class CatalogColumn(NamedTuple):
    """A row of information_schema.columns."""

    name: str
    data_type: str
    column_type: str
    is_nullable: str
    default: str | None
    extra: str
    charset: str | None
    size_bytes: int | None
    precision: int | None
    scale: int | None
    fraction: int | None
    generation: str | None


class Catalog:
    """Reads the catalogue over one ordinary connection. Methods raise pymysql.MySQLError."""

    def __init__(self, connection: "pymysql.connections.Connection[Any]", server: Server) -> None:
        self._connection = connection
        self._is_mariadb = server.flavor == "mariadb"
        self._server = server
        self._charsets: dict[int, str] = {}
        self._told: dict[TableShape, TableShape] = {}
        ((fold,),) = self._rows("select @@lower_case_table_names")
        self.ignores_case = bool(fold)
        """Statements may spell a table's name as they like."""
        if not self._is_mariadb and server.version >= (8, 0, 30):
            self._rows("set session show_gipk_in_create_table_and_information_schema = on")

    def tables(self) -> list[TableName]:
        """Every user table; no views, no sequences."""
        return [TableName(database, name, int(rows)) for database, name, rows in self._rows(_TABLES_SQL)]

    def shape(self, database: str, name: str) -> TableShape | None:
        """The table as it is now, None where it is gone. Raises SourceError for a type that we do not know."""
        where = {"database": database, "name": name}
        columns = [CatalogColumn(*row) for row in self._rows(_COLUMNS_SQL, where)]
        if not columns:
            return None
        documents = {row[0] for row in self._rows(_JSON_SQL, where)} if self._is_mariadb else set[str]()
        shapes = [self._column(f"{database}.{name}", column, documents) for column in columns]
        try:
            key = _key(shapes, self._unique_indexes(database, name))
        except pymysql.MySQLError as error:
            if error.args[0] in GONE:
                return None
            raise
        if self._is_mariadb and self._hides_its_period(columns, where):
            shapes += [ColumnShape(name, 17, 6, optional=False, declared="timestamp(6)") for name in _PERIOD]
            key = (*key, len(shapes) - 1) if key else key
        return TableShape(database, name, tuple(shapes), key)

    def _unique_indexes(self, database: str, name: str) -> dict[str, list[tuple[str | None, bool]]]:
        """Each with its parts, (column or None for an expression, whether it is a prefix), in the server's order."""
        indexes: dict[str, list[tuple[str | None, bool]]] = {}
        for row in self._rows(f"show index from {quoted(database)}.{quoted(name)}"):
            non_unique, index, column, prefix = row[1], row[2], row[4], row[7]
            if not non_unique:
                indexes.setdefault(index, []).append((column, prefix is not None))
        return indexes

    def log_has_names(self) -> bool:
        """Whether the server writes all of a table into the log from now on."""
        return bool(self._rows("select @@global.binlog_row_metadata = 'FULL'")[0][0])

    def is_settled(self, database: str, name: str) -> bool:
        """Wait until no statement that redefines the table is under way. False where that takes too long.

        A statement stands in the log before the catalogue shows what it did; the lock on the table is held until then.
        """
        self._rows("set session lock_wait_timeout = 1")
        try:
            self._rows(f"select 1 from {quoted(database)}.{quoted(name)} limit 0")
        except pymysql.MySQLError as error:
            if error.args[0] == ER.LOCK_WAIT_TIMEOUT:
                return False
            if error.args[0] not in GONE:
                raise
        finally:
            self._rows(f"set session lock_wait_timeout = {LOCK_TIMEOUT_S}")
        return True

    def with_labels(self, shape: TableShape) -> TableShape:
        """`shape` with the labels that the catalogue hides, as far as rows have them."""
        if not any(map(hides_labels, shape.columns)):
            return shape
        if shape not in self._told:
            try:
                with searching(self._connection):
                    columns = [self._told_column(shape, c) if hides_labels(c) else c for c in shape.columns]
            except pymysql.MySQLError as error:
                if error.args[0] in GONE:
                    return shape
                raise
            self._told[shape] = shape._replace(columns=tuple(columns))
        return self._told[shape]

    def _told_column(self, shape: TableShape, column: ColumnShape) -> ColumnShape:
        told = list(column.labels)
        table, name = f"{quoted(shape.database)}.{quoted(shape.name)}", quoted(column.name)
        for i, label in enumerate(told):
            if "?" not in label:
                continue
            # A set is a number with a bit for each label, and its text has the labels in the order of the bits.
            wanted = f"{name} & {1 << i}" if column.kind == SET else f"{name} = {i + 1}"
            found = self._rows(f"select {name} + 0, {name} from {table} where {wanted} limit 1")
            for number, text in found:
                nth = (int(number) & (1 << i) - 1).bit_count()
                told[i] = text.split(",")[nth] if column.kind == SET else text
        return column._replace(labels=tuple(told))

    def charset(self, collation: int) -> str:
        """The charset that a collation's id in the log stands for; empty for one that the server does not know."""
        if not self._charsets:
            source = "collations"
            # There are collations of several charsets, which have no id of their own in `collations`.
            if self._is_mariadb and self._server.version >= (10, 10):
                source = "collation_character_set_applicability"
            rows = self._rows(f"select id, character_set_name from information_schema.{source} where id is not null")
            self._charsets = {int(row[0]): row[1] for row in rows}
        return self._charsets.get(collation, "")

    def _hides_its_period(self, columns: Iterable[CatalogColumn], where: Mapping[str, str]) -> bool:
        """A system-versioned table without period columns of its own has two that only the log shows.

        Behind every unique index then stands the second, for each row's old versions have its key.
        """
        if any(column.generation == "ROW START" for column in columns):
            return False
        return bool(self._rows(_VERSIONED_SQL, where))

    def _column(self, table: str, column: CatalogColumn, documents: set[str]) -> ColumnShape:
        kind, meta = _kind(table, column, self._is_mariadb)
        charset = column.charset or ""
        if not charset and kind in (STRING, 15, 252, COMPRESSED_BLOB, COMPRESSED_VARCHAR, ENUM, SET):
            charset = "binary"
        return ColumnShape(
            column.name,
            kind,
            meta,
            unsigned=column.data_type not in ("enum", "set") and "unsigned" in column.column_type.split(),
            optional=column.is_nullable == "YES",
            charset=charset,
            labels=labels(column.column_type) if kind in (ENUM, SET) else (),
            declared="json" if column.name in documents else column.column_type,
            default=self._default(column, charset),
        )

    def _default(self, column: CatalogColumn, charset: str) -> str | None:
        """The text of a constant; CURRENT_TIMESTAMP for a time's computed default. None for what cannot be told."""
        text = column.default
        if text is None or charset == "binary" or column.generation:
            return None
        is_text = column.data_type in _HAS_CHARSET
        if _NOW.fullmatch(text) and not is_text:
            return "CURRENT_TIMESTAMP"
        if self._is_mariadb:
            if quoted := _LABEL.fullmatch(text):
                text = _unescaped(quoted[1])
            elif not (_NUMBER.fullmatch(text) or text.startswith("b'")):
                return None
        elif "DEFAULT_GENERATED" in column.extra:
            return None
        return None if "?" in text and is_text and _holds_any_character(charset) else text

    def _rows(self, sql: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return run(self._connection, sql, values)


_PERIOD = ("row_start", "row_end")


def labels(column_type: str) -> tuple[str, ...]:
    """Of ``enum('a','it''s')``."""
    return tuple(_unescaped(match[1]) for match in _LABEL.finditer(column_type))


def hides_labels(column: ColumnShape) -> bool:
    """Whether a label may be another than the catalogue shows."""
    return _holds_any_character(column.charset) and any("?" in label for label in column.labels)


def is_same_text(catalogued: str, text: str) -> bool:
    """Whether the catalogue may show `text` like that."""
    return catalogued == text or catalogued == _BEYOND_BMP.sub("?", text)


def _holds_any_character(charset: str) -> bool:
    """Whether the catalogue may show ``?`` for another character."""
    return charset in ("utf8mb4", "utf16", "utf16le", "utf32", "gb18030")


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]) if found[1] else "'", text)


def _key(columns: list[ColumnShape], indexes: Mapping[str, list[tuple[str | None, bool]]]) -> tuple[int, ...]:
    """The primary key, else the first unique index over whole columns that are NOT NULL: as the log shows it."""
    at = {column.name: i for i, column in enumerate(columns)}
    for index, parts in indexes.items():
        key = [at[name] for name, _ in parts if name is not None]
        is_whole = len(key) == len(parts) and not any(is_prefix for _, is_prefix in parts)
        if index == "PRIMARY" or (is_whole and not any(columns[i].optional for i in key)):
            return tuple(key)
    return ()


def _kind(table: str, column: CatalogColumn, is_mariadb: bool) -> tuple[int, int]:
    """The log's type code and metadata."""
    name = column.data_type
    if name in _INTEGERS:
        return _INTEGERS[name], 0
    if name in _TEMPORALS:
        if "mariadb-5.3" in column.column_type:
            return _TEMPORALS_BEFORE_5_6[name], 0
        return _TEMPORALS[name], column.fraction or 0
    if name in ("enum", "set"):
        return _labelled(name, len(labels(column.column_type)))
    if name == "decimal":
        return 246, (column.precision or 0) | (column.scale or 0) << 8
    if name == "bit":
        return 16, (column.precision or 0) % 8 | (column.precision or 0) // 8 << 8
    if name in _STORED_BYTES:
        return STRING, STRING | _STORED_BYTES[name] << 8
    if name in _GEOMETRIES:
        return GEOMETRY, 4
    if name == "vector":
        return (15, column.size_bytes or 0) if is_mariadb else (VECTOR, 4)
    if name in _PLAIN:
        return _PLAIN[name]
    if (found := _sized(name, column)) is not None:
        return found
    raise SourceError(
        f"{table}.{column.name} is a {column.column_type}, which this version does not know",
        "leave the table out of source.tables",
    )


_PLAIN = {"float": (4, 4), "double": (5, 8), "year": (13, 0), "date": (10, 0), "json": (245, 4)}


def _sized(name: str, column: CatalogColumn) -> tuple[int, int] | None:
    size = column.size_bytes or 0
    is_compressed = "COMPRESSED*/" in column.column_type
    if name in ("char", "binary"):
        # Lengths above 255 borrow two bits of the type.
        return STRING, (STRING ^ (size & 0x300) >> 4) | (size & 0xFF) << 8
    if name in ("varchar", "varbinary"):
        return (COMPRESSED_VARCHAR, size + 1) if is_compressed else (15, size)
    for suffix in ("text", "blob"):
        if name.endswith(suffix) and name.removesuffix(suffix) in _BLOBS:
            return COMPRESSED_BLOB if is_compressed else 252, _BLOBS[name.removesuffix(suffix)]
    return None


def _labelled(name: str, count: int) -> tuple[int, int]:
    if name == "enum":
        return ENUM, ENUM | (1 if count < 256 else 2) << 8
    size = (count + 7) // 8
    return SET, SET | (8 if size > 4 else size) << 8
