"""The claim check: a value too large for its topic is kept as a file, and the event goes out with a pointer to it.

Source: Hohpe and Woolf, Enterprise Integration Patterns, "Claim Check".
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schema.event import Event
from schema.preflight import Finding
from sinks.folders import folder_name, prepare, reported, sync_folder, try_folder

HEADER: Final = "tailrace.claim_check"
KEY: Final = "sink.claim_check.directory"

_CLOCK: Final = re.compile(
    rb'(?:\x02[\x80-\xff]{0,9}[\x00-\x7f]){3}\Z|"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+\}+\Z', re.DOTALL
)
"""When the event was made, at the end of an envelope in Avro and in JSON."""
_CLOCK_BYTES: Final = 100


class ClaimCheck(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path | None = Field(
        default=None, description="Folder for values that are too large, which readers of the topics see, too."
    )
    above_bytes: int = Field(default=900_000, ge=1, description="Values of more bytes than this go there.")

    @model_validator(mode="after")
    def _has_a_folder(self) -> Self:
        if self.directory is None and self.model_fields_set:
            raise ValueError('directory: missing; accepted: {"directory": "/mnt/claims", "above_bytes": 900000}')
        return self


class Claim(NamedTuple):
    """What a reader needs: `path` inside the claims' folder, and what it finds there."""

    path: str
    size_bytes: int
    sha256: str

    def pointer(self) -> bytes:
        """What stands in the header: a JSON object."""
        return orjson.dumps(self._asdict())

    def value(self) -> bytes:
        """What stands for the event's value. It is no Avro: a reader that knows nothing of claims must not go on."""
        return b'{"claim_check":%b}' % self.pointer()


class Claims:
    """A folder of values. The same event makes one file, however often it is delivered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def check(self) -> Finding:
        """Raises SinkError where `open` would; changes nothing."""
        with self._reported():
            folder = try_folder(self._directory)
        return Finding("ok", f"large values can be written to {folder}")

    def open(self) -> None:
        """Raises SinkError."""
        with self._reported():
            prepare(self._directory)

    def keep(self, event: Event) -> Claim:
        """Durable on return. Raises SinkError."""
        assert event.value is not None
        name = _name(event)
        folder = self._directory / folder_name(event.topic)
        with self._reported():
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(self._directory)
            kept = folder / name
            if not kept.exists():
                _write_whole(kept, event.value)
            sync_folder(folder)  # also of a file that was there: a crash may have come before this
            content = kept.read_bytes()
        return Claim(f"{folder.name}/{name}", len(content), hashlib.sha256(content).hexdigest())

    def _reported(self) -> AbstractContextManager[None]:
        return reported(self._directory, KEY)


def _name(event: Event) -> str:
    """Of what stays the same when the change is read again, which is all but when its event was made."""
    value = event.value or b""
    clock = _CLOCK.search(value, max(0, len(value) - _CLOCK_BYTES))
    lasting = value[: clock.start()] if clock else value
    return hashlib.sha256(b"".join(_sized((event.topic.encode(), event.key or b"", lasting)))).hexdigest()


def _sized(parts: tuple[bytes, ...]) -> Iterator[bytes]:
    for part in parts:
        yield len(part).to_bytes(8, "big")
        yield part


def _write_whole(path: Path, content: bytes) -> None:
    hidden = path.with_name(f".{path.name}")
    with hidden.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another runner may be at the same event
        if path.exists():
            hidden.unlink(missing_ok=True)
        else:
            file.truncate(0)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            hidden.rename(path)
