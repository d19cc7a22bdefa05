"""Where changes go that no event can hold."""

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

from schema.avro import topic_name
from schema.errors import Unencodable, VersionRefused
from schema.event import DeadLetter

Take = Callable[[DeadLetter], None]


class Aside:
    """By policy the end, or dead letters, durable before the caller goes on.

    `refused` takes changes of a version that the registry refuses, `dead_letter` all others; None: it is the end.
    """

    def __init__(self, topic_prefix: str, dead_letter: Take | None, refused: Take | None) -> None:
        self._topic_prefix = topic_prefix
        self._dead_letter = dead_letter
        self._refused = refused
        self._copied: Counter[str] = Counter()

    def put(self, error: Unencodable, raw: bytes, position: str) -> None:
        """A change as the log has it, and `position`, its place there. Raises Unencodable."""
        take = self._refused if isinstance(error, VersionRefused) else self._dead_letter
        if take is None:
            raise Unencodable(f"{error.reason} (change {position})", error.table, error.column)
        topic = topic_name(self._topic_prefix, error.table)
        take(DeadLetter(error.table, topic, None, raw, position, str(error)))

    def put_copied(self, error: Unencodable, raw: bytes) -> None:
        """A copied row, which has no place in the log: ``copy/``, a digest of what was read, and which of the rows that
        look the same it is. Raises Unencodable.
        """
        digest = blake2b(raw, digest_size=8).hexdigest()
        self._copied[digest] += 1
        self.put(error, raw, f"copy/{digest}/{self._copied[digest]}")
