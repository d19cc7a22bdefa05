"""Offsets of a process that need not outlive it: for tests, and for users' tests."""

from collections.abc import Mapping

from offsets.origin import refuse_to_go_back
from offsets.position import Offset, Position, merged


class MemoryStore:
    """Offsets in a dict."""

    def __init__(self) -> None:
        self._offsets: dict[str, Offset] = {}

    def load(self, connector: str) -> Offset | None:
        return self._offsets.get(connector)

    def save(self, connector: str, position: Position, snapshot: Mapping[str, str]) -> None:
        stored = self._offsets.get(connector)
        refuse_to_go_back(connector, stored.position if stored else None, position)
        self._offsets[connector] = Offset(position, merged(stored.snapshot if stored else {}, snapshot))

    def close(self) -> None:
        pass
