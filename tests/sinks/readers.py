"""How a user's program reads what a sink delivered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import fastavro
import orjson

from tests.sinks.events import Row


def published(folder: Path) -> list[Path]:
    """Files that a reader sees, in the order of their names, topic by topic."""
    return sorted(path for path in folder.glob("*/*") if not path.name.startswith("."))


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/.*"))


def read_files(folder: Path) -> list[Row]:
    return [row for path in published(folder) for row in read_file(path)]


def read_file(path: Path) -> Iterator[Row]:
    if path.suffix == ".jsonl":
        yield from read_lines(path)
    else:
        with path.open("rb") as file:
            for body in fastavro.reader(file):
                yield Row(**cast(dict[str, Any], body))


def read_lines(path: Path) -> Iterator[Row]:
    text = path.read_bytes()
    assert not text or text.endswith(b"\n"), f"{path} ends in a torn line"
    for line in text.splitlines():
        yield Row(**orjson.loads(line))
