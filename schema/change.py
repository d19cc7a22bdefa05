"""What a table looks like at one point of the log, and how each column's bytes become Avro."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

Avro = str | dict[str, Any] | list[Any]
"""An Avro schema as parsed JSON."""

Encode = Callable[[bytes], bytes]
"""One column's bytes, as the log gives them -> Avro bytes.

Raises Unencodable for a value that the type cannot hold; TypeError, ValueError, LookupError, AttributeError or
ArithmeticError for what is no value of it, UNCHANGED among them.
"""


class Unchanged(Enum):
    """The third state of a value beside present and NULL: the log left it out because it did not change."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Value = bytes | None | Unchanged


class ColumnType(NamedTuple):
    """A database type as events show it.

    `name` is the database's own, with modifiers: ``numeric(10,2)``. `avro` is the schema of a non-null value with
    its ``connect.*`` attributes. `encoder` gives the function that writes a value behind a prefix, the union branch.
    `zero` and `unavailable` are Avro bytes: what a NOT NULL column shows where the log carries only the key, and
    where the log left an unchanged value out (None: the type has no form for that).
    """

    name: str
    avro: Avro
    encoder: Callable[[bytes], Encode]
    zero: bytes
    unavailable: bytes | None


class Default(NamedTuple):
    """A column's constant default: `json` for the Avro schema, `avro` the bytes of the value."""

    json: Any
    avro: bytes


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: ColumnType
    optional: bool
    default: Default | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One version of a table. `key` holds column indexes in key order; empty where rows have no identity."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]


def completed(after: Sequence[Value], before: Sequence[Value]) -> list[Value]:
    """`after` with what the log left out of it taken from the full image `before`."""
    return [old if new is UNCHANGED else new for new, old in zip(after, before, strict=True)]
