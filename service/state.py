"""The state folder: one SQLite file, and one lock file per connector that runs."""

import errno
import fcntl
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import offsets.sqlite
import schema.decisions
import schema.registry
import service.dead_letters
import service.snapshot_requests
from offsets.errors import ConnectorRunning
from offsets.sqlite import SqliteStore
from schema.decisions import Decisions
from schema.registry import LocalRegistry
from service.dead_letters import DeadLetters
from service.snapshot_requests import SnapshotRequests

FILE = "tailrace.db"
VERSION = 3
APPLICATION_ID = 0x7461696C  # "tail": tells our file from any other SQLite file
BUSY_TIMEOUT_S = 30.0
HOLD_PATIENCE_S = 0.5
TABLES = """
create table if not exists connector (name text primary key, config_path text not null) without rowid;
"""
ALL_TABLES = "".join(
    (
        *(TABLES, offsets.sqlite.TABLES, schema.registry.TABLES, schema.decisions.TABLES),
        *(service.dead_letters.TABLES, service.snapshot_requests.TABLES),
    ),
)


class StateError(Exception):
    """The state cannot be used.

    StateError
     ├── StateFolderUnusable   not a folder, not writable, not there
     ├── StateUnreadable       damaged, from a newer version, or not ours
     └── StateNotWritten       no room, or locked for too long (retryable)

    `hint` tells an operator in one sentence what to do; `exit_code` is what the command ends with.
    """

    retryable = False
    exit_code = 3

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class StateFolderUnusable(StateError):
    exit_code = 2


class StateUnreadable(StateError):
    pass


class StateNotWritten(StateError):
    retryable = True
    exit_code = 4


class Hold:
    """While it is open no other process runs this connector or changes its offset; the kernel ends it with us."""

    def __init__(self, lock: int) -> None:
        self._lock = lock

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class State:
    """An open state folder. `path` is its SQLite file; stores made from it have connections of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE

    @classmethod
    def open(cls, directory: Path, create: bool = True) -> "State":
        """Make the folder and file where absent and `create` allows it, and check them. Raises StateError."""
        state = cls(directory)
        with state._reported():
            if not create and not state.path.exists():
                raise StateFolderUnusable(
                    f"there is no tailrace state in {directory.absolute()}",
                    "name the folder that tailrace runs with, by --state or $TAILRACE_STATE",
                )
            directory.mkdir(parents=True, exist_ok=True)
            with state._alone(), closing(state._connect()) as db:
                state._prepare(db)
        return state

    def offsets(self) -> SqliteStore:
        return SqliteStore(self.path)

    def registry(self) -> LocalRegistry:
        return LocalRegistry(self.path)

    def decisions(self, connector: str = "") -> Decisions:
        """What became of versions: of every connector, or to be written for one."""
        return Decisions(self.path, connector)

    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self.path)

    def snapshot_requests(self) -> SnapshotRequests:
        return SnapshotRequests(self.path)

    def hold(self, connector: str) -> Hold:
        """Keep every other process away from `connector` until closed. Raises ConnectorRunning, StateError."""
        with self._reported():
            lock = os.open(self._lock_path(connector), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        # Whoever only looks holds the lock for an instant, and so does a process that is being killed.
        deadline = time.monotonic() + HOLD_PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                holder = _holder(lock)
                os.close(lock)
                raise ConnectorRunning(
                    f"connector {connector} is already running as {holder}",
                    "stop it first, or give each tailrace a state folder of its own",
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
            return Hold(lock)

    def holder(self, connector: str) -> str | None:
        """Who runs `connector` now, in words; None for nobody."""
        path = self._lock_path(connector)
        if not path.exists():
            return None
        with self._reported():
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(lock)
        finally:
            os.close(lock)
        return None

    def remember_config(self, connector: str, path: Path) -> None:
        """So that offset commands find the server. Raises StateError."""
        with self._reported(), closing(self._connect()) as db:
            db.execute("insert or replace into connector values (?,?)", (connector, str(path.absolute())))

    def config_path(self, connector: str) -> Path | None:
        with self._reported(), closing(self._connect()) as db:
            row = db.execute("select config_path from connector where name = ?", (connector,)).fetchone()
        return Path(row[0]) if row else None

    def connectors(self) -> list[str]:
        """Every connector that ran with this state."""
        with self._reported(), closing(self._connect()) as db:
            return [row[0] for row in db.execute("select name from connector order by name")]

    def config_paths(self) -> list[Path]:
        """The file of every connector that ran with this state, as it last did."""
        with self._reported(), closing(self._connect()) as db:
            return [Path(row[0]) for row in db.execute("select config_path from connector order by name")]

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        db.execute("pragma synchronous = full")
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("pragma user_version").fetchone()
        (application,) = db.execute("pragma application_id").fetchone()
        (objects,) = db.execute("select count(*) from sqlite_schema").fetchone()
        if objects and application != APPLICATION_ID:
            raise StateUnreadable(f"{self.path} is not a tailrace state file", "name another state folder by --state")
        if version > VERSION:
            raise StateUnreadable(
                f"{self.path} was written by a newer tailrace (state version {version}, this one knows {VERSION})",
                "run the tailrace that wrote it or a later one; nothing was changed",
            )
        db.execute("pragma journal_mode = wal")
        db.execute("begin immediate")  # also tells a file that cannot be written
        if version < VERSION:
            service.dead_letters.upgrade(db)
            for statement in ALL_TABLES.split(";"):
                db.execute(statement)
            db.execute(f"pragma application_id = {APPLICATION_ID}")
            db.execute(f"pragma user_version = {VERSION}")
        db.execute("commit")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Connectors start together; only one may turn an empty file into a state."""
        lock = os.open(self.directory / f"{FILE}-opening", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _lock_path(self, connector: str) -> Path:
        return self.directory / f"{quote(connector, safe='')}.lock"

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise self._not_written(error.strerror) from error
            raise self._unusable(error.strerror) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                raise self._unusable(str(error)) from error
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY):
                raise self._not_written(str(error)) from error
            raise StateUnreadable(
                f"{self.path} cannot be read: {error}",
                "restore it from a backup, or move it away to start every connector as a new one",
            ) from error

    def _unusable(self, reason: str | None) -> StateFolderUnusable:
        return StateFolderUnusable(
            f"the state folder {self.directory} cannot be used: {reason}",
            "name a folder that can be written, by --state or $TAILRACE_STATE, or run as its owner",
        )

    def _not_written(self, reason: str | None) -> StateNotWritten:
        return StateNotWritten(
            f"the state in {self.directory} could not be written: {reason}",
            "nothing was changed; make room on its disk",
        )


def _holder(lock: int) -> str:
    pid, _, host = os.pread(lock, 300, 0).decode(errors="replace").strip().partition(" ")
    return f"pid {pid} on host {host}" if host else "another process"
