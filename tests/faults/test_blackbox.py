"""Real servers, the real command, writers that never pause, and somebody who kills whatever runs.

TAILRACE_SEED=42 pytest tests/faults/test_blackbox.py      repeats what the writers and the killer of seed 42 do
TAILRACE_ROUND_S=600                                       how long a round lasts (default: 15)
"""

import os
import secrets
import signal
import time
from contextlib import suppress
from random import Random
from threading import Event

import pytest

from tests.conftest import OwnKafkaFactory, OwnMysqlFactory
from tests.faults import audit
from tests.faults.kafka_target import KafkaTarget
from tests.faults.mysql_day import MysqlDay
from tests.faults.postgres_day import PostgresDay
from tests.faults.targets import FilesTarget, Target
from tests.faults.workload import WRITERS, Day
from tests.mysql_servers import KINDS
from tests.registry_servers import Registry
from tests.servers import VERSIONS, Database, Running, Tailrace, until

ROUND_S = float(os.environ.get("TAILRACE_ROUND_S", "15"))
NARROW_ROWS = 20_000
WIDE_ROWS = 4_000
NAME = "shop"


class Nemesis:
    """Kills what runs, and looks at what was durable before anything starts again."""

    def __init__(self, day: Day, tailrace: Tailrace, target: Target, random: Random) -> None:
        self.day = day
        self.tailrace = tailrace
        self.random = random
        self.target = target
        self.connector = {**day.connector(NAME, target.sink), **target.sections}
        self.glimpses: list[audit.Glimpse] = []
        self.running = self.start()

    def start(self) -> Running:
        return self.tailrace.run(self.connector)

    def kill(self) -> None:
        """kill -9 of every process, a look, a new start."""
        self.running.kill()
        self.look()
        self.running = self.start()

    def kill_process_of_connector(self) -> None:
        """kill -9 of one process; the supervisor starts it again."""
        for pid in self.running.pids()[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def look(self) -> None:
        self.glimpses.append(audit.glimpse(self.day, self.tailrace.state, self.target.counts, NAME))

    def act(self) -> None:
        """Mostly wait for some progress, so that there is something to lose; then strike at any moment."""
        if self.random.random() < 0.8:
            offset = self.offset()
            until(lambda: self.lives() and self.offset() != offset, "progress")
        time.sleep(self.random.uniform(0.0, 1.0))
        ours = [(self.kill, 4), (self.kill_process_of_connector, 2), (self.look, 1)]
        strikes = [*ours, *self.day.strikes(), *self.target.strikes(self.random)]
        self.random.choices([strike for strike, _ in strikes], [weight for _, weight in strikes])[0]()

    def lives(self) -> bool:
        """Fails the test where tailrace ended by itself."""
        if self.running.process.poll() is not None:
            pytest.fail(f"tailrace ended:\n{self.running.stderr}")
        return True

    def offset(self) -> int | None:
        return audit.stored_offset(self.tailrace.state, NAME) if audit.has_state(self.tailrace.state) else None

    def copies_some(self) -> bool:
        """Some table's copy has begun and some is not done."""
        if not (self.lives() and audit.has_state(self.tailrace.state)):
            return False
        progress = audit.stored_progress(self.tailrace.state, NAME)
        return bool(progress) and not all(progress.get(f"{self.day.schema}.{name}") for name in self.day.tables)


def live_through(day: Day, tailrace: Tailrace, target: Target) -> None:
    """One round: the copy is killed twice, then whatever the killer thinks of; at the end the judge."""
    seed = int(os.environ.get("TAILRACE_SEED") or secrets.randbelow(1 << 32))
    print(f"TAILRACE_SEED={seed}")
    rows = day.fill(NARROW_ROWS, WIDE_ROWS)
    shapes = audit.first_shapes(day)
    stop = Event()
    writers = [day.writer(number, seed, rows, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        # What was prepared before the first position and commits behind it has every table copied once more.
        with day.nothing_prepared():
            nemesis = Nemesis(day, tailrace, target, Random(seed))
            until(lambda: nemesis.lives() and nemesis.offset(), "the first position is stored")
        seen_seq = day.last_entry()
        for _ in range(2):
            until(nemesis.copies_some, "the snapshot is under way")
            nemesis.kill()
        deadline = time.monotonic() + ROUND_S
        while time.monotonic() < deadline:
            nemesis.act()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for writer in writers:
        writer.settle()
        writer.close()
    nemesis.running.kill()
    target.heal()
    nemesis.look()
    tailrace.catch_up(nemesis.connector)
    entered = dict(entry for writer in writers for entry in writer.entered)
    audit.check(day, target.read(day), shapes, seen_seq, nemesis.glimpses, entered)


@pytest.mark.postgres
@pytest.mark.parametrize("nth", [1, 2])
def test_every_committed_change_arrives_in_order_whatever_is_killed(
    postgres: Database, tailrace: Tailrace, nth: int
) -> None:
    live_through(PostgresDay(postgres), tailrace, FilesTarget(postgres.folder / "out"))


@pytest.mark.mysql
@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_committed_change_arrives_in_order_whatever_is_killed_the_server_included(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    database = own_mysql(kind, "--max-binlog-size=8M")
    live_through(MysqlDay(database), tailrace, FilesTarget(database.folder / "out"))


@pytest.mark.postgres
@pytest.mark.kafka
@pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)
def test_a_consumer_sees_every_committed_change_in_order_whatever_is_killed_leaders_of_partitions_included(
    postgres: Database, tailrace: Tailrace, own_kafka: OwnKafkaFactory, registry: Registry
) -> None:
    target = KafkaTarget(own_kafka(3, "min.insync.replicas=2"), registry)
    live_through(PostgresDay(postgres), tailrace, target)


@pytest.mark.mysql
@pytest.mark.kafka
def test_a_consumer_sees_every_committed_change_in_order_whatever_is_killed_server_and_broker_included(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, own_kafka: OwnKafkaFactory, registry: Registry
) -> None:
    database = own_mysql("mysql97", "--max-binlog-size=8M")
    live_through(MysqlDay(database), tailrace, KafkaTarget(own_kafka(), registry))
