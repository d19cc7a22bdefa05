"""The broker of a bench, and what comes out of its topic."""

import array
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.bench.measure import BenchFailed, Measured, Running, sample
from tests.kafka_servers import Kafka, LocalKafka
from tests.rigs import installed

NAME = "bench"
JVM_OPTIONS = "-Xms1g -Xmx1g"
READ_TIMEOUT_S = 60.0
POLL_S = 0.1


class Delivered(NamedTuple):
    """One run into the topic, and the CPU that the broker used meanwhile."""

    run: Measured
    broker_cpu_s: float


class Broker:
    """One node of our own, and one topic of one partition."""

    def __init__(self, topic: str) -> None:
        if not installed("kafka"):
            raise BenchFailed("no Kafka on this machine: run .ci/servers")
        self.topic = topic
        self._server = LocalKafka(jvm_options=JVM_OPTIONS)
        self._server.start()
        self._kafka = Kafka(self._server.bootstrap)
        self.bootstrap = self._server.bootstrap

    def close(self) -> None:
        self._server.remove()

    def sections(self, sink: Mapping[str, Any]) -> dict[str, Any]:
        """Of a connector file, with these keys of the sink. A fault ends the run instead of being waited for."""
        topics = {"create": True}  # of a truncated table
        return {
            "sink": {"type": "kafka", "bootstrap_servers": self.bootstrap, "topics": topics, **sink},
            "events": {"topic_prefix": NAME},
            "errors": {"retry_for_s": 10},
        }

    def cpu_s(self) -> float:
        """Used since it was started."""
        taken = sample(int((self._server.nodes[0].folder / "server.pid").read_text()))
        if taken is None:
            raise BenchFailed(f"the broker has ended, see {self._server.nodes[0].folder}/server.log")
        return taken.cpu_s

    def empty(self) -> None:
        """The topic, made anew."""
        if self.topic in self._kafka.topics():
            self._kafka.delete_topic(self.topic)
        self._kafka.create_topic(self.topic)

    def delivered(self, start: Callable[[], Running], events: int) -> Delivered:
        """A run to its end that fills the empty topic. Raises BenchFailed where its events are not as many."""
        self.empty()
        running = start()
        before_s = self.cpu_s()
        run = running.finish()
        cpu_s = self.cpu_s() - before_s
        if (found := self._count()) != events:
            raise BenchFailed(f"{found} events are in the topic for {events} rows")
        return Delivered(run, cpu_s)

    @contextmanager
    def arrivals(self) -> Iterator["Arrivals"]:
        """A consumer that follows the topic."""
        arrivals = Arrivals(self._consumer(), TopicPartition(self.topic, 0, OFFSET_BEGINNING))
        arrivals.start()
        try:
            yield arrivals
        finally:
            arrivals.stop()

    def _count(self) -> int:
        consumer = self._consumer()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, 0), READ_TIMEOUT_S)
            return int(high - low)
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused", "enable.auto.commit": False})


class Arrivals(Thread):
    """`times_s`: when each event, in order, came out of the topic, in seconds since 1970."""

    def __init__(self, consumer: Consumer, partition: TopicPartition) -> None:
        super().__init__(name="arrivals", daemon=True)
        self.times_s = array.array("d")
        self._consumer = consumer
        self._partition = partition
        self._stopped = Event()

    def run(self) -> None:
        self._consumer.assign([self._partition])
        while not self._stopped.is_set():
            event = self._consumer.poll(POLL_S)
            if event is not None and event.error() is None:
                self.times_s.append(time.time())
        self._consumer.close()

    def wait(self, events: int) -> None:
        """Until so many have come. Raises BenchFailed."""
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(self.times_s) < events:
            if time.monotonic() > deadline:
                raise BenchFailed(f"{len(self.times_s)} events came out of the topic for {events} rows")
            time.sleep(POLL_S)

    def stop(self) -> None:
        self._stopped.set()
        self.join()
