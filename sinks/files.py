"""Files on a local or mounted disk: one folder per topic, nothing shown before it is whole and durable."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schema import preflight
from schema.decode import Decoder
from schema.event import Batch
from sinks.base import Schemas
from sinks.files_avro import Avro, Codec
from sinks.files_jsonl import Jsonl
from sinks.files_topic import Format, Limits, Topic, repair
from sinks.folders import folder_name, prepare, reported, try_folder

FORMATS: dict[str, type[Format]] = {Jsonl.suffix: Jsonl, Avro.suffix: Avro}

KEY = "sink.directory"
_TOPIC = attrgetter("topic")


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
        with reported(config.directory, KEY):
            folder = try_folder(config.directory)
        yield preflight.Finding("ok", f"events can be written to {folder}")

    def open(self) -> None:
        directory = self._config.directory
        with self._translated():
            prepare(directory)
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
        return reported(self._config.directory, KEY)
