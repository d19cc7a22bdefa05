"""One `tailrace run`, measured from outside: the time from the stream's start to the last offset saved, and what the
connector's process used for it."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from psycopg.conninfo import conninfo_to_dict

from tests.bench.drain import PUBLICATION, Drained

ROOT = Path(__file__).parents[2]
SAMPLE_EVERY_S = 0.02
START_POLL_S = 0.005
START_LIMIT_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchFailed(Exception):
    """A program under measurement ended badly."""


class Sample(NamedTuple):
    """A process at one moment (seconds since 1970): CPU used so far, memory now and at most."""

    at_s: float
    cpu_s: float
    rss_bytes: int
    peak_rss_bytes: int


class Measured(NamedTuple):
    """`cpu_s` and `seconds` begin with the stream; starting the process cost `startup_cpu_s` before that."""

    seconds: float
    cpu_s: float
    startup_cpu_s: float
    peak_rss_bytes: int
    samples: list[Sample]


class Address(NamedTuple):
    """The server and the folder of a bench."""

    dsn: str
    folder: Path


def connector(address: Address, name: str, sink: Mapping[str, Any], **source: Any) -> dict[str, Any]:
    """A connector file's content; its slot has its name."""
    server = conninfo_to_dict(address.dsn)
    return {
        "name": name,
        "source": {
            "type": "postgres",
            "host": server["host"],
            "port": int(server["port"] or 5432),
            "database": server["dbname"],
            "user": server["user"],
            "slot": name,
            "publication": PUBLICATION,
            **source,
        },
        "sink": dict(sink),
    }


class Running:
    """A started `tailrace run` whose connector reads, as `reads` says of the server. `samples` begin there."""

    def __init__(
        self, folder: Path, connector: Mapping[str, Any], *options: str, reads: Callable[[], bool], run: str = ""
    ) -> None:
        """`run` names state and log of several runs of one connector."""
        self._name = run or connector["name"]
        self._state = folder / f"{self._name}-state"
        self._said = folder / f"{self._name}.log"
        file = folder / f"{self._name}.json"
        file.write_text(json.dumps(connector))
        command = [sys.executable, "-m", "service", "run", str(file), "--state", str(self._state), *options]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=said)
        self._until(reads, START_POLL_S)
        self._pid = _child(self.process.pid)
        first = sample(self._pid)
        if first is None:
            raise self._failed()
        self.samples = [first]

    def poll(self) -> bool:
        """Take a sample; False once the connector's process has ended."""
        taken = sample(self._pid)
        if taken is not None:
            self.samples.append(taken)
        return taken is not None

    def finish(self) -> Measured:
        """Wait for the end of a run that ends by itself. Raises BenchFailed."""
        while self.poll():
            time.sleep(SAMPLE_EVERY_S)
        if self.process.wait():
            raise self._failed()
        first, last = self.samples[0], self.samples[-1]
        return Measured(
            seconds=self.offset()[1] - first.at_s,
            cpu_s=last.cpu_s - first.cpu_s,
            startup_cpu_s=first.cpu_s,
            peak_rss_bytes=last.peak_rss_bytes,
            samples=self.samples,
        )

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait():
            raise self._failed()

    def wait_for_offset(self) -> sqlite3.Connection:
        """The state, once it holds an offset."""
        self._until(lambda: (self._state / "tailrace.db").exists() and self.offset()[0], START_POLL_S)
        return self._open()

    def offset(self) -> tuple[int, float]:
        """(the stored position, when it was stored in seconds since 1970); zeros where there is none."""
        with closing(self._open()) as db:
            row = db.execute("select position, saved_at_ms from offset_current").fetchone()
        return (row[0], row[1] / 1000) if row else (0, 0.0)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._state / 'tailrace.db'}?mode=ro", uri=True)

    def _until(self, condition: Callable[[], Any], poll_s: float) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self._failed()
            time.sleep(poll_s)

    def _failed(self) -> BenchFailed:
        self.process.kill()
        self.process.wait()
        return BenchFailed(f"tailrace {self._name} did not do its work:\n{self._said.read_text()[-2000:]}")


def drained(*arguments: str) -> Drained:
    """Run tests.bench.drain in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.drain", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Drained(**json.loads(done.stdout))


def sample(pid: int) -> Sample | None:
    """None where the process has ended. Source: proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    memory = {name: rest for name, _, rest in (line.partition(":") for line in status.splitlines())}
    if "VmHWM" not in memory:  # a zombie has given its memory back
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Sample(time.time(), cpu_s, _bytes(memory["VmRSS"]), _bytes(memory["VmHWM"]))


def _bytes(kib: str) -> int:
    return int(kib.split()[0]) << 10


def _child(pid: int) -> int:
    """Of whichever thread."""
    (child,) = (int(pid) for file in Path(f"/proc/{pid}/task").glob("*/children") for pid in file.read_text().split())
    return child
