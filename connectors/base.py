"""What the pipeline asks of a source."""

from collections.abc import Sequence
from typing import Protocol

from offsets.position import Offset, Position
from schema.event import Batch


class Source(Protocol):
    """One database's log as batches of events. Every method runs on the reader thread.

    The class carries its pydantic `Config` and is built as ``Class(config, connector=, topic_prefix=, registry=,
    version=, dead_letter=)``; `dead_letter` takes what no event can hold, None where that is an error. Where changes of
    a version that the registry refuses are put aside, it is given ``refused=`` too, which takes them.

    It may offer two static methods for `tailrace check`, which change nothing: ``check(config)`` gives findings, and
    ``topics(config, topic_prefix)`` the topics of the tables that are captured now.

    All methods raise SourceError; after one, the only call left is `close`.
    """

    def open(self, after: Offset | None) -> None:
        """Start behind `after`; None: as a new connector does. Refuses a log that no longer holds what follows."""

    def open_view(self, start: str) -> None:
        """Open to look: nothing is copied, stored or kept. `start`: ``now``, ``start`` or the source's own position."""

    def read(self, timeout_s: float) -> Batch | None:
        """The next batch, or None where nothing came within `timeout_s`."""

    def snapshot(self, tables: Sequence[str], where: str | None) -> None:
        """Copy tables again, by full name, whatever was copied before: all rows, or those that fulfil an SQL condition.

        What cannot be copied is warned of. The next batch with a position has the progress that tells of it.
        """

    def ack(self, position: Position | None) -> None:
        """The database may forget up to `position`. None says only that we are alive.

        Called at least every second, also while nobody reads, so that the server's time-out never strikes.
        """

    def caught_up(self) -> bool:
        """All that was committed when `open` returned has been returned by `read`, the snapshot included."""

    def finished(self) -> bool:
        """Nothing will ever follow: a source that was asked for a snapshot only has read it whole."""

    def close(self) -> None:
        """Release the connection. Never raises; harmless when called twice."""
