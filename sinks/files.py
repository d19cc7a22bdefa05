"""Files on a local or mounted disk: one folder per topic, nothing shown before it is whole and durable."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schema import preflight
from schema.decode import Decoder
from schema.event import Batch
from sinks.base import Schemas
from sinks.errors import SinkError, SinkMisconfigured, SinkUnavailable
from sinks.files_avro import Avro, Codec
from sinks.files_jsonl import Jsonl
from sinks.files_topic import Format, Limits, Topic, repair, sync_folder

FORMATS: dict[str, type[Format]] = {Jsonl.suffix: Jsonl, Avro.suffix: Avro}

_TOPIC = attrgetter("topic")

_NEVER = {
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ELOOP: "its symbolic links go round in a circle",
}
_NOW = {
    errno.ENOSPC: ("no space left", "free space there; delivery then goes on from the last offset"),
    errno.EDQUOT: ("the disk quota is used up", "raise the quota or free space; delivery then goes on by itself"),
    errno.EROFS: ("the file system is read-only", "mount it writable, and look for disk errors in the system's log"),
    errno.ENOENT: ("it was removed or moved while in use", "put it back, or let the next attempt make it anew"),
    errno.EMFILE: ("too many open files", "raise the limit on open files (ulimit -n) above the number of tables"),
}


class FilesConfig(BaseModel):
    """Files in a folder, one sub-folder per topic, published whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["files"] = "files"
    directory: Path = Field(description="Folder that holds a folder per topic; made where absent.")
    format: Literal["jsonl", "avro"] = Field(
        default="jsonl",
        description="jsonl: decoded, one JSON object a line; avro: object container files, at a fraction of the cost.",
    )
    codec: Codec = Field(default="null", description="Compression of avro files' blocks.")
    roll_bytes: int = Field(default=128 << 20, ge=1, description="Publish a file at this size, in bytes.")
    roll_seconds: float = Field(default=60, gt=0, description="Publish a file at this age, in seconds.")

    @model_validator(mode="after")
    def _codec_belongs_to_avro(self) -> Self:
        if self.codec != "null" and self.format != "avro":
            raise ValueError('codec belongs to "format": "avro"')
        return self


class FilesSink:
    Config: ClassVar[type[FilesConfig]] = FilesConfig

    def __init__(self, config: FilesConfig, schemas: Schemas) -> None:
        self._config = config
        self._schemas = schemas
        self._decoder = Decoder(schemas.schema)
        self._limits = Limits(config.roll_bytes, config.roll_seconds)
        self._topics: dict[str, Topic] = {}

    @staticmethod
    def check(config: FilesConfig, topics: Sequence[preflight.Topic]) -> Iterator[preflight.Finding]:
        folder = config.directory.absolute()
        with _translated(config.directory):
            while not folder.exists():
                folder = folder.parent
            _try(folder)  # `open` can make the rest
        yield preflight.Finding("ok", f"events can be written to {folder}")

    def open(self) -> None:
        directory = self._config.directory
        with self._translated():
            directory.mkdir(parents=True, exist_ok=True)
            sync_folder(directory.parent)
            _try(directory)
            for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
                repair(folder, FORMATS)

    def write(self, batch: Batch) -> None:
        # Run by run, not topic by topic: where an event is rejected, those before it are accepted, and no other.
        with self._translated():
            for name, events in groupby(batch.events, _TOPIC):
                topic = self._topics.get(name) or self._add(name)
                topic.write(list(events))

    def flush(self) -> None:
        with self._translated():
            for topic in self._topics.values():
                topic.flush()

    def caught_up(self) -> None:
        with self._translated():
            for topic in self._topics.values():
                topic.publish()

    def close(self) -> None:
        for topic in self._topics.values():
            with suppress(OSError):  # the next open finds the hidden file and repairs it
                topic.close()

    def _add(self, name: str) -> Topic:
        avro = self._config.format == "avro"
        events = Avro(name, self._schemas, self._config.codec) if avro else Jsonl(self._decoder)
        topic = self._topics[name] = Topic(self._config.directory / folder_name(name), events, self._limits)
        return topic

    def _translated(self) -> AbstractContextManager[None]:
        return _translated(self._config.directory)


def folder_name(topic: str) -> str:
    """The topic itself, for a legal one; anything else is percent-encoded, so that no two topics share a folder."""
    name = quote(topic, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _try(folder: Path) -> None:
    """Raise OSError where no file can be made in `folder`; it names the folder, not the file."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


@contextmanager
def _translated(directory: Path) -> Iterator[None]:
    """The one border where the operating system's errors become ours."""
    try:
        yield
    except OSError as error:
        raise _sink_error(directory, error) from error


def _sink_error(directory: Path, error: OSError) -> SinkError:
    code = error.errno or 0
    place = error.filename or directory
    if code in _NEVER:
        return SinkMisconfigured(
            f"events cannot be written to {place}: {_NEVER[code]}",
            "set sink.directory to a folder that the user of this process may write to",
        )
    cause, hint = _NOW.get(code, (os.strerror(code), "look for the cause in the system's log; it is tried again"))
    return SinkUnavailable(f"events cannot be written to {place}: {cause}", hint)
