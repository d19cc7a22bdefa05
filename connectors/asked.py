"""What is said of a copy that was asked for and cannot be made: the request is gone, so how to ask again."""

from collections.abc import Iterable
from difflib import get_close_matches

import structlog

log = structlog.get_logger("tailrace")


def report_unknown(connector: str, table: str, captured: Iterable[str]) -> None:
    """No table of that name is captured."""
    near = get_close_matches(table, list(captured), 1)
    hint = f"ask again: tailrace snapshot {connector} {near[0]}" if near else "see source.tables, and ask again"
    log.warning("snapshot: no such table is captured; it is not copied", connector=connector, table=table, hint=hint)


def hint_again(connector: str, table: str) -> str:
    """For a condition that cannot be used."""
    return f'nothing is copied; ask again: tailrace snapshot {connector} {table}, alone or with another --where "..."'
