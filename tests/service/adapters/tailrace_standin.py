"""A source and an offset store of somebody else's, found by their entry points: they do what tests around them need."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from connectors.errors import LogGap, SourceMisconfigured, SourceUnreachable
from offsets.memory import MemoryStore
from offsets.position import Offset, Position
from schema.event import Batch, DeadLetter
from schema.preflight import Finding
from schema.registry import Registry


class StandinConfig(BaseModel):
    """`diary` gets a line for every open and close."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["standin"]
    diary: Path
    does: Literal[
        "idle", "ends", "unreachable", "flaky", "gap", "misconfigured", "defect", "suicide", "deaf", "closes slowly"
    ] = "idle"
    password: SecretStr | None = None


class StandinSource:
    Config = StandinConfig

    def __init__(
        self,
        config: StandinConfig,
        *,
        connector: str,
        topic_prefix: str,
        registry: Registry,
        version: str,
        dead_letter: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        self._config = config
        self._connector = connector

    @staticmethod
    def check(config: StandinConfig) -> Iterator[Finding]:
        yield Finding("ok", "the stand-in is there")
        match config.does:
            case "flaky":
                yield Finding("warn", "it may stumble", "alter system set stumbling = off")
            case "gap":
                yield Finding("fail", "there is a gap", "select mend()")
            case "unreachable":
                raise SourceUnreachable("the stand-in is away", "bring it back")

    def open(self, after: Offset | None) -> None:
        opened = self._write("open")
        match self._config.does:
            case "unreachable":
                secret = self._config.password.get_secret_value() if self._config.password else "no password"
                raise SourceUnreachable(f"the stand-in is away, it was told {secret}", "bring it back")
            case "flaky" if opened < 3:
                raise SourceUnreachable("the stand-in stumbled", "let it get up")
            case "gap":
                raise LogGap("the log has a gap", "mend the log")
            case "misconfigured":
                raise SourceMisconfigured("the table public.nope does not exist", "correct source.tables")
            case "defect":
                raise ZeroDivisionError("division by zero")
            case "suicide" if opened < 2:
                os.kill(os.getpid(), signal.SIGKILL)

    def read(self, timeout_s: float) -> Batch | None:
        if self._config.does == "deaf":
            self._write("deaf")
            time.sleep(600)
        time.sleep(0.05)
        return None

    def ack(self, position: Position | None) -> None:
        pass

    def caught_up(self) -> bool:
        return self._config.does in ("ends", "flaky")

    def finished(self) -> bool:
        return False

    def close(self) -> None:
        if self._config.does == "closes slowly":
            time.sleep(2)
        self._write("close")

    def _write(self, word: str) -> int:
        """How often the diary has said it, this time included."""
        with self._config.diary.open("a") as diary:
            diary.write(f"{self._connector} {word} {os.getpid()}\n")
        return sum(f" {word} " in line for line in self._config.diary.read_text().splitlines())


class StandinStoreConfig(BaseModel):
    """`diary` gets a line for every connector that is held; with `forgets` only the first one has an offset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["standin"]
    diary: Path
    forgets: bool = False


class StandinStore(MemoryStore):
    Config = StandinStoreConfig  # type: ignore[assignment]

    def __init__(self, config: StandinStoreConfig) -> None:
        super().__init__()
        self._diary = config.diary
        self._forgets = config.forgets

    def hold(self, connector: str) -> None:
        with self._diary.open("a") as diary:
            diary.write(f"{connector} held\n")
        if self._forgets and self._diary.read_text().count(" held") == 1:
            self.save(connector, Position(1, "0/1", '{"type": "standin"}'), {})
