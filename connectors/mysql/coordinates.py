"""Where one stands in a server's binlog: file and position, and the GTIDs up to there where the server writes them."""

import re
from typing import NamedTuple

_TOKEN = re.compile(r"([^:/]+\.\d{6,}):(\d+)(?:/(.+))?")
_POS_BITS = 38
"""256 GB: a file passes `max_binlog_size`, 1 GB at most, by one transaction."""


class Coordinates(NamedTuple):
    """`pos` is the first byte behind what was read; `gtids` is empty where GTIDs are off.

    The token is ``binlog.000003:1547`` or ``binlog.000003:1547/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5``.
    """

    file: str
    pos: int
    gtids: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.pos}" + (f"/{self.gtids}" if self.gtids else "")


def parse(token: str) -> Coordinates:
    """Raises ValueError. Whether the GTIDs are well formed is for connectors.mysql.gtid to say."""
    if not (match := _TOKEN.fullmatch("".join(token.split()))):
        raise ValueError(
            f"{token!r} is no position in a binlog, such as binlog.000003:1547 or binlog.000003:1547/GTIDS"
        )
    return Coordinates(match[1], int(match[2]), match[3] or "")


def order(coordinates: Coordinates) -> int:
    """Grows along one server's log; says nothing between two servers."""
    return order_of_file(coordinates.file) | coordinates.pos


def order_of_file(file: str) -> int:
    """Of its position 0."""
    return int(file.rpartition(".")[2]) << _POS_BITS
