"""What a store keeps of the past: samples of normal saves, and for ever what operators did."""

import json
from datetime import UTC, datetime
from typing import NamedTuple

from offsets.position import Offset, Position

SAMPLE_MS = 60_000
"""Of the normal saves one in so long is kept."""
SAMPLES_KEPT_MS = 7 * 24 * 3_600_000


class Stored(NamedTuple):
    connector: str
    offset: Offset
    saved_at: datetime


class Change(NamedTuple):
    """What an operator did; None stands for no offset at all."""

    command: str
    before: Offset | None
    after: Offset | None
    changed_at: datetime


class Sampled:
    """Which connectors have their sample of this minute. One thread at a time."""

    def __init__(self) -> None:
        self._minutes: dict[str, int] = {}

    def due(self, connector: str, now_ms: int) -> bool:
        return self._minutes.get(connector) != now_ms // SAMPLE_MS

    def done(self, connector: str, now_ms: int) -> None:
        self._minutes[connector] = now_ms // SAMPLE_MS


def time_of(at_ms: int) -> datetime:
    """`at_ms` counts from 1970."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def to_json(offset: Offset | None) -> str | None:
    if offset is None:
        return None
    return json.dumps({**offset.position._asdict(), "snapshot": dict(offset.snapshot)})


def from_json(text: str | None) -> Offset | None:
    if text is None:
        return None
    stored = json.loads(text)
    return Offset(Position(stored["order"], stored["token"], stored["origin"]), stored["snapshot"])
