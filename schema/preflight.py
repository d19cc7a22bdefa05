"""What `tailrace check` asks of a source and of a sink, and what both tell."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of a preflight. `mend` is the exact SQL, command or setting that turns a warn or fail into ok."""

    level: Literal["ok", "warn", "fail"]
    text: str
    mend: str = ""


class Topic(NamedTuple):
    """Where the events of a table go; those of a table without a key carry none."""

    name: str
    has_keys: bool
