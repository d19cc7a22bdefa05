"""Topics that a Kafka sink filled, as the judge of the writers' day reads them."""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro

from service.state import State
from tests.faults import audit
from tests.faults.workload import Day
from tests.fold import plain
from tests.kafka_servers import Kafka, KafkaRecord

HEADER_BYTES = 5


def read_topics(day: Day, kafka: Kafka, state: Path, prefix: str) -> audit.Topics:
    """What a consumer of committed events sees. Each topic, of one partition, is a single run: where an event came
    twice, or one before another that belongs in front of it, the judge says so."""
    found: audit.Topics = {}
    with closing(State.open(state).registry()) as registry:
        for topic in sorted(name for name in kafka.topics() if name.startswith(f"{prefix}.")):
            reader = Reader(day, registry.schema)
            found[topic] = [(topic, list(reader.read(kafka.read(topic))))]
    return found


class Reader:
    def __init__(self, day: Day, schema_of: Any) -> None:
        self._day = day
        self._schema_of = schema_of
        self._parsed: dict[int, Any] = {}
        self._types: dict[int, dict[str, str]] = {}

    def read(self, records: list[KafkaRecord]) -> Iterator[audit.Delivered]:
        for record in records:
            types = self._types_of(record.value) if record.value else {}
            event = {"topic": "", "key": self._decode(record.key), "value": self._decode(record.value)}
            yield audit.delivered(self._day, plain(event), types)

    def _decode(self, wire: bytes | None) -> Any:
        if wire is None:
            return None
        return fastavro.schemaless_reader(io.BytesIO(wire[HEADER_BYTES:]), self._parse(_id(wire)), None)

    def _parse(self, schema_id: int) -> Any:
        if schema_id not in self._parsed:
            self._parsed[schema_id] = fastavro.parse_schema(self._schema_of(schema_id))
        return self._parsed[schema_id]

    def _types_of(self, wire: bytes) -> dict[str, str]:
        schema_id = _id(wire)
        if schema_id not in self._types:
            self._types[schema_id] = audit.column_types(self._schema_of(schema_id))
        return self._types[schema_id]


def _id(wire: bytes) -> int:
    return int.from_bytes(wire[1:HEADER_BYTES], "big")
