"""The pipeline's own code where the target refuses events, and an operator replays dead letters: docs/faults.md."""

import os
from collections.abc import Callable, Sequence

import pytest

from offsets.position import Offset
from schema.event import Event, StoredLetter
from service import replay
from service.dead_letters import DeadLetters
from service.letter_box import LetterBox
from sinks.base import Sink
from tests.faults.letters import LetterWorld, simulate_letters
from tests.faults.world import Violation

BLOCKS = 5
SEEDS = int(os.environ.get("TAILRACE_SEEDS", "1000"))
MUTANT_SEEDS = 3000


@pytest.mark.skipif("TAILRACE_SEED" not in os.environ, reason="TAILRACE_SEED names no seed to replay")
def test_the_seed_to_replay_loses_no_letter_and_no_order() -> None:
    simulate_letters(int(os.environ["TAILRACE_SEED"]))


@pytest.mark.skipif("TAILRACE_SEED" in os.environ, reason="TAILRACE_SEED names the one seed to replay")
@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_seed_loses_a_letter_or_the_order_of_a_key(block: int) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        simulate_letters(seed)


def passes_by(box: LetterBox, events: list[Event]) -> None:
    """Later events are not looked at."""


def replays_unpassed(letter: StoredLetter, offset: Offset | None, row_now: replay.RowNow) -> tuple[str, str] | None:
    """The offset is not looked at."""
    return ("superseded", "") if letter.superseded_by is not None else None


def replays_superseded(letter: StoredLetter, offset: Offset | None, row_now: replay.RowNow) -> tuple[str, str] | None:
    """The marks are not looked at."""
    passed = offset is not None and letter.dead.event().id[0] < offset.position.order
    return None if passed else ("not passed", "")


def overtakes(*arguments: object) -> None:
    """What waits of the same key is not looked at."""


def never_again(letter: StoredLetter, other: StoredLetter) -> bool:
    """What was rejected again holds nothing behind it."""
    return False


def publishes_nothing(box: LetterBox, sink: Sink) -> None:
    """As the mutant says."""


def forgets_all(letters: DeadLetters, ids: Sequence[int]) -> None:
    """Every superseded letter counts as delivered."""
    letters.remove(letter.id for letter in letters.of("shop") if letter.superseded_by)


@pytest.mark.parametrize(
    ("where", "name", "mistake", "breaks"),
    [
        (LetterBox, "meet", passes_by, {"I3"}),
        (replay, "_obstacle", replays_unpassed, {"I3"}),
        (replay, "_obstacle", replays_superseded, {"I3"}),
        (replay, "_order", overtakes, {"I3"}),
        (replay, "_same_key", never_again, {"I3"}),
        (LetterBox, "publish", publishes_nothing, {"I1"}),
        (DeadLetters, "remove_delivered", forgets_all, {"I1"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_mistake_is_caught(
    where: object, name: str, mistake: Callable[..., object], breaks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, mistake)
    for seed in range(MUTANT_SEEDS):
        try:
            simulate_letters(seed)
        except Violation as violation:
            assert violation.invariant in breaks, violation
            return
    pytest.fail(f"{MUTANT_SEEDS} seeds, and none shows the mistake")


def test_the_simulation_has_letters_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    def look(world: LetterWorld) -> None:
        for letter in world.letters.of("shop"):
            seen.add("superseded" if letter.superseded_by else "open")
            seen.add("again" if letter.attempt > 1 else "once")

    monkeypatch.setattr(LetterWorld, "check_published", look)
    for seed in range(100):
        simulate_letters(seed)
    assert seen == {"superseded", "open", "again", "once"}
