"""Offsets in a compacted topic of a Kafka cluster: a connector may move to any machine that reaches it.

A save is a Kafka transaction. Its id is the connector's, so that a runner which the others took for dead is refused at
its next save (KIP-98, "Zombie fencing"). A sink on the same cluster may put its events into the same transaction.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, ClassVar

from offsets import kafka_kept
from offsets.base import Doubt
from offsets.errors import HeldElsewhere, OffsetError, OffsetUnreadable
from offsets.history import Change, Sampled, Stored, time_of
from offsets.kafka_config import KafkaStoreConfig
from offsets.kafka_kept import Kept, Put
from offsets.kafka_seat import Seat
from offsets.kafka_topic import OffsetTopic
from offsets.kafka_transactions import Transactions
from offsets.origin import refuse_to_go_back
from offsets.position import Offset, Position
from offsets.runner import ourselves


class KafkaStore:
    """An OffsetStore."""

    Config: ClassVar[type[KafkaStoreConfig]] = KafkaStoreConfig

    def __init__(
        self,
        config: KafkaStoreConfig,
        clock: Callable[[], float] = time.time,
        producer: Mapping[str, Any] | None = None,
    ) -> None:
        """`clock` gives seconds since 1970; `producer` are librdkafka's settings where a sink shares transactions."""
        self.place = config.place
        self._settings = producer or config.producer()
        self._clock = clock
        self._sampled = Sampled()
        self._token = uuid.uuid4().hex
        self._writers: dict[str, _Writer] = {}
        self._seats: list[Seat] = []
        self._topic = OffsetTopic(config)
        try:
            self._topic.prepare()
        except OffsetError:
            self._topic.close()
            raise

    @staticmethod
    def check(config: KafkaStoreConfig) -> Sequence[Doubt]:
        with closing(OffsetTopic(config)) as topic:
            return topic.prepare(only_check=True)

    def transactions(self, connector: str) -> Transactions:
        """Those that `save` commits. Raises OffsetError."""
        return self._writer(connector).transactions

    def load(self, connector: str) -> Offset | None:
        return self._kept(connector).offset

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        now_ms = self._now_ms()
        writer = self._writer(connector)
        stored = writer.kept.offset
        refuse_to_go_back(connector, stored.position if stored else None, position)
        due = self._sampled.due(connector, now_ms)
        writer.write(writer.kept.save(position, snapshot, now_ms, sample=due))
        self._sampled.done(connector, now_ms)

    def replace(self, connector: str, offset: Offset | None, command: str) -> None:
        writer = self._writer(connector)
        writer.write(writer.kept.replace(offset, command, self._now_ms()))

    def all(self) -> list[Stored]:
        return [
            Stored(name, offset, time_of(kept.saved_at_ms))
            for name, kept in sorted(self._read_all().items())
            if (offset := kept.offset) is not None
        ]

    def changes(self, connector: str, limit: int = 20) -> list[Change]:
        return self._kept(connector).changes()[:limit]

    def position_at(self, connector: str, moment: datetime) -> Position | None:
        return self._kept(connector).position_at(int(moment.timestamp() * 1000), self._now_ms())

    def hold(self, connector: str) -> None:
        if runner := self.holder(connector):
            raise HeldElsewhere(connector, runner, self.place)
        self._writer(connector)
        self._seats.append(self._topic.seat(connector))

    def holder(self, connector: str) -> str | None:
        return next(iter(self._topic.runners(connector)), None)

    def close(self) -> None:
        while self._seats:
            self._seats.pop().close()
        while self._writers:
            self._writers.popitem()[1].transactions.close()
        self._topic.close()

    def _writer(self, connector: str) -> "_Writer":
        """Opened when it is asked for first, with what is stored then: nobody else can write from then on."""
        if connector not in self._writers:
            transactions = Transactions(self._settings, connector, self.place, lambda: self._follower(connector))
            try:
                transactions.open()
                writer = _Writer(connector, self._topic.name, transactions, self._read(connector))
                writer.write([Put(("runner",), {"token": self._token, "runner": ourselves()})])
            except BaseException:
                transactions.close()
                raise
            self._writers[connector] = writer
        return self._writers[connector]

    def _follower(self, connector: str) -> str | None:
        runner = self._read(connector).runner
        return runner["runner"] if runner["token"] != self._token else None

    def _kept(self, connector: str) -> Kept:
        writer = self._writers.get(connector)
        return writer.kept if writer else self._read(connector)

    def _read(self, connector: str) -> Kept:
        return self._read_all().get(connector) or Kept()

    def _read_all(self) -> dict[str, Kept]:
        with self._reported():
            return kafka_kept.read(self._topic.read())

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise OffsetUnreadable(
                f"{self.place} holds something else: {error}",
                "another program writes there; choose another offsets.topic",
            ) from error


class _Writer:
    """`kept` is what the topic holds of the connector, as long as nobody else writes."""

    def __init__(self, connector: str, topic: str, transactions: Transactions, kept: Kept) -> None:
        self.transactions = transactions
        self.kept = kept
        self._connector = connector
        self._topic = topic

    def write(self, puts: Iterable[Put]) -> None:
        """All or nothing, with whatever else is in the transaction; durable on return."""
        puts = list(puts)
        self.transactions.begin()
        for put in puts:
            key = kafka_kept.key(self._connector, put.place)
            self.transactions.produce(self._topic, key, kafka_kept.value(put))
        self.transactions.commit()
        for put in puts:
            self.kept.take(put)
