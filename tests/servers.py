"""Real Postgres servers and the real command for tests.

A server is found by a ladder: an address from the environment (`TAILRACE_TEST_POSTGRES_15`, `_18`: the DSN of a
superuser), server programs on this machine, a container. Where none is found the test is skipped, which CI refuses.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from service.local_postgres import LocalPostgres, wheel_bin_dir

VERSIONS = (15, 18)
ROOT = Path(__file__).parent.parent
PASSWORD_VARIABLE = "TAILRACE_TEST_PASSWORD"

_serial = itertools.count(1)


def skip(reason: str) -> Any:
    """Skip visibly; under CI a missing server is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI may not skip: {reason}", pytrace=False)
    pytest.skip(reason)


def until(condition: Callable[[], Any], what: str, timeout_s: float = 180) -> Any:
    """The first true value of `condition`; fails the test where `what` does not come about.

    Tailrace and its supervisor may each wait for half a minute before they try again.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)
    return value


class Rung(NamedTuple):
    """Where one version's server comes from; `place` is a DSN, a folder of programs or an image."""

    kind: Literal["environment", "programs", "container", "none"]
    place: str


def find_server(version: int) -> Rung:
    """The first rung of the ladder that holds. Starts nothing."""
    if dsn := os.environ.get(f"TAILRACE_TEST_POSTGRES_{version}"):
        return Rung("environment", dsn)
    if bin_dir := find_programs(version):
        return Rung("programs", str(bin_dir))
    if docker_answers():
        return Rung("container", f"postgres:{version}")
    return Rung(
        "none",
        f"no Postgres {version}: set TAILRACE_TEST_POSTGRES_{version}, install postgresql-{version}, or start docker",
    )


def find_programs(version: int) -> Path | None:
    wheel = wheel_bin_dir()
    for bin_dir in (Path(f"/usr/lib/postgresql/{version}/bin"), wheel):
        if bin_dir and (bin_dir / "postgres").exists():
            said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
            if f" {version}." in said.stdout:
                return bin_dir
    return None


def docker_answers() -> bool:
    done = subprocess.run(["docker", "version"], capture_output=True, check=False) if shutil.which("docker") else None
    return done is not None and done.returncode == 0


def start_programs(
    version: int, settings: Mapping[str, str] | None = None, password: str | None = None
) -> LocalPostgres:
    """A running server of our own; the caller removes it."""
    bin_dir = find_programs(version) or skip(f"no programs of Postgres {version} on this machine")
    # Not pytest's tmp_path: the server's own user must be able to reach it, and a socket's path is short.
    server = LocalPostgres(bin_dir, Path(tempfile.mkdtemp(prefix="tailrace-postgres-")), settings, password)
    server.initdb()
    server.start()
    return server


def serve(version: int) -> Iterator[str]:
    """Yields the superuser's DSN of a server of `version`, from whichever rung."""
    rung = find_server(version)
    if rung.kind == "environment":
        yield rung.place
    elif rung.kind == "programs":
        server = start_programs(version)
        yield server.dsn()
        server.remove()
    elif rung.kind == "container":
        from testcontainers.postgres import PostgresContainer

        container = PostgresContainer(rung.place, driver=None).with_command("postgres -c wal_level=logical")
        with container:
            yield container.get_connection_url()
    else:
        skip(rung.place)


