"""The GTIDs that the stream has come past, one by one: mostly each is the next of the one before."""

from threading import Lock

from connectors.mysql.connection import Flavor
from connectors.mysql.gtid import MariadbGtids, MysqlGtids


class Executed:
    def __init__(self, flavor: Flavor, text: str) -> None:
        self._parse = MariadbGtids.parse if flavor == "mariadb" else MysqlGtids.parse
        self._gtids: MariadbGtids | MysqlGtids = self._parse(text)
        self._has_ranges = flavor == "mysql"
        self._source = ""
        self._first = self._last = 0
        self._lock = Lock()
        """A reader of the copy asks while the stream goes on."""

    def add(self, gtid: str) -> None:
        """One transaction more: ``uuid:n``, ``uuid:tag:n``, or MariaDB's ``domain-server-n``."""
        if not self._has_ranges:
            self._gtids = self._gtids + gtid
            return
        source, _, number = gtid.rpartition(":")
        n = int(number)
        with self._lock:
            if n == self._last + 1 and source == self._source:
                self._last = n
                return
            self._fold()
            self._source, self._first, self._last = source, n, n

    def contains(self, text: str) -> bool:
        with self._lock:
            self._fold()
        return self._gtids.contains(self._parse(text))  # type: ignore[arg-type]  # of one flavor

    def __str__(self) -> str:
        """As the server prints it."""
        with self._lock:
            self._fold()
        return str(self._gtids)

    def _fold(self) -> None:
        if self._source:
            self._gtids = self._parse(f"{self._gtids},{self._source}:{self._first}-{self._last}")
            self._source = ""
