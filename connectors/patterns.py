"""Which tables a connector captures: globs over ``schema.table``, a leading ``!`` excludes."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def selected(patterns: Sequence[str] | None, table: str) -> bool:
    """Whether `table` matches a pattern and no exclusion. None, or exclusions alone, start from every table."""
    included = [pattern for pattern in patterns or () if not pattern.startswith("!")]
    excluded = [pattern[1:] for pattern in patterns or () if pattern.startswith("!")]
    if included and not any(fnmatchcase(table, pattern) for pattern in included):
        return False
    return not any(fnmatchcase(table, pattern) for pattern in excluded)


def without_match(patterns: Sequence[str] | None, tables: Iterable[str]) -> list[str]:
    """The patterns that ask for tables and get none, in their order."""
    names = list(tables)
    return [
        pattern
        for pattern in patterns or ()
        if not pattern.startswith("!") and not any(fnmatchcase(name, pattern) for name in names)
    ]
