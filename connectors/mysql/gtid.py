"""Sets of global transaction identifiers, as MySQL and as MariaDB have them. Immutable; text is what the server prints.

Source: MySQL manual, "GTID Sets", and sql/rpl_gtid_set.cc for the binary forms; MariaDB manual, "Global Transaction
ID".
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Self
from uuid import UUID

from connectors.mysql.integers import variable

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_MARIADB = re.compile(r"(\d+)-(\d+)-(\d+)")

_Ranges = tuple[tuple[int, int], ...]
"""Both ends included, ascending, with a gap between one and the next."""


class MysqlGtids:
    """``uuid:1-5:7:tag:1-3,uuid:1``. A source is a server's uuid, or since MySQL 8.3 ``uuid:tag``."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Mapping[str, _Ranges] | None = None) -> None:
        self._sources: Mapping[str, _Ranges] = sources or {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        numbers: dict[str, list[tuple[int, int]]] = {}
        for of_server in filter(None, "".join(text.split()).lower().split(",")):
            uuid, *parts = of_server.split(":")
            if not _UUID.fullmatch(uuid) or not parts:
                raise ValueError(f"{of_server!r} is no GTID, such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")
            source = uuid
            for part in parts:
                if match := _RANGE.fullmatch(part):
                    first = int(match[1])
                    numbers.setdefault(source, []).append((first, int(match[2] or first)))
                elif _TAG.fullmatch(part):
                    source = f"{uuid}:{part}"
                else:
                    raise ValueError(f"{part!r} in {of_server!r} is neither a range of numbers nor a tag")
        return cls({source: _merged(ranges) for source, ranges in sorted(numbers.items())})

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Of `encoded`'s form, which is a PREVIOUS_GTIDS event's body too."""
        head = int.from_bytes(data[:8], "little")
        is_tagged = head >> 56 == 1
        numbers: dict[str, _Ranges] = {}
        at = 8
        for _ in range(head >> 8 & (1 << 48) - 1 if is_tagged else head):
            source = str(UUID(bytes=data[at : at + 16]))
            at += 16
            if is_tagged:
                size, at = variable(data, at)
                source += f":{data[at : at + size].decode()}" if size else ""
                at += size
            count = int.from_bytes(data[at : at + 8], "little")
            ends = [int.from_bytes(data[i : i + 8], "little") for i in range(at + 8, at + 8 + 16 * count, 8)]
            numbers[source] = _merged([(a, b - 1) for a, b in zip(ends[::2], ends[1::2], strict=True)])
            at += 8 + 16 * count
        return cls(numbers)

    def encoded(self) -> bytes:
        """For the dump request: how many sources, then each with its ranges, whose second end is excluded.

        Where a tag is among them the count stands between two bytes 1, and each uuid has its tag behind it.
        """
        is_tagged = any(":" in source for source in self._sources)
        count = len(self._sources)
        parts = [(1 << 56 | count << 8 | 1 if is_tagged else count).to_bytes(8, "little")]
        for source, ranges in self._sources.items():
            uuid, _, tag = source.partition(":")
            parts.append(UUID(uuid).bytes)
            if is_tagged:
                parts.append(bytes((len(tag) << 1,)) + tag.encode())
            parts.append(len(ranges).to_bytes(8, "little"))
            parts += [first.to_bytes(8, "little") + (last + 1).to_bytes(8, "little") for first, last in ranges]
        return b"".join(parts)

    def __str__(self) -> str:
        text, uuid = "", ""
        for source, ranges in self._sources.items():
            if uuid and source.startswith(uuid):
                text += source[len(uuid) :]
            else:
                text += ("," if text else "") + source
            uuid = source[:36]
            text += "".join(f":{first}" if first == last else f":{first}-{last}" for first, last in ranges)
        return text

    def __repr__(self) -> str:
        return f"MysqlGtids({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._sources)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MysqlGtids) and self._sources == other._sources

    def __hash__(self) -> int:
        return hash(str(self))

    def __add__(self, gtid: str) -> "MysqlGtids":
        """With one transaction more: ``uuid:n`` or ``uuid:tag:n``, as connectors.mysql.events.gtid gives it."""
        source, _, text = gtid.rpartition(":")
        number = int(text)
        ranges = self._sources.get(source)
        if ranges is None:
            return MysqlGtids(dict(sorted({**self._sources, source: ((number, number),)}.items())))
        if ranges[-1][1] + 1 == number:
            ranges = (*ranges[:-1], (ranges[-1][0], number))
        else:
            ranges = _merged([*ranges, (number, number)])
        return MysqlGtids({**self._sources, source: ranges})

    def contains(self, other: "MysqlGtids") -> bool:
        return not other.minus(self)

    def minus(self, other: "MysqlGtids") -> "MysqlGtids":
        """What `other` lacks of this."""
        rest = {source: _minus(ranges, other._sources.get(source, ())) for source, ranges in self._sources.items()}
        return MysqlGtids({source: ranges for source, ranges in rest.items() if ranges})


def _merged(ranges: list[tuple[int, int]]) -> _Ranges:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if first < 1 or last < first:
            raise ValueError(f"{first}-{last} is no range of transactions")
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _minus(ranges: _Ranges, others: _Ranges) -> _Ranges:
    rest: list[tuple[int, int]] = []
    at = 0
    for first, last in ranges:
        while at < len(others) and others[at][1] < first:
            at += 1
        for from_, to in islice(others, at, None):
            if from_ > last:
                break
            if from_ > first:
                rest.append((first, from_ - 1))
            first = to + 1
        if first <= last:
            rest.append((first, last))
    return tuple(rest)


class MariadbGtids:
    """``0-1-5,1-2-7``: for each replication domain its last transaction, with the server where it was made."""

    __slots__ = ("_domains",)

    def __init__(self, domains: Mapping[int, tuple[int, int]] | None = None) -> None:
        """`domains`: domain -> (server id, sequence number)."""
        self._domains: Mapping[int, tuple[int, int]] = domains or {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Where a domain occurs more than once, as in @@gtid_binlog_state, its last one counts. Raises ValueError."""
        domains: dict[int, tuple[int, int]] = {}
        for gtid in filter(None, "".join(text.split()).split(",")):
            if not (match := _MARIADB.fullmatch(gtid)):
                raise ValueError(f"{gtid!r} is no GTID of MariaDB, such as 0-1-5")
            domains[int(match[1])] = (int(match[2]), int(match[3]))
        return cls(dict(sorted(domains.items())))

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{seq_no}" for domain, (server, seq_no) in self._domains.items())

    def __repr__(self) -> str:
        return f"MariadbGtids({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._domains)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MariadbGtids) and self._domains == other._domains

    def __hash__(self) -> int:
        return hash(str(self))

    def __add__(self, gtid: str) -> "MariadbGtids":
        """With one transaction more, as connectors.mysql.events.mariadb_gtid gives it."""
        domain, server, seq_no = map(int, gtid.split("-"))
        if domain in self._domains:
            return MariadbGtids({**self._domains, domain: (server, seq_no)})
        return MariadbGtids(dict(sorted({**self._domains, domain: (server, seq_no)}.items())))

    def contains(self, other: "MariadbGtids") -> bool:
        """By sequence numbers, which within a domain are one row whichever server gave them."""
        return not other.minus(self)

    def minus(self, other: "MariadbGtids") -> "MariadbGtids":
        """The domains in which this is ahead of `other`."""
        behind = (0, 0)
        return MariadbGtids(
            {d: last for d, last in self._domains.items() if last[1] > other._domains.get(d, behind)[1]}
        )
