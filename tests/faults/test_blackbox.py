"""A real Postgres, the real command, writers that never pause, and somebody who kills whatever runs.

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

from tests.faults import audit
from tests.faults.workload import TABLES, WRITERS, Writer, fill
from tests.servers import Database, Running, Tailrace, until

ROUND_S = float(os.environ.get("TAILRACE_ROUND_S", "15"))
NARROW_ROWS = 20_000
WIDE_ROWS = 4_000
NAME = "shop"

pytestmark = pytest.mark.postgres


class Nemesis:
    """Kills what runs, and looks at what was durable before anything starts again."""

    def __init__(self, database: Database, tailrace: Tailrace, random: Random) -> None:
        self.database = database
        self.tailrace = tailrace
        self.random = random
        self.out = database.folder / "out"
        self.connector = database.connector(
            NAME,
            source={"tables": [f"public.{name}" for name in (*TABLES, "ledger")], "rewind_bytes": 0},
            sink={"type": "files", "directory": str(self.out), "format": "avro"},
        )
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

    def cut(self) -> None:
        """The server drops the stream."""
        self.database.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots"
            " where slot_name = %s and active_pid is not null",
            f"tailrace_{NAME}",
        )

    def look(self) -> None:
        self.glimpses.append(audit.glimpse(self.database, self.tailrace.state, self.out, NAME))

    def act(self) -> None:
        """Mostly wait for some progress, so that there is something to lose; then strike at any moment."""
        if self.random.random() < 0.8:
            offset = audit.stored_offset(self.tailrace.state, NAME)
            until(lambda: self.lives() and audit.stored_offset(self.tailrace.state, NAME) != offset, "progress")
        time.sleep(self.random.uniform(0.0, 1.0))
        self.random.choices((self.kill, self.kill_process_of_connector, self.cut, self.look), (4, 2, 3, 1))[0]()

    def lives(self) -> bool:
        """Fails the test where tailrace ended by itself."""
        if self.running.process.poll() is not None:
            pytest.fail(f"tailrace ended:\n{self.running.stderr}")
        return True

    def copies_some(self) -> bool:
        """Some table's copy has begun and some is not done."""
        if not (self.lives() and (self.tailrace.state / "tailrace.db").exists()):
            return False
        progress = audit.stored_progress(self.tailrace.state, NAME)
        return bool(progress) and not all(progress.get(f"public.{name}") for name in TABLES)


@pytest.mark.parametrize("nth", [1, 2])
def test_every_committed_change_arrives_in_order_whatever_is_killed(
    postgres: Database, tailrace: Tailrace, nth: int
) -> None:
    seed = int(os.environ.get("TAILRACE_SEED") or secrets.randbelow(1 << 32))
    print(f"TAILRACE_SEED={seed}")
    random = Random(seed)
    rows = fill(postgres.admin, NARROW_ROWS, WIDE_ROWS)
    shapes = audit.first_shapes(postgres)
    stop = Event()
    writers = [Writer(postgres.dsn, number, seed, rows, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    nemesis = Nemesis(postgres, tailrace, random)
    try:
        until(lambda: slot_is_there(postgres), "the slot is made")
        seen_seq = postgres.execute("select coalesce(max(seq), 0) from ledger")[0][0]
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
    nemesis.running.kill()
    nemesis.look()
    tailrace.catch_up(nemesis.connector)
    entered = dict(entry for writer in writers for entry in writer.entered)
    audit.check(postgres, nemesis.out, audit.Truth(postgres, shapes), seen_seq, nemesis.glimpses, entered)


def slot_is_there(database: Database) -> bool:
    rows = database.execute(
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = %s", f"tailrace_{NAME}"
    )
    return bool(rows and rows[0][0])
