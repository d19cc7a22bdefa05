"""Which log a position belongs to."""

import json
from typing import Any

from offsets.errors import OffsetMovedBackwards
from offsets.position import Position


def facts(origin: str) -> dict[str, Any]:
    """`Position.origin` as a dict; empty where it holds none."""
    try:
        parsed = json.loads(origin)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def same_log(one: str, other: str) -> bool:
    """Whether positions of both origins can be compared: one server's log, through one slot or in one series of files.

    A new host name or timeline is still the same log; another system identifier, slot or file name is not.
    """
    if one == other:
        return True
    first, second = facts(one), facts(other)
    files = {its["log"] for its in (first, second) if its.get("log")}
    same = all(first.get(name) == second.get(name) for name in ("system", "slot"))
    return "system" in first and same and len(files) < 2


def refuse_to_go_back(connector: str, stored: Position | None, position: Position) -> None:
    """Raise OffsetMovedBackwards where `position` lies before `stored` on the same log."""
    if stored and position.order < stored.order and same_log(stored.origin, position.origin):
        raise OffsetMovedBackwards(
            f"connector {connector} was about to move its offset back from {stored.token} to {position.token}",
            f"nothing was changed; to go back on purpose, stop it and run: "
            f"tailrace offsets seek {connector} {position.token}",
        )
