"""Reading what the demo's connector delivered: as it grows, as a fold, and against the source's rows."""

import datetime as dt
import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

Event = dict[str, Any]
"""One line of a jsonl file: {"topic": ..., "key": ..., "value": ...}."""

Row = dict[str, Any]

_UNCHANGED = "__debezium_unavailable_value"
_UNCHANGED_BASE64 = b64encode(_UNCHANGED.encode()).decode()
_EPOCH = dt.datetime(1970, 1, 1)


class Follower:
    """Counts events while their files grow. A file that is renamed on publishing stays the one that was open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.counts: Counter[tuple[str, str]] = Counter()  # by (table, op)
        self.newest_ms = 0  # commit time of the newest event, milliseconds since 1970
        self._offsets: dict[int, int] = {}  # bytes read, by inode

    @property
    def total(self) -> int:
        return self.counts.total()

    def read(self) -> None:
        """Count what arrived since the last call."""
        for path in self.directory.rglob("*"):
            if path.is_file():
                try:
                    self._read(path)
                except FileNotFoundError:
                    continue  # renamed since it was listed; the next call meets it under its new name

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            inode = path.stat().st_ino
            file.seek(self._offsets.get(inode, 0))
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offsets[inode] = self._offsets.get(inode, 0) + len(whole) + len(newline)
        for line in whole.splitlines():
            value = orjson.loads(line)["value"]
            if value is not None:
                self.counts[table_of(value), value["op"]] += 1
                self.newest_ms = max(self.newest_ms, value["source"]["ts_ms"])


def table_of(value: Mapping[str, Any]) -> str:
    """``schema.table``, on MySQL and MariaDB ``database.table``."""
    source = value["source"]
    return f"{source['schema'] if 'schema' in source else source['db']}.{source['table']}"


def read_published(directory: Path) -> Iterator[Event]:
    """Every event of the published jsonl files, in the order of writing within each topic."""
    for path in sorted(directory.rglob("*.jsonl")):
        if not path.name.startswith("."):
            with path.open("rb") as file:
                yield from map(orjson.loads, file)


def fold(events: Iterable[Event]) -> dict[str, dict[str, Row]]:
    """What the events leave behind: {table: {key as JSON: row}}.

    An unchanged value that the log left out is taken from the row before it; where the key changed, that is the row
    which the same transaction deleted just before.
    """
    tables: dict[str, dict[str, Row]] = {}
    deleted: dict[str, tuple[int, Row]] = {}
    for event in events:
        value = event["value"]
        if value is None:
            continue
        table, key = table_of(value), json.dumps(event["key"], sort_keys=True)
        rows = tables.setdefault(table, {})
        transaction = value["source"].get("txId", value["source"].get("gtid"))
        if value["op"] == "d":
            deleted[table] = (transaction, rows.pop(key, {}))
            continue
        before = rows.get(key)
        if before is None:
            same, row = deleted.get(table, (None, {}))
            before = row if same == transaction else {}
        rows[key] = {name: before.get(name, new) if is_unchanged(new) else new for name, new in value["after"].items()}
    return tables


def is_unchanged(value: Any) -> bool:
    """The placeholder that stands where the log left a value out."""
    return value in (_UNCHANGED, _UNCHANGED_BASE64, [_UNCHANGED])


def differences(source: Mapping[str, Row], folded: Mapping[str, Row]) -> list[str]:
    """One sentence for each row that is not the same, value for value and type for type, in both."""
    found = []
    for key in source.keys() | folded.keys():
        if key not in folded:
            found.append(f"{key} is in the table and not in the events")
        elif key not in source:
            found.append(f"{key} is in the events and not in the table")
        else:
            found.extend(f"{key}: {words}" for words in _different_values(source[key], folded[key]))
    return sorted(found)


def _different_values(source: Row, event: Row) -> Iterator[str]:
    for name in source.keys() | event.keys():
        expected = source.get(name)
        value = typed(event.get(name), expected)
        if type(value) is not type(expected) or value != expected:
            yield f"{name} is {expected!r} in the table and {value!r} in the events"


def typed(value: Any, like: Any) -> Any:
    """An event's value in the Python type that the database driver gave for `like`; as it is where it cannot be."""
    if isinstance(like, dt.datetime):
        convert = dt.datetime.fromisoformat if like.tzinfo else lambda us: _EPOCH + dt.timedelta(microseconds=us)
    else:
        convert = _CONVERT.get(type(like), lambda plain: plain)
    try:
        return value if value is None else convert(value)
    except (TypeError, ValueError, ArithmeticError):
        return value


_CONVERT: Mapping[type, Callable[[Any], Any]] = {
    Decimal: Decimal,
    UUID: UUID,
    bytes: b64decode,
    dict: json.loads,
    dt.date: lambda days: _EPOCH.date() + dt.timedelta(days),
}
