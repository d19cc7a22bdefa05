"""Sinks by the name that a connector file gives as `sink.type`. Nothing is imported until it is named."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

SINKS = {
    "kafka": "sinks.kafka:KafkaSink",
    "files": "sinks.files:FilesSink",
    "stdout": "sinks.stdout:StdoutSink",
    "discard": "sinks.discard:DiscardSink",
    "memory": "sinks.memory:MemorySink",
}
ENTRY_POINTS = "tailrace.sinks"


def names() -> list[str]:
    """Every name that `load` knows, the built-in ones first."""
    return [*SINKS, *sorted(e.name for e in entry_points(group=ENTRY_POINTS) if e.name not in SINKS)]


def load(name: str) -> Any:
    """The sink class, which carries its pydantic `Config`. Raises KeyError for a name that nothing provides."""
    if name in SINKS:
        module, _, attribute = SINKS[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry.load()
    raise KeyError(name)
