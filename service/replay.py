"""Dead letters that are delivered again: in the order of their keys, or not at all."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from offsets.position import Offset
from schema.decode import Decoder
from schema.errors import SchemaError
from schema.event import Batch, StoredLetter, id_at, row_of
from schema.registry import Registry
from service import config
from service.dead_letters import ELSEWHERE, DeadLetters
from service.sink_building import build_sink
from sinks.base import Sink
from sinks.errors import Rejected, SinkError

PLAIN_TYPES = ("int", "long", "string")
"""Values of these, without a semantic type, stand in SQL as they are."""
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


RowNow = Callable[[StoredLetter], str]


class Staying(NamedTuple):
    """A letter that is not delivered: why, and what to do instead."""

    letter: StoredLetter
    why: str
    hint: str
    was_tried: bool = False


class Plan(NamedTuple):
    deliver: list[StoredLetter]
    keep: list[Staying]


def plan(
    letters: Sequence[StoredLetter],
    chosen: set[int],
    offset: Offset | None,
    row_now: RowNow,
    missed: Collection[int] = (),
) -> Plan:
    """Which `chosen` ones of a stopped connector's `letters`, in the order they came, can be delivered in order.

    `offset` is the connector's; `row_now` says how else a letter's row is had; `missed` are `DeadLetters.missed`.
    """
    letters = [letter._replace(superseded_by=ELSEWHERE) if letter.id in missed else letter for letter in letters]
    made = Plan([], [])
    last: dict[tuple[str, bytes], StoredLetter] = {}  # of each key, but for those that are superseded
    waiting: dict[tuple[str, bytes], StoredLetter] = {}  # the first of each key that could be delivered later
    for letter in letters:
        topic, key = letter.dead.topic, row_of(letter.dead.key)
        obstacle = _obstacle(letter, offset, row_now)
        if key is not None and letter.dead.is_event and letter.superseded_by is None:
            obstacle = obstacle or _order(letter, last.get((topic, key)), waiting.get((topic, key)), row_now)
            last[topic, key] = letter
            if obstacle or letter.id not in chosen:
                waiting.setdefault((topic, key), letter)
        if letter.id in chosen:
            if obstacle is None:
                made.deliver.append(letter)
            else:
                made.keep.append(Staying(letter, *obstacle))
    return made


def deliver(
    connector: config.Connector, registry: Registry, dead_letters: DeadLetters, letters: Sequence[StoredLetter]
) -> list[Staying]:
    """Through the connector's own sink, in one flush; what it took is removed. The letters that it did not take.

    Raises SinkError. A crash between the two delivers them again.
    """
    # A sink may learn only when it is opened anew which event of a topic was refused.
    for attempts_left in range(len({letter.dead.topic for letter in letters}), -1, -1):
        sink = build_sink(connector, registry)
        try:
            sink.open()
            kept = hand_over(sink, letters)
            sink.flush()
            still_there = {each.letter.id for each in kept}
            dead_letters.remove([letter.id for letter in letters if letter.id not in still_there])
            for each in kept:
                if each.was_tried:
                    dead_letters.rejected_again(each.letter.id, each.why)
            sink.caught_up()
            return kept
        except SinkError as error:
            if not error.retryable or not attempts_left:
                raise
        finally:
            sink.close()
    raise AssertionError("the last attempt returns or raises")


def row_now(registry: Registry) -> RowNow:
    """The command that delivers a letter's row as it is now, in a sentence; its key as SQL where that is plain."""

    def say(letter: StoredLetter) -> str:
        condition = _where(letter, registry) or "SQL"
        return (
            f'`tailrace snapshot {letter.connector} {letter.dead.table} --where "{condition}"`'
            " delivers the row as it is now"
        )

    return say


def _where(letter: StoredLetter, registry: Registry) -> str | None:
    key = letter.dead.key
    if key is None or not letter.dead.is_event:
        return None
    try:
        decoder = Decoder(registry.schema)
        schema: Any = decoder.schema(key)
        values = decoder.decode(key)
    except (SchemaError, TypeError):
        return None
    if not all(_PLAIN_NAME.fullmatch(field["name"]) and field["type"] in PLAIN_TYPES for field in schema["fields"]):
        return None
    if any(not set(str(value)).isdisjoint("'\"\\$`") for value in values.values()):
        return None
    sql = {name: f"'{value}'" if isinstance(value, str) else str(value) for name, value in values.items()}
    return " and ".join(f"{name} = {value}" for name, value in sql.items())


def _obstacle(letter: StoredLetter, offset: Offset | None, row_now: RowNow) -> tuple[str, str] | None:
    """What keeps a letter from being delivered, whatever the others are: why, and what to do."""
    dead = letter.dead
    if not dead.is_event:
        return "it holds what the log held, and never became an event", row_now(letter)
    if letter.superseded_by == ELSEWHERE:
        return "the connector has run on another machine since, which may have delivered a newer event", row_now(letter)
    if letter.superseded_by not in (None, dead.position):
        return f"event {letter.superseded_by} of the same key was delivered, which is newer", row_now(letter)
    if offset is None or id_at(dead.position)[0] >= offset.position.order:
        return (
            "the connector has not passed it yet, and would deliver older events behind it",
            f"start {letter.connector}: it reads that event again",
        )
    if letter.superseded_by is not None:
        return (
            "its event came again, and was delivered",
            f"`tailrace dlq drop {letter.connector} {letter.id}` removes it",
        )
    return None


def _order(
    letter: StoredLetter,
    last: StoredLetter | None,
    waiting: StoredLetter | None,
    row_now: RowNow,
) -> tuple[str, str] | None:
    """What the letters of its key that came before it have against it."""
    if waiting is not None:
        return f"letter {waiting.id} of the same key comes first", f"replay {waiting.id} with it, or drop it"
    if last is not None and id_at(last.dead.position) >= id_at(letter.dead.position):
        return f"it came behind letter {last.id}, but is older by its place: their order is not known", row_now(letter)
    return None


def hand_over(sink: Sink, letters: Sequence[StoredLetter]) -> list[Staying]:
    """Hand over all that the sink takes. A letter that it rejects holds those of its key behind it."""
    kept: list[Staying] = []
    rest = list(letters)
    while rest:
        events = [letter.dead.event() for letter in rest]
        try:
            sink.write(Batch(events, None, sum(len(e.key or b"") + len(e.value or b"") for e in events), {}))
            return kept
        except Rejected as rejected:
            at = events.index(rejected.event)
            kept.append(Staying(rest[at], str(rejected), rejected.hint, was_tried=True))
            behind = [n for n in range(at + 1, len(rest)) if _same_key(rest[n], rest[at])]
            why = f"letter {rest[at].id} of the same key was rejected again"
            kept += [Staying(rest[n], why, f"replay {rest[at].id} with it, or drop it") for n in behind]
            rest = [letter for n, letter in enumerate(rest) if n > at and n not in behind]
    return kept


def _same_key(one: StoredLetter, other: StoredLetter) -> bool:
    row = row_of(one.dead.key)
    return row is not None and (one.dead.topic, row) == (other.dead.topic, row_of(other.dead.key))
