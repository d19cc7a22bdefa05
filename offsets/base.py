"""What the pipeline asks of an offset store."""

from collections.abc import Mapping
from typing import Protocol

from offsets.position import Offset, Position


class OffsetStore(Protocol):
    """Remembers, durably, how far each connector has delivered. Owned by the delivery thread."""

    def load(self, connector: str) -> Offset | None:
        """The stored offset, or None for a connector never seen. Raises OffsetUnreadable."""

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        """Store `position` and merge `snapshot` into the stored progress, atomically; durable on return.

        An empty text in `snapshot` removes what is stored under its name.

        Raises OffsetMovedBackwards where `position.order` is below the stored one, OffsetStoreFailed where the
        write did not happen (disk full, folder gone).
        """

    def close(self) -> None: ...
