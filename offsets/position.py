"""Where in a database's log a connector resumes."""

from collections.abc import Mapping
from typing import NamedTuple


class Position(NamedTuple):
    """Resume after this point: every transaction up to and including it is delivered.

    `order` grows along one server's log and is comparable only within one `origin`. `token` is the source's own
    words for the same point (Postgres: ``0/31C6530``). `origin` is a JSON object that identifies the log itself
    (Postgres: system identifier, timeline, database, slot).
    """

    order: int
    token: str
    origin: str


class Range(NamedTuple):
    """What a server can still stream: everything behind any point from `earliest` to `latest`."""

    earliest: Position
    latest: Position


class Offset(NamedTuple):
    """What a store remembers for one connector.

    `snapshot` maps a table to its progress in the source's own words (JSON); empty before the first snapshot.
    """

    position: Position
    snapshot: Mapping[str, str]


def merged(stored: Mapping[str, str], noted: Mapping[str, str]) -> dict[str, str]:
    """The progress in `stored` with what was `noted` since: an empty text forgets."""
    return {name: text for name, text in {**stored, **noted}.items() if text}
