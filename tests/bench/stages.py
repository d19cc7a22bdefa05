"""What is measured, stage by stage, on one server."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import psycopg

from tests.bench import workload
from tests.bench.drain import Drained, commits
from tests.bench.measure import ROOT, Address, BenchFailed, Measured, Running, Sample, connector, drained

LATENCY_FLUSH_MS = 50
LATENCY_POLL_S = 0.001
LATENCY_WARM_UP_S = 2
FIRST_RUN, LAST_RUN = "limit_first", "limit_last"

Tell = Callable[[str], None]


class Streams(NamedTuple):
    """One workload read from the log: by nothing but a reader, first and last, and by tailrace into each sink."""

    rows: int
    limit_first: Drained
    limit_last: Drained
    runs: dict[str, Measured]

    @property
    def limit_s(self) -> float:
        return (self.limit_first.seconds + self.limit_last.seconds) / 2


class Copies(NamedTuple):
    """The same rows from the table: a drained COPY, first and last, and tailrace's snapshot."""

    rows: int
    limit_first: Drained
    limit_last: Drained
    snapshot: Measured

    @property
    def limit_s(self) -> float:
        return (self.limit_first.seconds + self.limit_last.seconds) / 2


class Latency(NamedTuple):
    """Seconds from a commit record's time until an offset behind it is stored, in order of size."""

    transactions: int
    achieved_per_s: float
    latencies_s: list[float]
    run: list[Sample]

    def quantile(self, share: float) -> float:
        return self.latencies_s[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)]


