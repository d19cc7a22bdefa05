"""TABLE_MAP: what the log says of a table before it shows rows of it.

Sources: MySQL's ``Table_map_event`` in libs/mysql/binlog/event/rows_event.h, and ``Table_map_log_event`` in MariaDB's
sql/log_event_server.cc. Both write the same form; they differ in which columns count as text.
"""

from typing import Final, NamedTuple

from connectors.mysql.rows import HEADER_BYTES, MalformedEvent

COMPRESSED_BLOB: Final = 140
COMPRESSED_VARCHAR: Final = 141
VECTOR: Final = 242
ENUM: Final = 247
SET: Final = 248
STRING: Final = 254
GEOMETRY: Final = 255

_META_BYTES: Final = {
    **dict.fromkeys((0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14), 0),
    **dict.fromkeys((4, 5, 17, 18, 19, COMPRESSED_BLOB, VECTOR, 245, 249, 250, 251, 252, GEOMETRY), 1),
    **dict.fromkeys((15, 16, COMPRESSED_VARCHAR, 246, ENUM, SET, 253, STRING), 2),
}
_NUMERIC: Final = frozenset((1, 2, 3, 4, 5, 8, 9, 13, 246))
_TEXT: Final = frozenset((15, 249, 250, 251, 252, 253, STRING))
_MYSQL_TEXT: Final = _TEXT | {VECTOR}
_MARIADB_TEXT: Final = _TEXT | {COMPRESSED_BLOB, COMPRESSED_VARCHAR, GEOMETRY}

_SIGNEDNESS: Final = 1
_DEFAULT_COLLATION: Final = 2
_COLLATIONS: Final = 3
_NAMES: Final = 4
_SET_LABELS: Final = 5
_ENUM_LABELS: Final = 6
_GEOMETRIES: Final = 7
_KEY: Final = 8
_KEY_WITH_PREFIXES: Final = 9
_DEFAULT_LABEL_COLLATION: Final = 10
_LABEL_COLLATIONS: Final = 11
_VISIBILITY: Final = 12
_DIMENSIONS: Final = 13


class Metadata(NamedTuple):
    """The optional part: one item a column, but for `key`; an empty tuple for what the server left out.

    `collations` are ids, 0 for a column without text; `labels` are in their column's charset; `geometries` count from
    0, GEOMETRY, to 7, GEOMETRYCOLLECTION; `key` holds the primary key's column indexes in key order, `prefixes` the
    length of each part's prefix, 0 for a whole column. The fields behind `geometries` come with
    ``binlog_row_metadata=FULL`` alone.
    """

    unsigned: tuple[bool, ...]
    collations: tuple[int, ...]
    geometries: tuple[int, ...]
    dimensions: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[tuple[bytes, ...], ...]
    key: tuple[int, ...]
    prefixes: tuple[int, ...]
    visible: tuple[bool, ...]


class TableMap(NamedTuple):
    """`table_id` is the rows events' name for the table; `kinds`, `metas` and `optional` (may be NULL) are by column.

    ENUM and SET are told from STRING; metas are as in shape.py. `metadata` is None where the server writes none.
    """

    table_id: int
    database: str
    name: str
    kinds: tuple[int, ...]
    metas: tuple[int, ...]
    optional: tuple[bool, ...]
    metadata: Metadata | None


def table_map(event: bytes, is_mariadb: bool) -> TableMap:
    """Reads a TABLE_MAP event. Raises MalformedEvent for one that is cut or holds an unknown column type."""
    at = HEADER_BYTES
    table_id = int.from_bytes(event[at : at + 6], "little")
    try:
        return _table_map(event, table_id, is_mariadb)
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedEvent(f"a TABLE_MAP event of {len(event)} bytes is malformed: {error}") from error


