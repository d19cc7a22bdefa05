"""What an engine does for the copy of its tables: its queries, and what their rows mean."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeVar

from connectors.chunk import Captured, Progress, Read, TableId
from schema.change import Value


class TableName(Protocol):
    """A table as the catalogue names it; `full` is ``schema.name``, or ``database.name``."""

    @property
    def id(self) -> TableId: ...

    @property
    def full(self) -> str: ...

    @property
    def row_estimate(self) -> int: ...


class Contained(Protocol):
    """What a piece contains of the transactions that the log has up to `until`."""

    @property
    def until(self) -> int: ...

    def contains(self, transaction: int) -> bool: ...

    def dump(self) -> list[Any]: ...


class NotRead(Enum):
    """Why there are no rows."""

    GONE = auto()
    REFUSED = auto()
    """The server cannot evaluate the condition that was asked for."""
    NO_KEY = auto()
    TOO_EARLY = auto()
    """A transaction that was streamed is not visible yet, or the table is locked."""


class Piece(NamedTuple):
    """A whole table as of one point of the log, still to be fetched; the connection is taken until `lines` end."""

    version: Any
    contained: Contained
    lines: Iterator[bytes]


N = TypeVar("N", bound=TableName)
T = TypeVar("T", bound=Captured)
N_contra = TypeVar("N_contra", bound=TableName, contravariant=True)


class Limit(NamedTuple):
    """The size may be exceeded by a row. Rows that are read again know no limit."""

    rows: int
    size_bytes: int


class Reader(Protocol[N_contra]):
    """A connection that reads chunks, in one thread at a time."""

    def read(self, name: N_contra, progress: Progress, limit: Limit, streamed: tuple[int, ...]) -> Read | NotRead:
        """The next rows, in key order: behind `progress`; where that has ended, its first AGAIN_ROWS of `again`.

        `streamed` are transactions that must be visible.
        """

    def stop(self) -> None:
        """From another thread: `read` fails soon."""

    def close(self) -> None:
        """Only what this reader has opened."""


class Copying(Protocol[N, T]):
    """What the engine does for a snapshot. Called on the source's thread; a method may raise the driver's errors.

    `hidden` is how many transactions may be in the log and not visible yet, 0 where `Reader.read` tells by itself.
    """

    hidden: int

    def readers(self, count: int) -> list[Reader[N]]:
        """A single one may use the source's own connection."""

    def has_key(self, name: N) -> bool:
        """Also true for a table that is gone: reading it will tell."""

    def refusal(self, name: N, where: str) -> str:
        """Why the server does not take an SQL condition; empty where it does."""

    def queue(self, name: N, *, begins: bool) -> None:
        """From now on the stream has every change; note what may have been written before and is not visible yet.

        `begins`: no row is copied yet.
        """

    def is_being_written(self, name: N) -> bool:
        """Whether such a transaction is still open."""

    def captured(self, version: Any) -> T:
        """What encodes the rows of a `Read` or a `Piece`, its schemas registered."""

    def key(self, table: T, line: bytes) -> bytes:
        """A line's Avro key, without the schema's id. Raises schema.encoder.FAILED."""

    def values(self, table: T, line: bytes) -> list[Value]:
        """A line's values in the form that the stream has them in. Raises Unencodable."""

    def piece(self, name: N, streamed: tuple[int, ...]) -> Piece | NotRead:
        """The table as it is now, containing what was `streamed`."""

    def contained(self, dumped: list[Any]) -> Contained: ...
