"""Events whose keys and versions a consumer can check, and a sink that takes them."""

from collections.abc import Iterable, Sequence
from typing import Any

from schema.event import Event
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.kafka_servers import KafkaRecord
from tests.sinks.events import SCHEMAS


def opened(bootstrap: str, **keys: Any) -> KafkaSink:
    sink = KafkaSink(KafkaConfig.model_validate({"bootstrap_servers": bootstrap, **keys}), SCHEMAS)
    sink.open()
    return sink


def change(topic: str, nth: int, key: bytes | None = b"k", value: bytes | None = None) -> Event:
    """The nth change of a run; its value is its number unless another is given."""
    return Event(topic, "public.orders", key, str(nth).encode() if value is None else value, (100, nth))


def changes(topic: str, numbers: Iterable[int], keys: int = 20) -> list[Event]:
    """Changes of `keys` rows in turn."""
    return [change(topic, n, f"key {n % keys}".encode()) for n in numbers]


def numbers(records: Iterable[KafkaRecord]) -> list[int]:
    return [int(record.value or b"") for record in records]


def by_key(records: Sequence[KafkaRecord]) -> dict[bytes | None, list[int]]:
    """The changes of each row in the order in which a consumer of its partition sees them, first occurrences only."""
    seen: dict[bytes | None, dict[int, None]] = {}
    for record in records:
        seen.setdefault(record.key, {})[int(record.value or b"")] = None
    return {key: list(of_key) for key, of_key in seen.items()}


def committed(count: int, keys: int = 20) -> dict[bytes | None, list[int]]:
    """What `by_key` is once `changes` of range(count) have been delivered."""
    return {f"key {key}".encode(): list(range(key, count, keys)) for key in range(keys)}
