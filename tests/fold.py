"""What a files sink holds, read without the product's own decoder: jsonl and avro, published and hidden."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import fastavro

from service.demo_events import Event, Row
from service.demo_events import fold as fold_events

HIDDEN = "."

T = TypeVar("T")


def files(directory: Path) -> list[Path]:
    """Of each topic in the order of writing; a hidden file is its topic's newest.

    A file that is published meanwhile may stand in the list under its old name, twice, or not at all.
    """
    found = [path for path in directory.rglob("*") if path.suffix in (".jsonl", ".avro") or _hidden(path)]
    return sorted(
        (path for path in found if not path.is_dir()), key=lambda path: (path.parent, _hidden(path), path.name)
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith(HIDDEN)


def read_events(directory: Path) -> list[Event]:
    """Every whole event, topic by topic: {"topic", "key", "value"} as a jsonl line holds it."""
    return settled(directory, lambda found: [event for path in found for event in read_file(path)])


def settled(directory: Path, read: Callable[[list[Path]], T]) -> T:
    """What `read` makes of the files, read again as long as one is published while it reads."""
    while True:
        found = files(directory)
        with suppress(FileNotFoundError):
            value = read(found)
            if files(directory) == found:
                return value


def read_file(path: Path) -> Iterator[Event]:
    """The whole events of one file; what a crash left behind the last of them in a hidden file is passed over."""
    if ".avro" in path.name:
        yield from _read_avro(path)
        return
    data = path.read_bytes()
    assert _hidden(path) or data.endswith(b"\n"), f"{path} was published torn"
    yield from map(json.loads, data.splitlines() if data.endswith(b"\n") else data.splitlines()[:-1])


def _read_avro(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        try:
            for event in fastavro.reader(file):
                yield plain(event)
        except (EOFError, ValueError, IndexError):
            assert _hidden(path), f"{path} was published torn"


def plain(value: Any) -> Any:
    """An Avro value as a jsonl line shows it."""
    if isinstance(value, dict):
        if value.keys() == {"scale", "value"} and isinstance(value["value"], bytes):
            unscaled = Decimal(int.from_bytes(value["value"], "big", signed=True))
            return format(unscaled.scaleb(-value["scale"]), "f")
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def fold(directory: Path) -> dict[str, dict[str, Row]]:
    """What the delivered events leave behind: {table: {key as JSON: row}}."""
    return fold_events(read_events(directory))
