"""Dead letters of a connector that runs: the real pipeline and the real state, step by step."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from offsets.errors import OffsetStoreFailed
from offsets.memory import MemoryStore
from offsets.position import Offset, Position
from schema.event import Batch, Event, StoredLetter
from service.dead_letters import ELSEWHERE, DeadLetters, Limits, TooManyDeadLetters
from service.letter_box import LetterBox
from service.pipeline import Pipeline
from service.state import State
from sinks.errors import Rejected, SinkUnavailable

TOPIC = "shop.dead"


class Target:
    """Refuses the events whose value is ``bad``, and keeps what is flushed; it outlives the sinks."""

    def __init__(self) -> None:
        self.durable: list[Event] = []
        self.published: list[int] = []
        self.mended = False
        self.fails_to_flush = False


class Sink:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._events: list[Event] = []
        self._letters: list[int] = []

    def open(self) -> None: ...
    def caught_up(self) -> None: ...
    def close(self) -> None: ...

    def write(self, batch: Batch) -> None:
        for event in batch.events:
            if event.value == b"bad" and not self._target.mended:
                raise Rejected(event, "too bad")
            self._events.append(event)

    def write_letters(self, topic: str, letters: Sequence[StoredLetter]) -> None:
        assert topic == TOPIC
        self._letters += [letter.id for letter in letters]

    def flush(self) -> None:
        if self._target.fails_to_flush:
            raise SinkUnavailable("the target went away")
        self._target.durable += self._events
        self._target.published += self._letters
        self._events, self._letters = [], []


class Connector:
    """Lives of one connector: each begins with what is stored, and reads what it is given."""

    def __init__(self, letters: DeadLetters) -> None:
        self.target = Target()
        self.letters = letters
        self.offsets = MemoryStore()
        self.limits = Limits()
        self.start()

    def start(self) -> None:
        offset = self.offsets.load("shop")
        box = LetterBox("shop", self.letters, self.limits, TOPIC, offset.position if offset else None)
        sink = Sink(self.target)
        self.pipeline = Pipeline("shop", None, sink, self.offsets, dead_letter=box.put, letters=box)  # type: ignore[arg-type]

    def deliver(self, *events: Event, to: int | None = 0) -> None:
        """A batch that ends with a commit, or, with None, inside a transaction."""
        position = None if to is None else Position(to or events[-1].id[0] + 1, "-", "{}")
        self.pipeline._queue.put(Batch(list(events), position, 1, {}), 0)
        self.pipeline._checkpointed_at = float("-inf")
        self.pipeline.deliver_once(0)

    def marks(self) -> list[tuple[str, str | None]]:
        return [(letter.dead.position, letter.superseded_by) for letter in self.letters.of("shop")]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Connector]:
    with closing(State.open(tmp_path).dead_letters()) as letters:
        yield Connector(letters)


def event(order: int, key: bytes | None = b"k", value: bytes = b"good", topic: str = "shop.public.t") -> Event:
    return Event(topic, topic.partition(".")[2], key, value, (order, 0))


def bad(order: int, key: bytes | None = b"k") -> Event:
    return event(order, key, b"bad")


def test_a_later_event_of_the_same_key_supersedes_a_letter_and_no_other_does(shop: Connector) -> None:
    shop.deliver(event(1), bad(2), event(3, b"other"), event(4, topic="shop.public.u"))
    assert shop.marks() == [("2/0", None)]
    shop.deliver(event(5), event(6))
    assert shop.marks() == [("2/0", "5/0")]
    assert [each.id[0] for each in shop.target.durable] == [1, 3, 4, 5, 6]


def test_a_later_event_in_the_same_batch_supersedes_too(shop: Connector) -> None:
    shop.deliver(bad(2), bad(3), event(4), bad(5))
    assert shop.marks() == [("2/0", "4/0"), ("3/0", "4/0"), ("5/0", None)]


def test_letters_of_the_same_key_do_not_supersede_each_other(shop: Connector) -> None:
    shop.deliver(bad(2), bad(3), bad(4))
    assert shop.marks() == [("2/0", None), ("3/0", None), ("4/0", None)]


def test_a_key_under_a_new_version_of_its_schema_is_the_same_row(shop: Connector) -> None:
    as_int, as_long, other = b"\0\0\0\0\x05\x0e", b"\0\0\0\0\x09\x0e", b"\0\0\0\0\x09\x10"
    shop.deliver(bad(2, as_int), bad(3, as_long), event(4, other))
    assert shop.marks() == [("2/0", None), ("3/0", None)]
    shop.start()
    shop.deliver(event(5, as_long))
    assert shop.marks() == [("2/0", "5/0"), ("3/0", "5/0")]


def test_events_without_a_key_supersede_nothing(shop: Connector) -> None:
    shop.deliver(bad(2, None), event(3, None))
    assert shop.marks() == [("2/0", None)]


def test_a_restart_knows_the_letters_of_the_life_before(shop: Connector) -> None:
    shop.deliver(bad(2))
    shop.start()
    shop.deliver(event(3))
    assert shop.marks() == [("2/0", "3/0")]


def test_a_letter_is_marked_before_the_later_event_can_reach_anybody(shop: Connector) -> None:
    shop.deliver(bad(2))
    shop.target.fails_to_flush = True
    with pytest.raises(SinkUnavailable):
        shop.deliver(event(3))
    assert shop.marks() == [("2/0", "3/0")]


def test_a_stretch_that_comes_again_leaves_the_marks_as_they_were(shop: Connector) -> None:
    stretch = event(1), bad(2), bad(3, b"other"), event(4)
    shop.deliver(*stretch)
    shop.start()
    shop.deliver(*stretch)
    assert shop.marks() == [("2/0", "4/0"), ("3/0", None)]
    assert [letter.attempt for letter in shop.letters.of("shop")] == [2, 2]


def test_a_rejection_found_by_the_sink_opened_next_supersedes_nothing_either(shop: Connector) -> None:
    shop.deliver(bad(2))
    shop.target.fails_to_flush = True
    with pytest.raises(SinkUnavailable):
        shop.deliver(event(3))
    shop.target.fails_to_flush = False
    shop.start()
    shop.deliver(bad(3))
    assert shop.marks() == [("2/0", None), ("3/0", None)]


def test_a_letter_whose_event_comes_again_and_is_taken_is_gone_with_the_checkpoint(shop: Connector) -> None:
    shop.deliver(bad(2), bad(3, b"other"))
    shop.target.mended = True
    shop.start()
    shop.deliver(bad(2), to=None)
    assert shop.marks() == [("2/0", "2/0"), ("3/0", None)]
    shop.deliver(bad(3, b"other"))
    assert shop.marks() == []


def test_a_letter_whose_event_seemed_to_be_taken_is_the_same_letter_when_it_is_not(shop: Connector) -> None:
    shop.deliver(bad(2), to=None)
    shop.target.mended = shop.target.fails_to_flush = True
    shop.start()
    with pytest.raises(SinkUnavailable):
        shop.deliver(bad(2))
    assert shop.marks() == [("2/0", "2/0")]
    shop.target.mended = shop.target.fails_to_flush = False
    shop.start()
    shop.deliver(event(1, b"other"))
    shop.deliver(bad(2))
    assert [(letter.id, letter.attempt) for letter in shop.letters.of("shop")] == [(1, 2)]
    assert shop.marks() == [("2/0", None)]


def test_letters_are_published_once_in_the_order_they_came(shop: Connector) -> None:
    shop.deliver(bad(2), event(3), bad(4))
    shop.deliver(event(5))
    shop.start()
    shop.deliver(event(6), bad(7))
    assert shop.target.published == [1, 2, 3]


def test_letters_in_a_transaction_that_is_still_open_are_published_once(shop: Connector) -> None:
    for number in (2, 3):
        shop.deliver(bad(number), to=None)
        shop.pipeline.checkpoint()
    shop.deliver(event(4))
    assert shop.target.published == [1, 2]


def test_a_flush_that_fails_publishes_again(shop: Connector) -> None:
    shop.target.fails_to_flush = True
    with pytest.raises(SinkUnavailable):
        shop.deliver(bad(2))
    shop.target.fails_to_flush = False
    shop.start()
    shop.deliver(event(3))
    assert shop.target.published == [1]


def test_a_crash_behind_the_flush_publishes_again_rather_than_never(
    shop: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OffsetStoreFailed("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OffsetStoreFailed):
        patch.setattr(shop.offsets, "save", fail)
        shop.deliver(bad(2))
    shop.start()
    shop.deliver(bad(2))
    assert shop.target.published == [1, 1]


def test_a_limit_stops_in_front_of_the_next_letter(shop: Connector) -> None:
    shop.limits = Limits(kept=2)
    shop.start()
    shop.deliver(bad(2), event(3))
    with pytest.raises(TooManyDeadLetters):
        shop.deliver(bad(4, b"a"), event(5), bad(6, b"b"), event(7))
    offset = shop.offsets.load("shop")
    assert offset is not None
    assert offset.position.order == 4
    assert [position for position, _ in shop.marks()] == ["2/0", "4/0"]
    shop.limits = Limits(kept=3)
    shop.start()
    shop.deliver(bad(4, b"a"), event(5), bad(6, b"b"), event(7))
    assert [position for position, _ in shop.marks()] == ["2/0", "4/0", "6/0"]
    assert [each.id[0] for each in shop.target.durable] == [3, 5, 7]


def test_a_letter_that_another_machine_went_past_is_superseded(shop: Connector) -> None:
    shop.deliver(event(1), bad(2), bad(3, b"other"))
    shop.offsets.save("shop", Position(9, "-", "{}"), {})
    shop.start()
    assert shop.marks() == [("2/0", ELSEWHERE), ("3/0", ELSEWHERE)]


def test_a_letter_that_came_after_another_machines_run_is_open(shop: Connector) -> None:
    shop.deliver(event(1))
    shop.offsets.save("shop", Position(9, "-", "{}"), {})
    shop.start()
    shop.deliver(bad(12))
    shop.start()
    assert shop.marks() == [("12/0", None)]


def test_letters_stay_open_over_runs_on_one_machine_also_behind_a_kill(shop: Connector) -> None:
    shop.deliver(bad(2))
    shop.deliver(event(7, b"other"))
    shop.target.fails_to_flush = True
    with pytest.raises(SinkUnavailable):
        shop.deliver(event(8, b"other"))
    shop.start()
    shop.deliver(event(7, b"other"), to=None)
    shop.start()
    assert shop.marks() == [("2/0", None)]


def test_a_letter_of_another_log_than_the_stored_position_is_superseded(shop: Connector) -> None:
    shop.deliver(bad(2))
    shop.offsets.replace("shop", Offset(Position(3, "-", '{"system":"another"}'), {}), "import")
    shop.start()
    assert shop.marks() == [("2/0", ELSEWHERE)]


def test_a_letter_that_another_machine_went_past_is_open_once_its_event_is_read_again_and_refused(
    shop: Connector,
) -> None:
    shop.deliver(bad(2))
    shop.offsets.save("shop", Position(9, "-", "{}"), {})
    shop.start()
    shop.offsets.replace("shop", Offset(Position(1, "-", "{}"), {}), "seek")
    shop.start()
    shop.deliver(bad(2))
    assert shop.marks() == [("2/0", None)]
