"""XA transactions: logged at XA PREPARE, decided later, perhaps never.

Source: MySQL manual, "XA Transaction States"; sql/xa.cc. A prepared transaction's rows stand in the log as a group of
their own; XA COMMIT or XA ROLLBACK is another group, any time behind it.
"""

from collections.abc import Iterator
from struct import Struct
from tempfile import SpooledTemporaryFile
from typing import Final

import structlog

from connectors.mysql.coordinates import Coordinates

DELIVERED: Final = "xa:delivered"
"""By this name the offset has how far the log was delivered, where it stands before that: at an undecided transaction.

Others were prepared before and committed behind it. A run that begins there sees their XA COMMIT without their rows.
"""
UNSURE: Final = ""
"""Stands for the xid of a transaction without XA that a crash of the server may have cut off."""
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


class Held:
    """Transactions whose log events are kept until it is known whether they count, each by its xid or as UNSURE.

    `current` is the one that the log is in now.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self._kept: dict[str, Undecided] = {}
        self._behind = 0

    @property
    def first(self) -> Undecided | None:
        """Of XA's, the one that was prepared first."""
        for xid, undecided in self._kept.items():
            if xid != UNSURE:
                return undecided
        return None

    def begin(self, xid: str, begins: Coordinates) -> None:
        self.drop(xid)
        self.current = xid
        self._kept[xid] = Undecided(begins)

    def add(self, pos: int, event: bytes) -> bool:
        """Keep a log event of `current`. False where there is none."""
        if self.current is None:
            return False
        self._kept[self.current].add(pos, event)
        return True

    @property
    def size_bytes(self) -> int:
        """Of what is kept of `current`."""
        return 0 if self.current is None else self._kept[self.current].size_bytes

    def cut(self, size_bytes: int) -> None:
        """Forget what was kept of `current` behind `size_bytes`."""
        if self.current is not None:
            self._kept[self.current].cut(size_bytes)

    def decided(self, xid: str) -> Undecided | None:
        """The log says what becomes of it; it is kept on until `drop`."""
        self.current = None
        self._behind = 0
        return self._kept.get(xid)

    def drop(self, xid: str) -> None:
        if self.current == xid:
            self.current = None
        if (undecided := self._kept.pop(xid, None)) is not None:
            undecided.close()

    def passed(self) -> None:
        """A transaction was committed; now and then an operator should know what it was committed behind."""
        self._behind += 1
        if self._behind % _LONG_UNDECIDED:
            return
        for xid, undecided in self._kept.items():
            log.warning(
                f"an XA transaction has been prepared and not decided for {self._behind:,} transactions; the offset"
                " stays before it",
                xid=xid,
                position=str(undecided.begins),
                hint=f"decide it on the server: xa recover, then xa commit {xid} or xa rollback {xid}",
            )
            return

    def close(self) -> None:
        """Remove the temporary files."""
        for undecided in self._kept.values():
            undecided.close()