class Database:
    """A database of a test's own on a real server.

    `admin` is the superuser's connection in autocommit; `folder` is where its connectors' files go.
    """

    def __init__(self, server_dsn: str, version: int, folder: Path) -> None:
        self.version = version
        self.folder = folder
        self.name = f"test_{os.getpid()}_{next(_serial)}"
        self._server_dsn = server_dsn
        with psycopg.connect(server_dsn, autocommit=True) as server:
            server.execute(SQL("create database {}").format(Identifier(self.name)))
        self.dsn = make_conninfo(server_dsn, dbname=self.name)
        self.admin = psycopg.connect(self.dsn, autocommit=True)

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; its rows, none where it gives none."""
        cursor = self.admin.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def connector(
        self, name: str = "shop", *, source: Mapping[str, Any] | None = None, **sections: Any
    ) -> dict[str, Any]:
        """A connector file's content: this database into `folder/out` as jsonl.

        `source` is laid over the source section's keys; any other section replaces the default.
        """
        address = conninfo_to_dict(self.dsn)
        reach: dict[str, Any] = {
            "type": "postgres",
            "host": address["host"],
            "port": int(address.get("port") or 5432),
            "database": self.name,
            "user": address["user"],
        }
        if password := address.get("password"):
            os.environ[PASSWORD_VARIABLE] = str(password)
            reach["password"] = f"${{env:{PASSWORD_VARIABLE}}}"
        sink = {"type": "files", "directory": str(self.folder / "out"), "format": "jsonl"}
        return {"name": name, "source": {**reach, **(source or {})}, "sink": sink, **sections}

    def slots(self) -> list[str]:
        rows = self.execute("select slot_name from pg_replication_slots where database = current_database()")
        return [name for (name,) in rows]

    def drop(self) -> None:
        """Leave nothing behind on a server that other tests share: neither slots nor the database."""
        self.admin.close()
        with psycopg.connect(self._server_dsn, autocommit=True) as server:
            until(lambda: _dropped(server, self.name), f"{self.name} is dropped with its slots")


def _dropped(server: psycopg.Connection[Any], database: str) -> bool:
    """Try once; a connector that still runs may take its slot again meanwhile, or drop it, and sessions end slowly."""
    with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
        if _slots_dropped(server, database):
            server.execute(SQL("drop database {} with (force)").format(Identifier(database)))
            return True
    return False


def _slots_dropped(server: psycopg.Connection[Any], database: str) -> bool:
    slots = server.execute(
        "select slot_name, active_pid from pg_replication_slots where database = %s", (database,)
    ).fetchall()
    for slot, active_pid in slots:
        if active_pid:
            server.execute("select pg_terminate_backend(%s)", (active_pid,))
        else:
            server.execute("select pg_drop_replication_slot(%s)", (slot,))
    return not slots


class OwnPostgres(Database):
    """A database on a server of the test's own, which may be stopped, killed or set otherwise: `server`."""

    def __init__(self, server: LocalPostgres, version: int, folder: Path) -> None:
        self.server = server
        self._standbys: list[LocalPostgres] = []
        super().__init__(server.dsn(), version, folder)

    def reconnect(self) -> None:
        """A new `admin` after the server was restarted."""
        self.admin.close()
        self.admin = psycopg.connect(self.dsn, autocommit=True)

    def standby(self) -> LocalPostgres:
        """A running copy that follows this server until `promote`."""
        server = self.server
        folder = Path(tempfile.mkdtemp(prefix="tailrace-postgres-"))
        copy = LocalPostgres(server.bin_dir, folder, server.settings, server.password)
        self._standbys.append(copy)
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        copy.command("pg_basebackup", "--pgdata", str(copy.data), "--dbname", server.dsn(), *options)
        copy.start()
        return copy

    def remove(self) -> None:
        self.admin.close()
        for server in (*self._standbys, self.server):
            server.remove()


def promote(standby: LocalPostgres) -> None:
    """Make a standby a server of its own, on a timeline of its own."""
    standby.command("pg_ctl", "promote", "--wait", "--pgdata", str(standby.data))


class Running:
    """One `tailrace` command under way, in a session of its own."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        base = folder / f"tailrace-{next(_serial)}"
        self._out, self._err = base.with_suffix(".out"), base.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def pids(self) -> list[int]:
        """The command's process, then its connectors' processes."""
        return [self.process.pid, *_descendants(self.process.pid)]

    def kill(self) -> None:
        """kill -9 of every process below the command, which would drain when it is gone, then of the command."""
        self.process.send_signal(signal.SIGSTOP)  # or it may start another meanwhile
        pids = self.pids()
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: all(is_gone(pid) for pid in pids), "the killed processes are gone")

    def terminate(self) -> None:
        """SIGTERM to the command alone, as a container's engine does."""
        self.process.terminate()

    def wait(self, timeout_s: float = 180) -> int:
        """The exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"tailrace still runs after {timeout_s:g} s; it said:\n{self.stderr[-4000:]}")

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def wait_for(self, text: str, timeout_s: float = 180) -> None:
        """Until `text` stands in the command's output; fails where the command ends before."""

        def said() -> bool:
            ended = self.process.poll() is not None
            # As bytes: what is written right now may end within a character.
            if any(text.encode() in path.read_bytes() for path in (self._err, self._out)):
                return True
            if ended:
                pytest.fail(f"tailrace ended with {self.process.returncode} and never said {text!r}:\n{self.stderr}")
            return False

        until(said, f"tailrace says {text!r}", timeout_s)


def is_gone(pid: int) -> bool:
    """A zombie is, where none of its threads is left to hold files, locks and ports."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def _descendants(pid: int) -> list[int]:
    below = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(line) for line in below.stdout.split()]
    return [*children, *itertools.chain.from_iterable(_descendants(child) for child in children)]


class Tailrace:
    """The command with a state folder of its own: `tailrace("offsets", "list")` runs one to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._started: list[Running] = []

    def write(self, connector: Mapping[str, Any]) -> Path:
        """Write a connector file; its path."""
        path = self.folder / f"{connector['name']}.json"
        path.write_text(json.dumps(connector))
        return path

    def start(self, *arguments: str | Path) -> Running:
        """Start a command and leave it running; killed at the end of the test."""
        words = tuple(str(argument) for argument in arguments)
        running = Running(words, self.folder, {"TAILRACE_STATE": str(self.state)})
        self._started.append(running)
        return running

    def __call__(self, *arguments: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        running = self.start(*arguments)
        code = running.wait(timeout_s)
        return subprocess.CompletedProcess(running.process.args, code, running.stdout, running.stderr)

    def run(self, connector: Mapping[str, Any], *options: str) -> Running:
        """Start `tailrace run` with this one connector."""
        return self.start("run", self.write(connector), *options)

    def catch_up(self, connector: Mapping[str, Any]) -> None:
        """Run the connector until it has delivered all that was committed; fails where it does not exit 0."""
        done = self("run", self.write(connector), "--until-caught-up")
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.kill()
