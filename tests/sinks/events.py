"""Events made by fastavro, for tests of sinks: every value is a string or a whole number, the same in every format."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import fastavro

from schema.event import Batch, Event

ORDERS, ITEMS, LOG = "shop.public.orders", "shop.public.items", "shop.public.log"
FIRST, SECOND = 1, 2
"""Versions of a table: the second has one more column."""


class Row(NamedTuple):
    """A delivered event, decoded."""

    topic: str
    key: Any
    value: Any


class DictSchemas:
    """Schemas from a dict."""

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        self._schemas = schemas

    def schema(self, schema_id: int) -> Any:
        return self._schemas[schema_id]


def _record(topic: str, name: str, **fields: Any) -> dict[str, Any]:
    parts = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "namespace": topic, "fields": parts, "connect.name": f"{topic}.{name}"}


def _of_topic(topic: str, first_id: int) -> dict[int, Any]:
    optional = ["null", "string"]
    return {
        first_id: _record(topic, "Key", id="long"),
        first_id + FIRST: _record(topic, "Envelope", id="long", text="string"),
        first_id + SECOND: _record(topic, "Envelope", id="long", text="string", note=optional),
    }


_FIRST_IDS = {ORDERS: 10, ITEMS: 20, LOG: 30}
BODIES = {schema_id: body for topic, at in _FIRST_IDS.items() for schema_id, body in _of_topic(topic, at).items()}
SCHEMAS = DictSchemas(BODIES)


def wire(schema_id: int, value: Any, bodies: Mapping[int, Any] = BODIES) -> bytes:
    out = BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    out.seek(0, 2)
    fastavro.schemaless_writer(out, bodies[schema_id], value)
    return out.getvalue()


def event(number: int, topic: str = ORDERS, version: int = FIRST, text: str = "a") -> Event:
    """Rows of LOG have no key."""
    value = {"id": number, "text": text} | ({"note": f"n{number}"} if version == SECOND else {})
    key = None if topic == LOG else wire(_FIRST_IDS[topic], {"id": number})
    return Event(topic, topic.partition(".")[2], key, wire(_FIRST_IDS[topic] + version, value), (100, number))


def tombstone(number: int, topic: str = ORDERS) -> Event:
    return event(number, topic)._replace(value=None)


def batch(events: Iterable[Event]) -> Batch:
    events = list(events)
    return Batch(events, None, sum(len(e.key or b"") + len(e.value or b"") for e in events), {})


def row(event: Event) -> Row:
    """What a sink must deliver for an event."""
    return Row(event.topic, _value(event.key), _value(event.value))


def _value(data: bytes | None) -> Any:
    if data is None:
        return None
    return fastavro.schemaless_reader(BytesIO(data[5:]), BODIES[int.from_bytes(data[1:5], "big")], None)
