"""XA transactions: logged at XA PREPARE, decided later, perhaps never.

Source: MySQL manual, "XA Transaction States"; sql/xa.cc. A prepared transaction's rows stand in the log as a group of
their own; XA COMMIT or XA ROLLBACK is another group, any time behind it.
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from tempfile import SpooledTemporaryFile
from typing import Final

import structlog

from connectors.mysql.coordinates import Coordinates

DELIVERED: Final = "xa:delivered"
"""By this name the offset has how far the log was delivered, where it stands before that: at an undecided transaction.

Others were prepared before and committed behind it. A run that begins there sees their XA COMMIT without their rows.
"""
MEMORY_BYTES = 256 << 10
"""What one transaction may hold in memory before it goes to a temporary file: many may be undecided."""
_LONG_UNDECIDED = 10_000
"""Transactions behind an undecided one after which an operator should know."""

_HEAD = Struct("<QI")

log = structlog.get_logger("tailrace")


class Undecided:
    """One transaction's log events, each with its position; `begins` is where a run must begin that is to see it."""

    def __init__(self, begins: Coordinates) -> None:
        self.begins = begins
        self._spool = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 (closed by `close`)

    def add(self, pos: int, event: bytes) -> None:
        self._spool.write(_HEAD.pack(pos, len(event)))
        self._spool.write(event)

    @property
    def size_bytes(self) -> int:
        """Of what was added."""
        return self._spool.tell()

    def cut(self, size_bytes: int) -> None:
        """Forget what was added behind `size_bytes`."""
        self._spool.seek(size_bytes)
        self._spool.truncate()

    def events(self) -> Iterator[tuple[int, bytes]]:
        """(position, log event), in their order."""
        self._spool.seek(0)
        while head := self._spool.read(_HEAD.size):
            pos, size = _HEAD.unpack(head)
            yield pos, self._spool.read(size)

    def close(self) -> None:
        self._spool.close()


def warn_of_undecided(undecided: Mapping[str, Undecided], behind: int) -> None:
    """Now and then. `behind`: how many transactions the log has behind the first of them by now."""
    if behind % _LONG_UNDECIDED:
        return
    xid, first = next(iter(undecided.items()))
    log.warning(
        f"an XA transaction has been prepared and not decided for {behind:,} transactions; the offset stays before it",
        xid=xid,
        position=str(first.begins),
        hint=f"decide it on the server: xa recover, then xa commit {xid} or xa rollback {xid}",
    )