def _table_map(event: bytes, table_id: int, is_mariadb: bool) -> TableMap:
    # Six bytes of table id, two of flags; names are length, bytes, 0x00.
    at = HEADER_BYTES + 8
    database = _cut(event, at + 1, event[at])
    at += event[at] + 2
    name = _cut(event, at + 1, event[at])
    at += event[at] + 2
    count, at = _packed(event, at)
    codes = _cut(event, at, count)
    meta_bytes, at = _packed(event, at + count)
    kinds, metas = _kinds(codes, _cut(event, at, meta_bytes))
    at += meta_bytes
    nulls = _cut(event, at, (count + 7) // 8)
    optional = tuple([nulls[i >> 3] >> (i & 7) & 1 == 1 for i in range(count)])
    at += len(nulls)
    metadata = _metadata(event, at, kinds, is_mariadb) if at < len(event) else None
    return TableMap(table_id, database.decode(), name.decode(), kinds, metas, optional, metadata)


def _kinds(codes: bytes, meta: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kinds: list[int] = []
    metas: list[int] = []
    at = 0
    for code in codes:
        size = _META_BYTES.get(code, -1)
        if size < 0:
            raise MalformedEvent(f"a TABLE_MAP event holds the unknown column type {code}")
        value = int.from_bytes(_cut(meta, at, size), "little")
        at += size
        # A STRING's first byte is its real type, of which CHAR's longer than 255 bytes borrow two bits.
        kinds.append(value & 0xFF if code == STRING and value & 0xFF in (ENUM, SET) else code)
        metas.append(value)
    return tuple(kinds), tuple(metas)


def _metadata(event: bytes, at: int, kinds: tuple[int, ...], is_mariadb: bool) -> Metadata:
    """Fields of type, packed length, content, in any order."""
    fields: dict[int, bytes] = {}
    while at < len(event):
        size, start = _packed(event, at + 1)
        fields[event[at]] = _cut(event, start, size)
        at = start + size
    text = _MARIADB_TEXT if is_mariadb else _MYSQL_TEXT
    collations = [0] * len(kinds)
    _spread(collations, _positions(kinds, text), fields.get(_DEFAULT_COLLATION), fields.get(_COLLATIONS))
    labelled = _positions(kinds, frozenset((ENUM, SET)))
    _spread(collations, labelled, fields.get(_DEFAULT_LABEL_COLLATION), fields.get(_LABEL_COLLATIONS))
    key, prefixes = _key(fields)
    return Metadata(
        _unsigned(kinds, fields[_SIGNEDNESS]) if _SIGNEDNESS in fields else (),
        tuple(collations),
        _placed(kinds, GEOMETRY, fields.get(_GEOMETRIES)),
        _placed(kinds, VECTOR, fields.get(_DIMENSIONS)),
        tuple([name.decode() for name in _strings(fields.get(_NAMES, b""))]),
        _labels(kinds, fields),
        key,
        prefixes,
        tuple(_bits(fields[_VISIBILITY], len(kinds))) if _VISIBILITY in fields else (),
    )


def _unsigned(kinds: tuple[int, ...], field: bytes) -> tuple[bool, ...]:
    unsigned = [False] * len(kinds)
    numeric = _positions(kinds, _NUMERIC)
    bits = _bits(field, len(numeric))
    for nth, i in enumerate(numeric):
        unsigned[i] = bits[nth]
    return tuple(unsigned)


def _spread(collations: list[int], columns: list[int], default: bytes | None, each: bytes | None) -> None:
    """Either one collation with its exceptions, as pairs of position and id, or one for each of `columns`."""
    if default is not None:
        numbers = _numbers(default)
        for i in columns:
            collations[i] = numbers[0]
        for at in range(1, len(numbers), 2):
            collations[columns[numbers[at]]] = numbers[at + 1]
    elif each is not None:
        numbers = _numbers(each)
        for nth, i in enumerate(columns):
            collations[i] = numbers[nth]


def _placed(kinds: tuple[int, ...], kind: int, field: bytes | None) -> tuple[int, ...]:
    if field is None:
        return ()
    placed = [0] * len(kinds)
    numbers = _numbers(field)
    for nth, i in enumerate(_positions(kinds, frozenset((kind,)))):
        placed[i] = numbers[nth]
    return tuple(placed)


def _labels(kinds: tuple[int, ...], fields: dict[int, bytes]) -> tuple[tuple[bytes, ...], ...]:
    if _SET_LABELS not in fields and _ENUM_LABELS not in fields:
        return ()
    labels: list[tuple[bytes, ...]] = [()] * len(kinds)
    for kind, number in ((SET, _SET_LABELS), (ENUM, _ENUM_LABELS)):
        field = fields.get(number, b"")
        at = 0
        for i in _positions(kinds, frozenset((kind,))):
            count, at = _packed(field, at)
            texts: list[bytes] = []
            for _ in range(count):
                size, at = _packed(field, at)
                texts.append(_cut(field, at, size))
                at += size
            labels[i] = tuple(texts)
    return tuple(labels)


def _key(fields: dict[int, bytes]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if _KEY in fields:
        columns = _numbers(fields[_KEY])
        return tuple(columns), (0,) * len(columns)
    pairs = _numbers(fields.get(_KEY_WITH_PREFIXES, b""))
    return tuple(pairs[0::2]), tuple(pairs[1::2])


def _positions(kinds: tuple[int, ...], wanted: frozenset[int]) -> list[int]:
    return [i for i, kind in enumerate(kinds) if kind in wanted]


def _bits(field: bytes, count: int) -> list[bool]:
    """The first column's bit is the highest."""
    return [field[i >> 3] >> (7 - (i & 7)) & 1 == 1 for i in range(count)]


def _numbers(field: bytes) -> list[int]:
    numbers: list[int] = []
    at = 0
    while at < len(field):
        number, at = _packed(field, at)
        numbers.append(number)
    return numbers


def _strings(field: bytes) -> list[bytes]:
    strings: list[bytes] = []
    at = 0
    while at < len(field):
        size, at = _packed(field, at)
        strings.append(_cut(field, at, size))
        at += size
    return strings


def _packed(data: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer and where it ends."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}.get(first, 0)
    if not size:
        raise IndexError(f"{first} begins no number")
    return int.from_bytes(_cut(data, at + 1, size), "little"), at + 1 + size


def _cut(data: bytes, start: int, size: int) -> bytes:
    """Slices are silent about an end that is not there."""
    if start + size > len(data):
        raise IndexError(f"{size} bytes from {start} on lie behind the end")
    return data[start : start + size]
