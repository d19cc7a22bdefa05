"""Events and their offset in one Kafka transaction, while writers never pause and somebody kills whatever runs.

TAILRACE_SEED=42 pytest tests/faults/test_exactly_once.py      repeats what the writers and the killer of seed 42 do
TAILRACE_ROUND_S=600                                           how long a round lasts (default: 15)
"""

import os
import secrets
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from random import Random
from threading import Event
from typing import Any

import pytest

from offsets.kafka import KafkaStore
from offsets.kafka_config import KafkaStoreConfig
from tests.conftest import OwnMysqlFactory, OwnPostgresFactory
from tests.faults import audit
from tests.faults.kafka_day import read_topics
from tests.faults.mysql_day import MysqlDay
from tests.faults.postgres_day import PostgresDay
from tests.faults.workload import WRITERS, Day
from tests.kafka_servers import Kafka
from tests.servers import Running, Tailrace, until

pytestmark = pytest.mark.kafka

ROUND_S = float(os.environ.get("TAILRACE_ROUND_S", "15"))
NAME = "shop"
COPIED_ONCE = ("narrow", "pair")
"""Where the log leaves out long values, a row that gets another key is read again."""


def exactly_once(kafka: Kafka) -> dict[str, Any]:
    """Sections of a connector file."""
    offsets = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}_offsets"}
    topics = {"create": True, "partitions": 1, "settings": {"retention.ms": -1}, "cleanup": "delete"}
    sink = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topics": topics, "exactly_once": True}
    return {"sink": sink, "offsets": offsets, "events": {"topic_prefix": kafka.prefix}}


class Nemesis:
    """Kills the command or its connector's process at any moment, mostly behind some progress."""

    def __init__(self, day: Day, tailrace: Tailrace, kafka: Kafka, random: Random) -> None:
        self.connector = {**day.connector(NAME, {}), **exactly_once(kafka)}
        self.kills = 0
        self._day = day
        self._tailrace = tailrace
        self._kafka = kafka
        self._random = random
        self.running = self.start()

    def start(self) -> Running:
        return self._tailrace.run(self.connector)

    def act(self) -> None:
        if self._random.random() < 0.8:
            before = self.offset()
            until(lambda: self.lives() and self.offset() != before, "progress")
        time.sleep(self._random.uniform(0.0, 1.0))
        strikes = [(self.kill, 3), (self.kill_process_of_connector, 3), *self._day.strikes()]
        self._random.choices([strike for strike, _ in strikes], [weight for _, weight in strikes])[0]()

    def kill(self) -> None:
        self.running.kill()
        self.kills += 1
        self.running = self.start()

    def kill_process_of_connector(self) -> None:
        for pid in self.running.pids()[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills += 1

    def lives(self) -> bool:
        if self.running.process.poll() is not None:
            pytest.fail(f"tailrace ended:\n{self.running.stderr}")
        return True

    def offset(self) -> int | None:
        """The stored one, in the order of the log."""
        if self.connector["offsets"]["topic"] not in self._kafka.topics():
            return None
        with closing(KafkaStore(KafkaStoreConfig.model_validate(self.connector["offsets"]))) as store:
            stored = store.load(NAME)
        return stored.position.order if stored else None


def live_through(day: Day, tailrace: Tailrace, kafka: Kafka) -> None:
    """One round, and at its end the judge."""
    seed = int(os.environ.get("TAILRACE_SEED") or secrets.randbelow(1 << 32))
    print(f"TAILRACE_SEED={seed}")
    rows = day.fill(narrow=5_000, wide=500)
    shapes = audit.first_shapes(day)
    stop = Event()
    writers = [day.writer(number, seed, rows, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        with day.nothing_prepared():
            nemesis = Nemesis(day, tailrace, kafka, Random(seed))
            until(lambda: nemesis.lives() and nemesis.offset(), "the first offset is stored")
        seen_seq = day.last_entry()
        deadline = time.monotonic() + ROUND_S
        while time.monotonic() < deadline or nemesis.kills < 4:
            nemesis.act()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for writer in writers:
        writer.settle()
        writer.close()
    nemesis.running.kill()
    tailrace.catch_up(nemesis.connector)

    topics = read_topics(day, kafka, tailrace.state, kafka.prefix)
    entered = dict(entry for writer in writers for entry in writer.entered)
    audit.check(day, topics, shapes, seen_seq, [], entered)
    for table in COPIED_ONCE:
        [(_, events)] = topics[f"{kafka.prefix}.{day.schema}.{table}"]
        copied = Counter(event.key for event in events if event.op == audit.READ)
        assert not (twice := [key for key, times in copied.items() if times > 1]), f"{table}: copied twice: {twice[:5]}"


@pytest.mark.postgres
def test_a_reader_of_committed_events_sees_each_once_whatever_is_killed(
    own_postgres: OwnPostgresFactory, kafka: Kafka, tailrace: Tailrace
) -> None:
    live_through(PostgresDay(own_postgres()), tailrace, kafka)


@pytest.mark.mysql
def test_a_reader_of_committed_events_sees_each_once_whatever_is_killed_the_server_included(
    own_mysql: OwnMysqlFactory, kafka: Kafka, tailrace: Tailrace
) -> None:
    live_through(MysqlDay(own_mysql("mysql97", "--max-binlog-size=8M")), tailrace, kafka)


@pytest.mark.postgres
def test_a_transaction_larger_than_many_batches_is_seen_whole_and_once_though_it_was_cut_off(
    own_postgres: OwnPostgresFactory, kafka: Kafka, tailrace: Tailrace
) -> None:
    database = own_postgres()
    database.execute("create table orders (id int primary key, v text)")
    connector = {**database.connector(NAME, source={"snapshot": "never"}), **exactly_once(kafka)}
    topic = f"{kafka.prefix}.public.orders"
    tailrace.catch_up(connector)
    for n in range(3):
        database.execute("insert into orders values (%s, 'small')", n)
    database.execute("insert into orders select i, repeat(md5(i::text), 40) from generate_series(10, 30000) i")
    database.execute("insert into orders values (3, 'small')")
    running = tailrace.run(connector)
    until(lambda: topic in kafka.topics() and kafka.read(topic, "read_uncommitted")[100:], "it is under way")
    running.kill()
    assert len(kafka.read(topic)) in (0, 3, 3 + 29_991, 4 + 29_991)
    tailrace.catch_up(connector)
    keys = [record.key for record in kafka.read(topic)]
    assert len(keys) == len(set(keys)) == 4 + 29_991
