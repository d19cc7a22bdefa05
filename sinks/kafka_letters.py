"""A dead letter as a Kafka topic holds it: the raw bytes, and headers that say what became of them.

Where Kafka Connect has a header for it, its name is Connect's (KIP-298); the others are beside them.
"""

from schema.event import Event, StoredLetter
from sinks.errors import Rejected, SinkMisconfigured
from sinks.kafka_outbox import Headers

TOPIC = {"cleanup.policy": "delete"}
"""Of a topic that is made: a compacted one takes no letter without a key, and keeps one of each key."""
CONNECT = "__connect.errors."
OURS = "__tailrace.errors."
LEFT_OUT = f"{OURS}value.left.out.bytes"


def event(topic: str, letter: StoredLetter) -> Event:
    """What is written to `topic`."""
    return Event(topic, letter.dead.table, letter.dead.key, letter.dead.value, (0, letter.id))


def headers(letter: StoredLetter) -> Headers:
    dead = letter.dead
    known = {
        f"{CONNECT}topic": dead.topic,
        f"{CONNECT}connector.name": letter.connector,
        f"{CONNECT}exception.message": dead.error,
        f"{OURS}id": letter.id,
        f"{OURS}table": dead.table,
        f"{OURS}position": dead.position,
        f"{OURS}schema.id": dead.schema_id,
        f"{OURS}attempt": letter.attempt,
        f"{OURS}timestamp": letter.failed_at_ms,
    }
    return [(name, str(value).encode()) for name, value in known.items() if value is not None]


def without_value(topic: str, letter: StoredLetter) -> tuple[Event, Headers]:
    """For a topic that takes no value of its size."""
    size = str(len(letter.dead.value or b"")).encode()
    return event(topic, letter)._replace(value=None), [*(headers(letter) or ()), (LEFT_OUT, size)]


def refused(topic: str, rejected: Rejected) -> SinkMisconfigured:
    return SinkMisconfigured(
        f"the dead-letter topic {topic} refuses letter {rejected.event.id[1]}: {rejected}",
        "give the topic cleanup.policy=delete and no check of schemas, or set errors.dead_letter_topic to null",
    )
