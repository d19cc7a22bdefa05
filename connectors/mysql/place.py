"""Where in the log the stream stands, counted log event by log event.

An event's header has the position behind it, in 32 bits; MariaDB from 11.4 on writes 0 inside transactions, and so
does MySQL inside a compressed one. What the server makes up for us (artificial events) stands nowhere. A leaf, like
connectors.mysql.events, which says more of both.
"""

from connectors.mysql.coordinates import Coordinates, order_of_file
from connectors.mysql.integers import u16, u32, u64

_ROTATE, _FORMAT_DESCRIPTION, _STOP, _PAYLOAD = 4, 15, 3, 40
_HEARTBEAT, _HEARTBEAT_V2, _GTID_LIST = 27, 41, 163
_OUTSIDE = (33, 34, 42, _FORMAT_DESCRIPTION, _STOP)
"""What never stands inside a compressed transaction; the first three begin one."""
_ARTIFICIAL = 0x20
_HIGH = ~0xFFFFFFFF
_WRAP = 1 << 32


class Place:
    """`file` and `pos` of the next log event; `pos` counts on past 4 GiB. `order_of_file` is that of its position 0."""

    def __init__(self, start: Coordinates) -> None:
        self.file: str = start.file
        self.order_of_file: int = order_of_file(start.file) if start.file else 0
        self.pos: int = start.pos
        self._inside_payload = False

    def step(self, event: bytes) -> int:
        """Go behind `event`; the position where it begins."""
        begins = self.pos
        kind = event[4]
        if kind == _ROTATE:
            self.reach(event[27:].decode(), u64(event, 19))
            return begins
        flags = u16(event, 17)
        end = u32(event, 13)
        if self._inside_payload:
            if kind not in _OUTSIDE:
                return begins
            self._inside_payload = False
        elif kind == _PAYLOAD:
            self._inside_payload = True
        if flags & _ARTIFICIAL or kind in (_HEARTBEAT, _HEARTBEAT_V2):
            return begins
        if not end:
            if kind not in (_FORMAT_DESCRIPTION, _GTID_LIST):
                self.pos = begins + u32(event, 9)
            return begins
        end |= begins & _HIGH
        if end < begins:
            end += _WRAP
        self.pos = end
        return end - u32(event, 9)

    def reach(self, file: str, pos: int) -> None:
        """The server says that its log has nothing for us before this."""
        if file != self.file:
            self.order_of_file = order_of_file(file)
        self.file, self.pos = file, pos
