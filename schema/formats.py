"""What events are on the wire, by the name that a connector file gives as `events.format`.

Every event is made as Avro. The other formats are made of that, on the delivery thread, with readers bound once per
schema: Debezium's JSON, as Kafka Connect's JsonConverter writes it, and CloudEvents 1.0 in structured mode.
Source: Kafka's JsonConverter; Debezium's CloudEventsConverter and CloudEventsMaker; CloudEvents 1.0, section 3.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from schema.change import Avro
from schema.connect import connect_schema
from schema.decode import HEADER_BYTES, Decoder
from schema.event import Event

FormatName = Literal["avro", "json", "json_with_schemas", "cloudevents"]

Form = Callable[[Event], Event]
"""An event whose key and value are wire bytes -> the same with both in another format. Raises Undecodable."""

_NO_LETTER: Final = re.compile(r"[^A-Za-z0-9]")
_TRANSACTION: Final = ("id", "total_order", "data_collection_order")
_FRAME: Final = ("source", "transaction", "op", "ts_ms", "ts_us", "ts_ns")


def form_of(name: FormatName, schema_of: Callable[[int], Avro]) -> Form | None:
    """For one thread; None where events stay as they are. `schema_of` gives a schema by its id, KeyError for none."""
    if name == "avro":
        return None
    forms = {"json": Json, "json_with_schemas": JsonWithSchemas, "cloudevents": CloudEvents}
    return forms[name](schema_of)


class Json:
    """`{"id":1}`; a decimal is the base64 of its unscaled number, a float that is no number a string."""

    def __init__(self, schema_of: Callable[[int], Avro]) -> None:
        self.decoder = Decoder(schema_of, connect=True)

    def __call__(self, event: Event) -> Event:
        topic, table, key, value, identity, headers = event
        return Event(
            topic,
            table,
            None if key is None else self.key(key),
            None if value is None else self.value(value, event),
            identity,
            headers,
        )

    def key(self, wire: bytes) -> bytes:
        return orjson.dumps(self.decoder.decode(wire))

    def value(self, wire: bytes, event: Event) -> bytes:
        return self.key(wire)


class JsonWithSchemas(Json):
    """`{"schema":...,"payload":{"id":1}}`."""

    def __init__(self, schema_of: Callable[[int], Avro]) -> None:
        super().__init__(schema_of)
        self._heads: dict[bytes, bytes] = {}

    def key(self, wire: bytes) -> bytes:
        head = self._heads.get(wire[:HEADER_BYTES]) or self._prepare(wire[:HEADER_BYTES])
        return b"".join((head, orjson.dumps(self.decoder.decode(wire)), b"}"))

    def _prepare(self, wire_head: bytes) -> bytes:
        shown = orjson.dumps(connect_schema(self.decoder.schema(wire_head)))
        self._heads[wire_head] = head = b'{"schema":%b,"payload":' % shown
        return head


class CloudEvents(Json):
    """The value as a CloudEvent whose data is `before` and `after`; the key is plain JSON.

    Debezium's `id` is the same for all rows of one log event, so that a reader who drops what it has seen, as the
    specification allows it, would drop rows. Here ``;event:`` follows with what tells them apart.
    """

    def __init__(self, schema_of: Callable[[int], Avro]) -> None:
        super().__init__(schema_of)
        self._extensions: dict[bytes, list[tuple[str, str, bool]]] = {}

    def value(self, wire: bytes, event: Event) -> bytes:
        value = self.decoder.decode(wire)
        source = value["source"]
        kind = "DataChangeEvent" if "op" in value else "SchemaChangeEvent"
        shown = {
            "id": _id(source, event),
            "source": f"/debezium/{source['connector']}/{source['name']}",
            "specversion": "1.0",
            "type": f"io.debezium.connector.{source['connector']}.{kind}",
            "time": _time(source["ts_ms"]),
            "datacontenttype": "application/json",
            "iodebeziumop": value.get("op"),
        }
        for name, extension, as_text in self._extensions.get(wire[:HEADER_BYTES]) or self._bind(wire):
            field = source[name]
            shown[extension] = str(field) if as_text and field is not None else field
        transaction = value.get("transaction") or {}
        for name in _TRANSACTION:
            field = transaction.get(name)
            shown[_extension(f"tx{name}")] = None if field is None else str(field)
        shown["data"] = {name: part for name, part in value.items() if name not in _FRAME}
        return orjson.dumps(shown)

    def _bind(self, wire: bytes) -> list[tuple[str, str, bool]]:
        """(name, extension attribute, whether a number becomes text) of each field of `source`."""
        connect = connect_schema(self.decoder.schema(wire))
        (source,) = (field for field in connect["fields"] if field["field"] == "source")
        bound = [
            (field["field"], _extension(field["field"]), field["type"] == "int64")  # CloudEvents' numbers have 32 bits
            for field in source["fields"]
        ]
        self._extensions[wire[:HEADER_BYTES]] = bound
        return bound


def _extension(name: str) -> str:
    return f"iodebezium{_NO_LETTER.sub('', name)}"


def _id(source: dict[str, Any], event: Event) -> str:
    """A copied row's event has no place in the log: its run and where that stood stand for one."""
    names = ("lsn", "txId", "sequence") if "lsn" in source else ("file", "pos")
    place = "".join(f";{name}:{_word(source[name])}" for name in names)
    run = "" if source["snapshot"] == "false" else f"{source['ts_ns']}/"
    return f"name:{source['name']}{place};event:{run}{event.id[0]}/{event.id[1]}"


def _word(value: object) -> str:
    return "null" if value is None else str(value)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
