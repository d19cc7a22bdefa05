"""The dead letters of one connector while it runs: put aside up to a limit, kept in order, published."""

from typing import cast

import structlog

from offsets.position import Position
from schema.event import DeadLetter, Event, place_of, row_of
from service.dead_letters import DeadLetters, Limits
from sinks.base import LetterSink, Sink

log = structlog.get_logger("tailrace")


class LetterBox:
    """Every thread may `put`; the rest is the delivery thread's.

    The state is the authority. A letter is published in a checkpoint, and noted as published behind it: a crash in
    between publishes it again.
    """

    def __init__(
        self,
        connector: str,
        letters: DeadLetters,
        limits: Limits,
        topic: str | None = None,
        resumed: Position | None = None,
    ) -> None:
        """`topic`: where letters are published by a LetterSink. `resumed`: where the connector begins, if other
        machines may have brought it there. Raises OffsetStoreFailed."""
        self._connector = connector
        self._letters = letters
        self._limits = limits
        self._topic = topic
        if resumed is not None and (missed := letters.missed(connector, resumed)):
            letters.mark_missed(missed)
            log.warning(
                f"{len(missed)} dead letters may be older than what was delivered: another machine ran the connector",
                hint=f"`tailrace dlq replay {connector}` says how to have each row as it is now",
            )
        self._open: dict[bytes | None, set[tuple[str, bytes]]] = {}  # topics and keys, by row, of letters that are open
        for letter_topic, key in letters.open_keys(connector):
            self._open.setdefault(row_of(key), set()).add((letter_topic, key))
        self._may_publish = True
        self._written: list[int] = []  # published, but not noted yet
        self._came_again: list[int] = []  # and was accepted, but no checkpoint has covered that yet

    def put(self, letter: DeadLetter) -> None:
        """Durable on return. Raises TooManyDeadLetters, OffsetStoreFailed."""
        self._letters.add(self._connector, letter, self._limits)
        if letter.is_event and letter.key is not None:
            self._open.setdefault(row_of(letter.key), set()).add((letter.topic, letter.key))
        self._may_publish = True
        log.warning(f"dead letter: {letter.error}", table=letter.table, position=letter.position)

    def meet(self, events: list[Event]) -> None:
        """Events that are about to be written. A letter that one of them supersedes is marked before any reader can
        see that event; so a letter that is not marked can be replayed in order."""
        if self._open and not self._open.keys().isdisjoint(row_of(event.key) for event in events):
            self._supersede(events)

    def reach(self, position: Position | None) -> None:
        """A checkpoint at `position` begins."""
        if self._open and position is not None:
            self._letters.note_reached(self._connector, position)

    def publish(self, sink: Sink) -> None:
        """Hand the sink what no checkpoint has covered yet; its flush makes it durable. Raises SinkError."""
        if self._topic is None or not self._may_publish:
            return
        self._may_publish = False
        letters = [letter for letter in self._letters.unpublished(self._connector) if letter.id not in self._written]
        if letters:
            cast(LetterSink, sink).write_letters(self._topic, letters)
            self._written += [letter.id for letter in letters]

    def settle(self) -> None:
        """A checkpoint is behind us."""
        if self._written:
            self._letters.note_published(self._written)
            self._written = []
        if self._came_again:
            self._letters.remove_delivered(self._came_again)
            self._came_again = []

    def _supersede(self, events: list[Event]) -> None:
        later: list[tuple[str, str, bytes]] = []
        for event in events:
            row = row_of(event.key)
            waiting = self._open.get(row, set())
            met = {(topic, key) for topic, key in waiting if topic == event.topic}
            later += [(place_of(event), topic, key) for topic, key in met]
            if met and not waiting - met:
                del self._open[row]
            waiting -= met
        if later:
            self._came_again += self._letters.supersede(self._connector, later)
