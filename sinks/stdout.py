"""Decoded events as JSON lines on standard output."""

import os
import stat
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schema.decode import Decoder
from schema.errors import Undecodable
from schema.event import Batch
from sinks.base import Schemas
from sinks.errors import ReaderGone, Rejected, SinkUnavailable

STDOUT = 1


class StdoutConfig(BaseModel):
    """One JSON line per event on standard output: {"topic", "key", "value"}."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["stdout"] = "stdout"


class StdoutSink:
    """Writes to the descriptor itself, so that nothing waits in a buffer of ours.

    A flush makes output durable where standard output is a file; a pipe or a terminal holds what was written.
    """

    Config: ClassVar[type[StdoutConfig]] = StdoutConfig

    def __init__(self, config: StdoutConfig, schemas: Schemas) -> None:
        self._decoder = Decoder(schemas.schema)
        self._is_file = False

    def open(self) -> None:
        try:
            self._is_file = stat.S_ISREG(os.fstat(STDOUT).st_mode)
        except OSError as error:
            raise _unavailable(error) from error

    def write(self, batch: Batch) -> None:
        lines: list[bytes] = []
        for event in batch.events:
            try:
                lines.append(self._decoder.line(event))
            except Undecodable as error:
                _put(lines)
                raise Rejected(event, str(error), error.hint) from error
        _put(lines)

    def flush(self) -> None:
        if not self._is_file:
            return
        try:
            os.fsync(STDOUT)
        except OSError as error:
            raise _unavailable(error) from error

    def caught_up(self) -> None:
        pass

    def close(self) -> None:
        pass


def _put(lines: list[bytes]) -> None:
    left = memoryview(b"".join(lines))
    try:
        while left:
            left = left[os.write(STDOUT, left) :]
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> SinkUnavailable | ReaderGone:
    if isinstance(error, BrokenPipeError):
        return ReaderGone("standard output was closed by its reader", "keep the reader of the pipe running")
    return SinkUnavailable(
        f"standard output cannot be written: {os.strerror(error.errno or 0)}",
        "free space where it is redirected to, or redirect it elsewhere",
    )
