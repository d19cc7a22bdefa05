"""One topic's folder: events are appended to a hidden file, which is published whole by a rename.

    .20261104T093012.123456Z.jsonl    being written, locked by its writer
    20261104T093012.123456Z.jsonl     published, never touched again

The name is the time the file was begun, UTC, and always above the names before it.
"""

import fcntl
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from schema.event import Event
from sinks.folders import sync_folder

CHUNK_BYTES = 1 << 20
"""Events that wait in memory, at most about this much beyond one batch, before they go to the file."""

_NAME = re.compile(r"\.?(\d{8}T\d{6}\.\d{6}Z)(\.\w+)")
_STAMP = "%Y%m%dT%H%M%S.%fZ"


class Format(Protocol):
    """How one topic's events become bytes. `add` collects, `take` gives what was collected."""

    suffix: str
    size_bytes: int

    def begin(self, events: Sequence[Event], at: int) -> bytes:
        """The first bytes of a file that begins with `events[at]`."""

    def add(self, events: Sequence[Event], at: int) -> int:
        """Take events from `at` on; the index of the first that needs another file, or their number."""

    def take(self) -> tuple[list[bytes], bytes]:
        """What to append, in pieces, and what to append after it only when that is durable."""

    @staticmethod
    def whole_bytes(file: BinaryIO) -> int:
        """How much of a file that a crash left behind holds whole events; 0 where none is whole."""


class Limits(NamedTuple):
    """When a file is published."""

    roll_bytes: int
    roll_seconds: float


class HiddenFile:
    """A file that no reader sees yet. The lock tells others that its writer lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self.durable_bytes = 0
        self.begun_s = time.monotonic()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.write(self._fd, left)
            self.size_bytes += written
            left = left[written:]

    def sync_data(self) -> None:
        """Make what was appended durable, though it is no whole event yet."""
        os.fdatasync(self._fd)

    def sync(self) -> None:
        """Make what was appended durable, and fit to be shown.

        Raises FileNotFoundError where the file is no longer in its folder.
        """
        if self.durable_bytes == self.size_bytes:
            return
        os.fsync(self._fd)
        if self.path.stat().st_ino != os.fstat(self._fd).st_ino:
            raise FileNotFoundError(self.path)
        if not self.durable_bytes:
            sync_folder(self.path.parent)
        self.durable_bytes = self.size_bytes

    def publish(self) -> None:
        """Show the durable part; a file without one is removed."""
        if self.size_bytes > self.durable_bytes:
            os.ftruncate(self._fd, self.durable_bytes)
            os.fsync(self._fd)
        _show(self.path, self.durable_bytes)

    def close(self) -> None:
        os.close(self._fd)


class Topic:
    """Writes one topic. Every method raises OSError."""

    def __init__(self, folder: Path, events: Format, limits: Limits) -> None:
        self._folder = folder
        self._events = events
        self._limits = limits
        self._file: HiddenFile | None = None
        self._last: datetime | None = None

    def write(self, events: Sequence[Event]) -> None:
        at = 0
        while at < len(events):
            file = self._file or self._begin(events, at)
            at = self._events.add(events, at)
            if at < len(events) or file.size_bytes + self._events.size_bytes >= self._limits.roll_bytes:
                self.publish()
            elif self._events.size_bytes >= CHUNK_BYTES:
                self._append(file)

    def flush(self) -> None:
        """Make every event durable; publish a file that is old enough."""
        if self._file is None:
            return
        self._append(self._file)
        self._file.sync()
        if time.monotonic() - self._file.begun_s >= self._limits.roll_seconds:
            self.publish()

    def publish(self) -> None:
        """Make every event durable and show them."""
        if self._file is None:
            return
        self._append(self._file)
        self._file.sync()
        self._file.publish()
        self._file.close()
        self._file = None

    def close(self) -> None:
        """Show what is durable and drop the rest."""
        if self._file is None:
            return
        try:
            self._file.publish()
        finally:
            self._file.close()
            self._file = None

    def _append(self, file: HiddenFile) -> None:
        pieces, seal = self._events.take()
        for piece in pieces:
            file.append(piece)
        if seal:
            file.sync_data()
            file.append(seal)

    def _begin(self, events: Sequence[Event], at: int) -> HiddenFile:
        header = self._events.begin(events, at)
        if not self._folder.is_dir():
            self._folder.mkdir()
            sync_folder(self._folder.parent)
        self._file = HiddenFile(self._folder / f".{self._stamp()}{self._events.suffix}")
        self._file.append(header)
        return self._file

    def _stamp(self) -> str:
        now = datetime.now(UTC)
        last = self._last or _newest(self._folder)
        self._last = max(now, last + timedelta(microseconds=1)) if last else now
        return self._last.strftime(_STAMP)


def repair(folder: Path, formats: Mapping[str, type[Format]]) -> None:
    """Publish what crashed writers left in a topic's folder, cut after its last whole event.

    A file whose writer lives is locked and left alone.
    """
    for path in sorted(folder.glob(".*")):
        name = _NAME.fullmatch(path.name)
        if name is None or name[2] not in formats:
            continue
        with path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not path.exists():  # its writer published it a moment ago
                continue
            whole_bytes = formats[name[2]].whole_bytes(file)
            os.ftruncate(file.fileno(), whole_bytes)
            os.fsync(file.fileno())
            _show(path, whole_bytes)


def _show(hidden: Path, size_bytes: int) -> None:
    if size_bytes:
        hidden.rename(hidden.with_name(hidden.name[1:]))
    else:
        hidden.unlink()
    sync_folder(hidden.parent)


def _newest(folder: Path) -> datetime | None:
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    stamps = [name[1] for name in names if name]
    return datetime.strptime(max(stamps), _STAMP).replace(tzinfo=UTC) if stamps else None
