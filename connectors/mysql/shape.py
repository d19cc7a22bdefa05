"""What a table looked like at one point of the log: as much of it as log and catalogue tell."""

import json
from typing import NamedTuple


class ColumnShape(NamedTuple):
    """One column.

    `kind` is the log's type code (pymysql.constants.FIELD_TYPE, and MariaDB's 140 and 141), with ENUM and
    SET told from STRING; `meta` its two bytes of metadata, the first one low. `charset` is the server's name for that
    of a text, enum or set column, ``binary`` for what is no text, empty where it has none. `labels` belong to ENUM
    and SET. `declared` is the catalogue's COLUMN_TYPE (``int(10) unsigned zerofill``, ``uuid``), `default` the text
    of a constant default; both are empty where only the log is known.
    """

    name: str
    kind: int
    meta: int = 0
    unsigned: bool = False
    optional: bool = True
    charset: str = ""
    labels: tuple[str, ...] = ()
    declared: str = ""
    default: str | None = None


class TableShape(NamedTuple):
    """One version of a table. `key` holds column indexes in key order, empty where rows have no identity."""

    database: str
    name: str
    columns: tuple[ColumnShape, ...]
    key: tuple[int, ...]

    @property
    def full(self) -> str:
        return f"{self.database}.{self.name}"

    def dump(self) -> str:
        """As JSON, for the offset."""
        return json.dumps(self, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> TableShape:
    """What `dump` wrote; a field that it did not know yet has its default."""
    database, name, columns, key = json.loads(text)
    shapes = [ColumnShape(*column)._replace(labels=tuple(column[6])) for column in columns]
    return TableShape(database, name, tuple(shapes), tuple(key))
