"""The goldens in tests/golden/formats: events of a real Debezium engine in each format."""

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from schema.event import NEW_KEY, OLD_KEY, Event

GOLDEN = Path(__file__).parent.parent / "golden" / "formats"
SOURCES = ("postgres", "mysql")


class GoldenSchema(NamedTuple):
    """`connect` is how JsonConverter shows it."""

    avro: Any
    connect: Any


class GoldenPart(NamedTuple):
    """A key or a value: wire bytes, and how JsonConverter shows them."""

    wire: bytes
    json: Any


class GoldenEvent(NamedTuple):
    topic: str
    key: GoldenPart | None
    value: GoldenPart | None
    headers: dict[str, str]
    cloud_event: Any

    def event(self) -> Event:
        """As our sources give it, a key's header aside."""
        return Event(self.topic, "", self.key and self.key.wire, self.value and self.value.wire, (1, 2))

    def moved(self) -> str | None:
        """The text of the other key, where a change of the key made this event."""
        return self.headers.get(NEW_KEY) or self.headers.get(OLD_KEY)


@cache
def golden_schemas(source: str) -> dict[int, GoldenSchema]:
    return {line["id"]: GoldenSchema(line["avro"], line["connect"]) for line in _lines(f"{source}-schemas")}


@cache
def golden_events(source: str) -> list[GoldenEvent]:
    return [
        GoldenEvent(line["topic"], _part(line["key"]), _part(line["value"]), line["headers"], line.get("cloud_event"))
        for line in _lines(f"{source}-events")
    ]


def _part(shown: Any) -> GoldenPart | None:
    return shown and GoldenPart(base64.b64decode(shown["avro"]), shown["json"])


def _lines(name: str) -> Iterator[Any]:
    return map(json.loads, (GOLDEN / f"{name}.jsonl").read_text().splitlines())
