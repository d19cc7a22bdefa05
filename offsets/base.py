"""What is asked of an offset store: by the pipeline `Offsets`, by the worker and by operators `OffsetStore`."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from offsets.history import Change, Stored
from offsets.position import Offset, Position


class Offsets(Protocol):
    """Remembers, durably, how far each connector has delivered. Owned by the delivery thread."""

    def load(self, connector: str) -> Offset | None:
        """The stored offset, or None for a connector never seen. Raises OffsetUnreadable, OffsetStoreFailed."""

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        """Store `position` and merge `snapshot` into the stored progress, atomically; durable on return.

        An empty text in `snapshot` removes what is stored under its name.

        Raises OffsetMovedBackwards where `position.order` is below the stored one, OffsetStoreFailed where the
        write did not happen (disk full, folder or server gone), HoldLost where another process may run the connector.
        """

    def close(self) -> None:
        """Release the connection, and the hold with it. Never raises; harmless when called twice."""


class Doubt(NamedTuple):
    """What may lose a saved offset, though saving works. `mend` is the setting or SQL that ends it."""

    text: str
    mend: str


class OffsetStore(Offsets, Protocol):
    """Offsets with the history that lets an operator go back. One thread uses it at a time.

    The class carries its pydantic `Config` and is built as ``Class(config)``, which connects and makes its tables or
    keys where they are absent; only ``sqlite`` is built on the state's file. A server's class has also::

        @staticmethod
        def check(config) -> Sequence[Doubt]: ...

    which tries whether it can be reached and written, and changes nothing. Both raise OffsetStoreFailed,
    OffsetStoreRefused, OffsetStoreMisconfigured.
    """

    place: str
    """How sentences name it: a path, ``postgres db:5432/ops``."""

    def hold(self, connector: str) -> None:
        """Be the only runner of `connector`, on any machine, until `close`. Raises ConnectorRunning."""

    def holder(self, connector: str) -> str | None:
        """Who holds `connector` now, in words; None for nobody."""

    def all(self) -> list[Stored]:
        """Every connector with an offset, by name."""

    def replace(self, connector: str, offset: Offset | None, command: str) -> None:
        """Put `offset` (None: nothing) in the place of what is stored, and remember that for ever as `command`."""

    def changes(self, connector: str, limit: int = 20) -> list[Change]:
        """What operators did to this connector's offset, the latest first."""

    def position_at(self, connector: str, moment: datetime) -> Position | None:
        """A position behind which lies everything delivered after `moment`; None where that is not known."""
