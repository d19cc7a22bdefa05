"""What leaves the reader: encoded events, in batches."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from offsets.position import Position

NEW_KEY: Final = "__debezium.newkey"
OLD_KEY: Final = "__debezium.oldkey"

OtherKey = tuple[tuple[str, bytes], ...]
NO_OTHER: Final[OtherKey] = ()


class Event(NamedTuple):
    """One change, encoded.

    `key` and `value` are wire bytes: 0x00, the schema id as 4 bytes big-endian, the Avro body. A None `value` is
    the tombstone after a delete; a None `key` belongs to a table without one. `id` is (commit position, nth event
    of that transaction): equal ids are the same event delivered again. A copied row has none of its own, and shows
    where its run stood when it was delivered. `headers` has a row's other key, in wire bytes, where a change of its
    key made two events: the delete's NEW_KEY, the create's OLD_KEY.
    """

    topic: str
    table: str
    key: bytes | None
    value: bytes | None
    id: tuple[int, int]
    headers: OtherKey = NO_OTHER


def other_key(name: str, key: bytes | None) -> OtherKey:
    """The header of an event that a change of its key made."""
    return NO_OTHER if key is None else ((name, key),)


class DeadLetter(NamedTuple):
    """A change or an event that cannot be delivered, kept raw.

    `key` and `value` are wire bytes where the event was made, else `value` is what the log held. `position` is the
    log's own word for where it stood; with the table it tells a letter from its repetition.
    """

    table: str
    topic: str
    key: bytes | None
    value: bytes | None
    position: str
    error: str


class Batch(NamedTuple):
    """Events in commit order.

    `position` is that of the last whole transaction in the batch, None while inside one. `snapshot` is progress
    to store together with `position` (never without one). `size_bytes` is what the queue counts.
    """

    events: list[Event]
    position: Position | None
    size_bytes: int
    snapshot: Mapping[str, str]
