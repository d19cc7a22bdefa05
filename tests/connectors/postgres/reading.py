"""A Postgres source read in the test's own process, its events decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.postgres.config import PostgresConfig
from connectors.postgres.source import PostgresSource
from offsets.position import Offset, Position, merged
from schema.decode import Decoder
from schema.event import Batch, Event
from schema.registry import LocalRegistry
from service.state import State
from tests.servers import Database, until


class Reading:
    """`offset` is what a store would hold: the last position and the progress that came with positions."""

    def __init__(self, source: PostgresSource, registry: LocalRegistry, offset: Offset | None) -> None:
        self.source = source
        self.registry = registry
        self.position: Position | None = offset.position if offset else None
        self.progress: dict[str, str] = dict(offset.snapshot) if offset else {}
        self.events: list[Event] = []
        self.batches: list[Batch] = []
        self._decoder = Decoder(registry.schema)

    @property
    def offset(self) -> Offset:
        assert self.position is not None
        return Offset(self.position, self.progress)

    def read(self, timeout_s: float = 0.2) -> Batch | None:
        batch = self.source.read(timeout_s)
        self.source.ack(None)
        if batch is not None:
            self.batches.append(batch)
            self.events += batch.events
            self.position = batch.position or self.position
            self.progress = merged(self.progress, batch.snapshot)
        return batch

    def catch_up(self) -> list[dict[str, Any]]:
        """Read until caught up; everything read so far, decoded: value, or None for a tombstone."""
        self.read()
        until(lambda: self.source.caught_up() or (self.read() and False), "the source has caught up")
        return self.values()

    def read_until(self, count: int) -> list[dict[str, Any]]:
        """Read until there are `count` events."""
        until(lambda: len(self.events) >= count or (self.read() and False), f"{count} events")
        return self.values()

    def values(self) -> list[dict[str, Any]]:
        return [self.value(event) for event in self.events]

    def value(self, event: Event) -> Any:
        return None if event.value is None else self._decoder.decode(event.value)

    def key(self, event: Event) -> Any:
        return None if event.key is None else self._decoder.decode(event.key)


@contextmanager
def reading(postgres: Database, folder: Path, after: Offset | None = None, **source: Any) -> Iterator[Reading]:
    """The test's database, read from `after` on."""
    section = postgres.connector(source=source)["source"]
    config = PostgresConfig.model_validate(section, context={"connector": "shop"})
    registry = State.open(folder / "schemas").registry()
    reader = PostgresSource(config, connector="shop", topic_prefix="shop", registry=registry, version="0")
    try:
        reader.open(after)
        yield Reading(reader, registry, after)
    finally:
        reader.close()
        registry.close()
