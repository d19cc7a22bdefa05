"""Accepts every event and drops it: for measuring everything before the sink."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schema.event import Batch
from sinks.base import Schemas


class DiscardConfig(BaseModel):
    """Drops every event, for measurements. Offsets move on as if it were delivered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["discard"] = "discard"


class DiscardSink:
    Config: ClassVar[type[DiscardConfig]] = DiscardConfig
    opaque: ClassVar[bool] = True

    def __init__(self, config: DiscardConfig, schemas: Schemas) -> None:
        pass

    def open(self) -> None:
        pass

    def write(self, batch: Batch) -> None:
        pass

    def flush(self) -> None:
        pass

    def caught_up(self) -> None:
        pass

    def close(self) -> None:
        pass
