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

    `key` and `value` are wire bytes where the event was made (`is_event`), else `value` is what the log held.
    `position` is the event's id, else the log's own word for where the change stood; with the table it tells a letter
    from its repetition.
    """

    table: str
    topic: str
    key: bytes | None
    value: bytes | None
    position: str
    error: str
    is_event: bool = False
    headers: OtherKey = NO_OTHER

    @classmethod
    def of(cls, event: Event, error: str) -> "DeadLetter":
        topic, table, key, value, _, headers = event
        return cls(table, topic, key, value, place_of(event), error, is_event=True, headers=headers)

    def event(self) -> Event:
        """The event that it was; only where `is_event`."""
        return Event(self.topic, self.table, self.key, self.value, id_at(self.position), self.headers)

    @property
    def schema_id(self) -> int | None:
        """That of its value, of a tombstone's key; None for what is not Avro."""
        wire = self.key if self.value is None else self.value
        if not self.is_event or wire is None or len(wire) < 5 or wire[0]:
            return None
        return int.from_bytes(wire[1:5], "big")


class StoredLetter(NamedTuple):
    """A dead letter as the state keeps it: `attempt` counts how often its delivery was tried.

    `superseded_by` is the place of a later event of the same key that was handed to the sink; its own place where
    that was this event itself, come again.
    """

    id: int
    connector: str
    failed_at_ms: int
    attempt: int
    superseded_by: str | None
    dead: DeadLetter


def place_of(event: Event) -> str:
    """An event's id as operators read it: ``22738360/3``."""
    return f"{event.id[0]}/{event.id[1]}"


def id_at(place: str) -> tuple[int, int]:
    """The reverse of `place_of`."""
    order, _, nth = place.partition("/")
    return int(order), int(nth)


def row_of(key: bytes | None) -> bytes | None:
    """The row that a key in wire bytes names. A new version of the key's schema is another id before the same row."""
    return key[5:] if key is not None and len(key) > 5 and not key[0] else key


class Batch(NamedTuple):
    """Events in commit order.

    `position` covers every event up to the batch's end; None where that lies inside a transaction. `snapshot` is
    progress to store together with `position` (never without one). `size_bytes` is what the queue counts.
    """

    events: list[Event]
    position: Position | None
    size_bytes: int
    snapshot: Mapping[str, str]
