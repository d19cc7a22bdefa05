"""The sink of a connector file, and the format of what it gets."""

from typing import Any

import sinks
from schema.errors import Undecodable
from schema.event import Batch, Event
from schema.formats import Form, form_of
from schema.registry import Registry
from service import secrets
from service.config import Connector
from sinks.base import Sink
from sinks.errors import Rejected

_DEBEZIUM = {"postgres": "postgresql"}
"""Debezium's names of its connectors, where they are others than ours."""


def build_sink(connector: Connector, registry: Registry) -> Sink:
    """Not opened. Secrets are read now, so that a password that was changed is found. Raises SecretMissing."""
    config: Any = secrets.resolve(connector.sink)
    if hasattr(config, "in_context"):
        kind = connector.source_type
        config = config.in_context(connector.topic_prefix, _DEBEZIUM.get(kind, kind))
    sink: Sink = sinks.load(connector.sink_type)(config, registry)
    form = form_of(connector.events.format, registry.schema)
    return sink if form is None else Formatted(sink, form)


class Formatted:
    """A sink that is given events in another format; what it rejects is told of the event that came in."""

    def __init__(self, sink: Sink, form: Form) -> None:
        self._sink = sink
        self._form = form

    def write(self, batch: Batch) -> None:
        made: list[Event] = []
        try:
            for event in batch.events:
                made.append(self._form(event))
        except Undecodable as error:
            self._write(batch, made)
            raise Rejected(batch.events[len(made)], str(error), error.hint) from error
        self._write(batch, made)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the sink's own, also what only some sinks have."""
        return getattr(self._sink, name)

    def _write(self, batch: Batch, made: list[Event]) -> None:
        try:
            self._sink.write(batch._replace(events=made))
        except Rejected as rejected:
            at = next(i for i, event in enumerate(made) if event is rejected.event)
            rejected.event = batch.events[at]
            raise
