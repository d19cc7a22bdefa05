"""Which tables a connector captures: globs over ``schema.table``, a leading ``!`` excludes."""

import glob
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def selected(patterns: Sequence[str] | None, table: str) -> bool:
    """Whether `table` matches a pattern and no exclusion. None, or exclusions alone, start from every table."""
    included = [pattern for pattern in patterns or () if not pattern.startswith("!")]
    excluded = [pattern[1:] for pattern in patterns or () if pattern.startswith("!")]
    if included and not any(fnmatchcase(table, pattern) for pattern in included):
        return False
    return not any(fnmatchcase(table, pattern) for pattern in excluded)


def named(patterns: Sequence[str] | None, table: str) -> bool:
    """Whether a pattern means `table` and can mean no other."""
    return exclusion(table)[1:] in (patterns or ())


def exclusion(table: str) -> str:
    """The pattern that takes `table` out, and no other."""
    return f"!{glob.escape(table)}"


def without_match(patterns: Sequence[str] | None, tables: Iterable[str]) -> list[str]:
    """The patterns that ask for tables and get none, in their order."""
    names = list(tables)
    return [
        pattern
        for pattern in patterns or ()
        if not pattern.startswith("!") and not any(fnmatchcase(name, pattern) for name in names)
    ]
