"""A small table whose changes go to a topic, as a consumer of that topic sees them."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from io import BytesIO
from threading import Event, Thread
from typing import Any

import fastavro

from service.demo_events import Row, fold
from service.state import State
from tests.faults.shop import Shop
from tests.fold import plain
from tests.kafka_servers import Kafka, KafkaRecord
from tests.registry_servers import Registry
from tests.servers import Database, Tailrace, until

ARRIVES_S = 180.0
"""The longest pause between two attempts, on a machine that has much else to do."""


class KafkaShop(Shop):
    """`sink` are keys of the sink beside its address. Its versions are in `registry`, or else in the state; `through`
    is an address that stands for the registry's."""

    def __init__(
        self,
        database: Database,
        tailrace: Tailrace,
        kafka: Kafka,
        bootstrap: str = "",
        *,
        registry: Registry | None = None,
        through: str = "",
        **sink: Any,
    ) -> None:
        self.kafka = kafka
        self.registry = registry
        self.topic = f"{kafka.prefix}.public.items"
        super().__init__(
            database,
            tailrace,
            sink={"type": "kafka", "bootstrap_servers": bootstrap or kafka.bootstrap, **sink},
            events={"topic_prefix": kafka.prefix},
            errors={"retry_for_s": 3600},
            **({"registry": {"type": "confluent", "url": through or registry.url}} if registry else {}),
        )

    def folded(self) -> dict[str, dict[str, Row]]:
        return fold(self.events())

    def arrive(self) -> None:
        until(self._has_all, "the events are the table", ARRIVES_S)

    def events(self) -> list[dict[str, Any]]:
        """In the order of (partition, offset)."""
        if self.registry:
            return self._decoded(self.registry.schema)
        with closing(State.open(self.tailrace.state).registry()) as registry:
            return self._decoded(registry.schema)

    def _decoded(self, schema: Callable[[int], Any]) -> list[dict[str, Any]]:
        schema_of = cache(schema)

        def decoded(data: bytes | None) -> Any:
            if not data:
                return None
            return fastavro.schemaless_reader(BytesIO(data[5:]), schema_of(int.from_bytes(data[1:5])), None)

        return [
            plain({"topic": self.topic, "key": decoded(record.key), "value": decoded(record.value)})
            for record in self.records()
        ]

    def records(self) -> list[KafkaRecord]:
        return self.kafka.read(self.topic) if self.topic in self.kafka.topics() else []

    def check(self) -> None:
        """Whatever happened: the fold is the table, and each row went through its forms one by one."""
        assert self.missing() == []
        seen: dict[int, dict[int, None]] = {}  # each row's forms, in the order in which they were seen first
        for event in self.events():
            row = event["value"]["after"]
            seen.setdefault(row["id"], {})[row["name"].count("!")] = None
        for id_, forms in seen.items():
            assert list(forms) == list(range(min(forms), max(forms) + 1)), f"row {id_}"

    @contextmanager
    def selling(self, every_s: float = 0.05) -> Iterator[None]:
        """Meanwhile change the same few rows, again and again."""
        stop = Event()

        def sell() -> None:
            while not stop.wait(every_s):
                self.database.execute("update items set name = concat(name, '!') where id <= 10")

        seller = Thread(target=sell)
        seller.start()
        try:
            yield
        finally:
            stop.set()
            seller.join()

    def delivers(self) -> None:
        """Wait until the offset has moved on."""
        offset = self.offset()
        until(lambda: self.offset() != offset, "the offset moves", ARRIVES_S)

    def _has_all(self) -> bool:
        return not self.missing()
