"""A target in this process, for tests: it tells accepted from durable, and fails where it is told to.

target = Target.named("orders")
target.fail("flush", nth=2, applied="half")
sink = MemorySink(MemoryConfig(target="orders"), schemas)
"""

from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from schema.event import Batch, Event
from sinks.base import Schemas
from sinks.errors import SinkError, SinkUnavailable

Step = Literal["open", "write", "flush", "caught_up"]
Applied = Literal["none", "half", "all"]


class Failure(NamedTuple):
    """`applied`: how much of the call takes effect before the error; "all" is an acknowledgement that got lost."""

    nth: int
    applied: Applied
    error: SinkError


class Target:
    """What sinks of one name deliver to. It outlives them, as a broker outlives a connection."""

    _by_name: ClassVar[dict[str, "Target"]] = {}

    def __init__(self) -> None:
        self.accepted: list[Event] = []
        self.durable: list[Event] = []
        self.published = 0
        self._calls: dict[Step, int] = {}
        self._failures: dict[Step, Failure] = {}

    @classmethod
    def named(cls, name: str) -> "Target":
        return cls._by_name.setdefault(name, cls())

    def fail(self, step: Step, nth: int = 1, applied: Applied = "none", error: SinkError | None = None) -> None:
        """Fail the nth call of `step` from now on, once."""
        error = error or SinkUnavailable(f"the target failed at {step}, as it was told to", "try again")
        self._calls[step] = 0
        self._failures[step] = Failure(nth, applied, error)

    def enter(self, step: Step) -> Failure | None:
        """Count a call; the failure that is due with it, if any."""
        self._calls[step] = self._calls.get(step, 0) + 1
        due = self._failures.get(step)
        return due if due and due.nth == self._calls[step] else None


class MemoryConfig(BaseModel):
    """Keeps events in memory, for tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["memory"] = "memory"
    target: str = Field(default="memory", description="Sinks with the same target deliver to the same lists.")


class MemorySink:
    """Loses on `open` and `close` what was not flushed, as a crash does."""

    Config: ClassVar[type[MemoryConfig]] = MemoryConfig
    opaque: ClassVar[bool] = True

    def __init__(self, config: MemoryConfig, schemas: Schemas) -> None:
        self._target = Target.named(config.target)

    def open(self) -> None:
        failure = self._target.enter("open")
        self._target.accepted.clear()
        if failure:
            raise failure.error

    def write(self, batch: Batch) -> None:
        failure = self._target.enter("write")
        self._target.accepted.extend(batch.events[: _share(len(batch.events), failure)])
        if failure:
            raise failure.error

    def flush(self) -> None:
        failure = self._target.enter("flush")
        share = _share(len(self._target.accepted), failure)
        self._target.durable.extend(self._target.accepted[:share])
        del self._target.accepted[:share]
        if failure:
            raise failure.error

    def caught_up(self) -> None:
        failure = self._target.enter("caught_up")
        if failure is None or failure.applied != "none":
            self._target.published = len(self._target.durable)
        if failure:
            raise failure.error

    def close(self) -> None:
        self._target.accepted.clear()


def _share(count: int, failure: Failure | None) -> int:
    if failure is None or failure.applied == "all":
        return count
    return count // 2 if failure.applied == "half" else 0
