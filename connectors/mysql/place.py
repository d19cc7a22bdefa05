"""Where in the log the stream stands, counted log event by log event.

An event's header has the position behind it, in 32 bits; MariaDB from 11.4 on writes 0 inside transactions, and so
does MySQL inside a compressed one. What the server makes up for us (artificial events) stands nowhere.
"""

from connectors.mysql import events
from connectors.mysql.coordinates import Coordinates

_HIGH = ~0xFFFFFFFF
_WRAP = 1 << 32
_OUTSIDE = {events.GTID, events.GTID_TAGGED, events.ANONYMOUS_GTID, events.FORMAT_DESCRIPTION, events.STOP}
"""What never stands inside a compressed transaction."""


class Place:
    """`file` and `pos` of the next log event; `pos` counts on past 4 GiB."""

    def __init__(self, start: Coordinates) -> None:
        self.file = start.file
        self.pos = start.pos
        self._inside_payload = False

    def step(self, event: bytes) -> int:
        """Go behind `event`; the position where it begins."""
        if event[4] == events.ROTATE:
            begins = self.pos
            self.file, self.pos = events.rotate(event)
            return begins
        begins = self.pos
        end = int.from_bytes(event[13:17], "little")
        if event[4] == events.TRANSACTION_PAYLOAD:
            self._inside_payload = True
        elif event[4] in _OUTSIDE:
            self._inside_payload = False
        elif self._inside_payload:
            return begins
        if events.is_artificial(event):
            return begins
        size = int.from_bytes(event[9:13], "little")
        if not end:
            self.pos = begins + size
            return begins
        end |= begins & _HIGH
        if end < begins:
            end += _WRAP
        self.pos = end
        return end - size

    def reach(self, file: str, pos: int) -> None:
        """A heartbeat says that the log has nothing for us before this."""
        self.file, self.pos = file, pos
