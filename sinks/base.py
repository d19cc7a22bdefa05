"""What the pipeline asks of a sink."""

from collections.abc import Sequence
from typing import Any, Protocol

from schema.event import Batch, StoredLetter


class Schemas(Protocol):
    """Schemas by the id that events carry."""

    def schema(self, schema_id: int) -> Any:
        """The Avro schema as parsed JSON. Thread-safe. Raises KeyError for an id never given out."""


class Sink(Protocol):
    """Delivers events. Every method runs on the delivery thread and raises SinkError.

    The class may offer a static ``check(config, topics)`` for `tailrace check`: it gives findings, raises SinkError
    where `open` would, and changes nothing. `topics` are those that events will go to, none where that is not known.
    With ``opaque = True`` it says that it never looks into keys and values, so that they may have any `events.format`;
    with ``in_context(logical_name, connector)`` its Config takes what readers know Debezium's connectors by.

    A sink is used once: open, write and flush any number of times, close. After an error, but for Rejected, only
    `close` is called, and a new sink is opened on the same target.
    """

    def open(self) -> None:
        """Reach the target and repair what a crash left half done."""

    def write(self, batch: Batch) -> None:
        """Accept the events in order. They may still be in flight on return.

        Raises Rejected for an event that the target refuses for good: those before it are accepted, it and those
        behind it are not, and the sink goes on.
        """

    def flush(self) -> None:
        """Return only when every accepted event is durable at the target."""

    def caught_up(self) -> None:
        """Everything so far is flushed and nothing waits: a moment to publish what readers wait for."""

    def close(self) -> None:
        """Release the target. Never raises; publishes nothing that was not flushed."""


class LetterSink(Sink, Protocol):
    """A sink that can also publish dead letters, for `errors.dead_letter_topic`."""

    def write_letters(self, topic: str, letters: Sequence[StoredLetter]) -> None:
        """Accept the letters in order, raw; as with events, `flush` makes them durable. Raises no Rejected."""
