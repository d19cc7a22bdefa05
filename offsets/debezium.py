"""Debezium's stored offset of a Postgres, MySQL or MariaDB connector, as its users can lay hands on it.

Sources: Debezium's `PostgresOffsetContext` and `BinlogOffsetContext` and Kafka Connect's `FileOffsetBackingStore` for
the contents, "Java Object Serialization Specification", chapter 6, for the file's grammar.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from offsets.errors import OffsetUnreadable
from offsets.position import Position

_JAVA_MAGIC = b"\xac\xed\x00\x05"
_NULL, _REFERENCE, _CLASS, _OBJECT, _ARRAY, _BLOCK, _END = 0x70, 0x71, 0x72, 0x73, 0x75, 0x77, 0x78
_MAP_NUMBERS_BYTES = 8  # HashMap's fields loadFactor and threshold
_LSNS = ("lsn", "lsn_proc", "lsn_commit")
_HINT = (
    'give Kafka Connect\'s offset of a connector as JSON ({"lsn": ...} or {"file": ..., "pos": ...}, with or without '
    "its key), the file of offset.storage.file.filename, or what offset.storage.topic or the JDBC store holds"
)


class PostgresOffset(NamedTuple):
    """LSNs as integers, None where Debezium stored none.

    `connector` is Debezium's name, `server` its topic prefix; both "" where the key is missing.
    """

    connector: str
    server: str
    lsn: int | None
    lsn_proc: int | None
    lsn_commit: int | None
    transaction: int | None
    stored_at: datetime | None
    in_snapshot: bool

    def suits(self, source_type: str) -> bool:
        """Whether a source of this type can resume here."""
        return source_type == "postgres"

    def facts(self) -> list[tuple[str, str]]:
        """What was read, as (name, text)."""
        lsns = zip(_LSNS, (self.lsn, self.lsn_proc, self.lsn_commit), strict=True)
        shown = [(name, "-" if lsn is None else f"{lsn} = {_lsn(lsn)}") for name, lsn in lsns]
        return [*shown, ("txId", str(self.transaction or "-"))]

    def resume(self, earliest: Position) -> str:
        """The position to resume behind, given where the slot begins: everything after it is delivered again or for
        the first time.

        `lsn_commit` ends the last transaction that went out whole. Before the first one Debezium has no place to
        resume from but the slot's own, and neither have we.
        """
        if self.lsn_commit is not None:
            return _lsn(self.lsn_commit)
        return _lsn(min(lsn for lsn in (earliest.order, self.lsn, self.lsn_proc) if lsn is not None))


class MysqlOffset(NamedTuple):
    """`file`, `pos` and `gtids` lie before the transaction that was being delivered; `event` and `row` count what of
    it was. `gtids` is "" where the server writes none. `connector` and `server` are as PostgresOffset has them."""

    connector: str
    server: str
    file: str
    pos: int
    gtids: str
    event: int
    row: int
    stored_at: datetime | None
    in_snapshot: bool

    def suits(self, source_type: str) -> bool:
        return source_type in ("mysql", "mariadb")

    def facts(self) -> list[tuple[str, str]]:
        return [
            ("file", self.file),
            ("pos", str(self.pos)),
            ("gtids", self.gtids or "-"),
            ("event", str(self.event)),
            ("row", str(self.row)),
        ]

    def resume(self, earliest: Position) -> str:
        """The transaction that was being delivered comes again as a whole.

        By GTIDs where there are some: `pos` then lies behind the log event that gives the transaction its GTID.
        """
        return self.gtids or f"{self.file}:{self.pos}"


DebeziumOffset = PostgresOffset | MysqlOffset


def read(content: bytes, name: str) -> list[DebeziumOffset]:
    """Every offset in a file's `content`, as `decode` gives them."""
    try:
        is_java = content.startswith(_JAVA_MAGIC)
        pairs = list(_loaded(_JavaMap(content).pairs()) if is_java else _json_pairs(content.decode()))
    except (ValueError, IndexError, RecursionError) as error:
        raise _unreadable(name, error) from None
    return _offsets(pairs, name)


def decode(pairs: Iterable[tuple[bytes | None, bytes | None]], name: str) -> list[DebeziumOffset]:
    """The offsets of a store's keys and values, JSON each, oldest first. The last value of a key holds; none is gone.

    What other connectors store is left out where there is an offset beside it that can be taken over. Raises
    OffsetUnreadable, which says `name`.
    """
    try:
        values = list(_loaded(pairs))
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, error) from None
    return _offsets(values, name)


def _offsets(pairs: Iterable[tuple[Any, Any]], name: str) -> list[DebeziumOffset]:
    found = {_names(key): value for key, value in pairs}
    offsets: list[DebeziumOffset] = []
    refused: OffsetUnreadable | None = None
    for names, value in found.items():
        if value is None:
            continue
        try:
            offsets.append(_offset(*names, value, name))
        except OffsetUnreadable as error:
            refused = refused or error
    if not offsets:
        raise refused or OffsetUnreadable(f"{name} holds no Debezium offset", _HINT)
    return offsets


