"""Where the writers' day is delivered to, as the killer and the judge see it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

import fastavro

from tests.faults.audit import Delivered, Topics, column_types, delivered, record
from tests.faults.workload import Day
from tests.fold import files, plain, settled


class Target(Protocol):
    """`sink` and `sections` are parts of a connector file."""

    sink: Mapping[str, Any]
    sections: Mapping[str, Any]

    def counts(self) -> Mapping[str, int]:
        """How many events each topic holds durably now."""

    def read(self, day: Day) -> Topics: ...

    def strikes(self, random: Random) -> Sequence[tuple[Callable[[], None], int]]:
        """What the killer may do to the target, and how often beside all else."""

    def heal(self) -> None:
        """What the killer ended runs again."""


class FilesTarget:
    """The files sink, avro. Whenever the connector was opened again, a new file begins: each is a run."""

    sections: Mapping[str, Any] = {}

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sink: Mapping[str, Any] = {"type": "files", "directory": str(directory), "format": "avro"}

    def counts(self) -> Mapping[str, int]:
        return count(self.directory)

    def read(self, day: Day) -> Topics:
        topics: Topics = {}
        for path in files(self.directory):
            events = list(_read_file(day, path))
            topics.setdefault(path.parent.name, []).append((f"{path.parent.name}/{path.name}", events))
        return topics

    def strikes(self, random: Random) -> Sequence[tuple[Callable[[], None], int]]:
        return []

    def heal(self) -> None:
        pass


def _read_file(day: Day, path: Path) -> Iterator[Delivered]:
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        schema: Any = reader.writer_schema
        envelope = record(next(field["type"] for field in schema["fields"] if field["name"] == "value"))
        types = column_types(envelope)
        for event in reader:
            yield delivered(day, plain(event), types)


def count(directory: Path) -> dict[str, int]:
    """Whole events by topic, hidden files included."""
    return settled(directory, _count_files)


def _count_files(paths: list[Path]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for path in paths:
        counts[path.parent.name] = counts.get(path.parent.name, 0) + _count_file(path)
    return counts


def _count_file(path: Path) -> int:
    events = 0
    with path.open("rb") as file:
        try:
            for block in fastavro.block_reader(file):
                events += block.num_records
        except (EOFError, ValueError, IndexError):
            pass  # torn behind its last whole block, or nothing but a piece of the header
    return events