class Bench:
    """Stages leave the table as they filled it; each empties it first."""

    def __init__(self, address: Address, admin: psycopg.Connection[Any], tell: Tell) -> None:
        self._address = address
        self._admin = admin
        self._tell = tell

    def streams(self, name: str, rows: int, per_transaction: int) -> Streams:
        """`rows` inserts in transactions of `per_transaction`, read from the log by each reader."""
        sinks = {f"{name}_{sink}": config for sink, config in self._sinks().items()}
        with self._prepared(FIRST_RUN, LAST_RUN, *sinks):
            self._load(name, rows, per_transaction)
            first = self._drain(FIRST_RUN, rows)
            runs = {sink.removeprefix(f"{name}_"): self._stream(sink, config, rows) for sink, config in sinks.items()}
            return Streams(rows, first, self._drain(LAST_RUN, rows), runs)

    def copies(self, rows: int) -> Copies:
        """Snapshot of what `streams` has just left in the table."""
        self._tell("snapshot")
        first = drained("copy", self._address.dsn, workload.TABLE)
        measured = self._start(connector(self._address, "snapshot", {"type": "discard"}), "--until-caught-up").finish()
        self._drop_slot("snapshot")
        return Copies(rows, first, drained("copy", self._address.dsn, workload.TABLE), measured)

    def big_transaction(self, rows: int) -> Measured:
        """One transaction into the sink that drops everything."""
        with self._prepared("big"):
            self._load("big", rows, rows)
            return self._stream("big", {"type": "discard"}, rows)

    def latency(self, sink: str, rows_per_s: int, seconds: float) -> Latency:
        """Single-row transactions at a steady rate into files."""
        name = f"latency_{sink}"
        self._tell(f"{name}: {rows_per_s} transactions a second for {seconds:g} s")
        with self._prepared(name, "judge"):
            config = connector(self._address, name, self._sinks()[sink], snapshot="never")
            config["delivery"] = {"flush_interval_ms": LATENCY_FLUSH_MS}
            run = self._start(config)
            try:
                with closing(run.wait_for_offset()) as state:
                    warm_up = self._write(0, rows_per_s, LATENCY_WARM_UP_S)
                    _follow(warm_up, state)
                    started = time.time()
                    stored = _follow(self._write(1_000_000, rows_per_s, seconds), state)
                run.poll()
            finally:
                run.stop()
            rows = int(rows_per_s * seconds)
            everything = commits(self._address.dsn, "judge", rows + rows_per_s * LATENCY_WARM_UP_S)
            committed = [commit for commit in everything if commit.at_s >= started][-rows:]
        waiting = iter(committed)
        latencies = []
        commit = next(waiting, None)
        for position, seen_s in stored:
            while commit is not None and commit.end_lsn <= position:
                latencies.append(seen_s - commit.at_s)
                commit = next(waiting, None)
        if commit is not None:
            raise BenchFailed(f"{name}: the last commits were never stored")
        achieved = len(committed) / (committed[-1].at_s - committed[0].at_s)
        return Latency(len(committed), achieved, sorted(latencies), run.samples)

    def _sinks(self) -> dict[str, dict[str, Any]]:
        files = {"type": "files", "directory": str(self._address.folder / "files")}
        return {
            "discard": {"type": "discard"},
            "avro": {**files, "format": "avro"},
            "jsonl": {**files, "format": "jsonl"},
        }

    def _load(self, name: str, rows: int, per_transaction: int) -> None:
        self._tell(f"{name}: writing {rows} rows in transactions of {per_transaction}")
        self._admin.execute("set synchronous_commit = off")
        workload.load(self._admin, 1, rows, per_transaction)
        self._admin.execute("set synchronous_commit = on")
        self._admin.execute("checkpoint")

    def _drain(self, slot: str, rows: int) -> Drained:
        self._tell(slot)
        return drained("slot", self._address.dsn, slot, str(rows))

    def _stream(self, name: str, sink: Mapping[str, Any], rows: int) -> Measured:
        self._tell(name)
        config = connector(self._address, name, sink, snapshot="never")
        measured = self._start(config, "--until-caught-up").finish()
        if sink["type"] == "files":
            self._take_files(name, rows)
        return measured

    def _start(self, config: Mapping[str, Any], *options: str) -> Running:
        reads = "select active from pg_replication_slots where slot_name = %s and active"
        name = [config["name"]]
        return Running(
            self._address.folder, config, *options, reads=lambda: bool(self._admin.execute(reads, name).fetchone())
        )

    def _take_files(self, name: str, rows: int) -> None:
        """Count what was delivered, and make room."""
        files = [path for path in (self._address.folder / "files").rglob("*") if path.is_file()]
        events = sum(map(_events, files))
        for file in files:
            file.unlink()
        if events != rows:
            raise BenchFailed(f"{name} delivered {events} events for {rows} rows")

    def _write(
        self, first: int, rows_per_s: int, seconds: float, per_transaction: int = 1
    ) -> "subprocess.Popen[bytes]":
        arguments = [self._address.dsn, str(first), str(rows_per_s), str(seconds), str(per_transaction)]
        command = [sys.executable, "-m", "tests.bench.workload", *arguments]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    @contextmanager
    def _prepared(self, *names: str) -> Iterator[None]:
        """An empty table, and slots at one point of the log before its rows: all decode the same bytes."""
        self._admin.execute(f"truncate {workload.TABLE}")
        first, *others = names
        self._admin.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [first])
        for name in others:
            self._admin.execute("select pg_copy_logical_replication_slot(%s, %s)", [first, name])
        try:
            yield
        finally:
            for name in names:
                self._drop_slot(name)

    def _drop_slot(self, name: str) -> None:
        for _ in range(100):  # the walsender of a reader that has just gone may still hold it
            try:
                self._admin.execute("select pg_drop_replication_slot(%s)", [name])
            except psycopg.errors.ObjectInUse:
                time.sleep(0.1)
            else:
                return


def _follow(writer: "subprocess.Popen[bytes]", state: sqlite3.Connection) -> list[tuple[int, float]]:
    """Each position that the state holds, with the time when it was first seen, until the writer's last is there."""
    seen: list[tuple[int, float]] = []
    ends_at = float("inf")
    while time.time() < ends_at:
        (position,) = state.execute("select position from offset_current").fetchone()
        if not seen or position > seen[-1][0]:
            seen.append((position, time.time()))
        if ends_at == float("inf") and writer.poll() is not None:
            ends_at = time.time() + 1
        time.sleep(LATENCY_POLL_S)
    if writer.returncode:
        raise BenchFailed("the writer failed; what it said is above")
    return seen


def _events(file: Path) -> int:
    with file.open("rb") as opened:
        if file.suffix == ".avro":
            return sum(block.num_records for block in fastavro.block_reader(opened))
        return sum(1 for _ in opened)