def _unreadable(name: str, error: Exception) -> OffsetUnreadable:
    return OffsetUnreadable(f"{name} cannot be read as a Debezium offset: {error}", _HINT)


def _offset(connector: str, server: str, value: Any, name: str) -> DebeziumOffset:
    if isinstance(value, dict) and any(_number(value, key) is not None for key in _LSNS):
        return _postgres(connector, server, value)
    if isinstance(value, dict) and isinstance(value.get("file"), str) and _number(value, "pos") is not None:
        return _mysql(connector, server, value)
    shown = ", ".join(value) if isinstance(value, dict) else type(value).__name__
    raise OffsetUnreadable(f"{name} holds no offset that can be taken over: it has {shown}, no lsn and no file", _HINT)


def _postgres(connector: str, server: str, value: dict[str, Any]) -> PostgresOffset:
    at_us = _number(value, "ts_usec")
    return PostgresOffset(
        connector,
        server,
        _number(value, "lsn"),
        _number(value, "lsn_proc"),
        _number(value, "lsn_commit"),
        _number(value, "txId"),
        datetime.fromtimestamp(at_us / 1e6, UTC) if at_us is not None else None,
        _in_snapshot(value),
    )


def _mysql(connector: str, server: str, value: dict[str, Any]) -> MysqlOffset:
    at_s = _number(value, "ts_sec")
    return MysqlOffset(
        connector,
        server,
        value["file"],
        _number(value, "pos") or 0,
        "".join(str(value.get("gtids") or "").split()),
        _number(value, "event") or 0,
        _number(value, "row") or 0,
        datetime.fromtimestamp(at_s, UTC) if at_s is not None else None,
        _in_snapshot(value),
    )


def _in_snapshot(value: dict[str, Any]) -> bool:
    """Releases write a boolean or the kind of snapshot ("INITIAL"); the last row's mark says it is whole."""
    return bool(value.get("snapshot")) and not value.get("last_snapshot_record") and not value.get("snapshot_completed")


def _lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def _number(value: dict[str, Any], key: str) -> int | None:
    number = value.get(key)
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def _names(key: Any) -> tuple[str, str]:
    """(connector, server) of a key, which is ``["<connector>", {"server": "<prefix>"}]``."""
    if isinstance(key, list) and len(key) == 2 and isinstance(key[1], dict):
        return str(key[0]), str(key[1].get("server", ""))
    return "", ""


def _json_pairs(text: str) -> Iterator[tuple[Any, Any]]:
    """Values, keys each followed by its value, or lists of the two, in any white space: what consumers print."""
    values = list(_json_values(text))
    while values:
        value = values.pop(0)
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], list):
            yield value[0], value[1]
        elif isinstance(value, list) and values:
            yield value, values.pop(0)
        else:
            yield None, value


def _json_values(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    end = 0
    while rest := text[end:].lstrip():
        start = len(text) - len(rest)
        value, end = decoder.raw_decode(text, start)
        yield value


def _loaded(pairs: Iterable[tuple[bytes | None, bytes | None]]) -> Iterator[tuple[Any, Any]]:
    for key, value in pairs:
        yield json.loads(key) if key else None, json.loads(value) if value else None


class _JavaMap:
    """A serialised java.util.HashMap<byte[], byte[]>: the only object that Connect's offset file holds."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = len(_JAVA_MAGIC)
        self._handles: list[Any] = []

    def pairs(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        if self._byte() != _OBJECT or self._class() != "java.util.HashMap":
            raise ValueError("not a serialised java.util.HashMap")
        self._handles.append(None)
        self._take(_MAP_NUMBERS_BYTES)
        if self._byte() != _BLOCK:
            raise ValueError("a HashMap without its size")
        size = int.from_bytes(self._take(self._byte())[4:])
        for _ in range(size):
            yield self._bytes(), self._bytes()

    def _bytes(self) -> bytes | None:
        match self._byte():
            case kind if kind == _NULL:
                return None
            case kind if kind == _REFERENCE:
                found = self._referred()
                if not isinstance(found, bytes):
                    raise ValueError("an entry that is no byte array")
                return found
            case kind if kind == _ARRAY and self._class() == "[B":
                handle = len(self._handles)
                self._handles.append(None)
                self._handles[handle] = content = self._take(self._number(4))
                return content
        raise ValueError("an entry that is no byte array")

    def _class(self) -> str:
        """A class description: its name; its fields are passed over, as every class here has none but numbers."""
        kind = self._byte()
        if kind == _REFERENCE:
            return str(self._referred())
        if kind != _CLASS:
            raise ValueError("no class description")
        name = self._text()
        self._take(8)  # serialVersionUID
        self._handles.append(name)
        self._take(1)  # flags
        for _ in range(self._number(2)):
            self._take(1)
            self._text()
        if self._byte() != _END or self._byte() != _NULL:
            raise ValueError(f"a class {name} with annotations or a parent")
        return name

    def _referred(self) -> Any:
        return self._handles[self._number(4) - 0x7E0000]

    def _text(self) -> str:
        return self._take(self._number(2)).decode()

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        taken = self._content[self._at : self._at + size]
        if len(taken) < size:
            raise ValueError("it ends too early")
        self._at += size
        return taken
