"""The white-box suite where the target refuses some events, and an operator replays letters between two lives."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from schema.event import Batch, Event, StoredLetter, id_at
from service.dead_letters import DeadLetters, Limits, upgrade
from service.letter_box import LetterBox
from service.pipeline import Pipeline
from service.replay import hand_over, plan
from sinks.errors import Rejected
from tests.faults.database import Transaction, write_log
from tests.faults.fakes import FakeSink
from tests.faults.simulation import LIVES_MAX, Parts, ending_of, explained, fate_of, faults_of, live, live_out
from tests.faults.world import Violation, World

TOPIC = "shop.dead"


class LetterWorld(World):
    """`refused` are ids of events that the target takes only once they are `mended`; what it took, it takes again."""

    def __init__(self, rng: Random, log: list[Transaction], chunks: int) -> None:
        super().__init__(rng, log, chunks)
        ids = [event.id for event in self.expected]
        self.refused = {id_ for id_ in ids if rng.random() < 0.3}
        self.mended: set[tuple[int, int]] = set()
        self.letters = DeadLetters(Path(":memory:"))
        upgrade(self.letters._db)
        self.unpublished: list[int] = []  # written, not flushed
        self.published: set[int] = set()

    def may_miss(self, index: int) -> bool:
        return self.expected[index].id in self.refused

    def is_safe(self, index: int) -> bool:
        place = self.expected[index].id
        return super().is_safe(index) or any(id_at(each.dead.position) == place for each in self.letters.of("shop"))

    def replay(self, wavers: bool) -> None:
        """An operator does; one who wavers picks some, and may break off. The order per key is judged as ever."""
        self.note("an operator replays")
        letters = self.letters.of("shop")
        chosen = {letter.id for letter in letters if not wavers or self.rng.random() < 0.7}
        found = plan(letters, chosen, self.offset, lambda letter: "")
        reached = self.rng.randint(0, len(found.deliver)) if wavers else len(found.deliver)
        kept = hand_over(Operators(self), found.deliver[:reached])
        still_there = {each.letter.id for each in kept}
        if reached == len(found.deliver):
            self.letters.remove(letter.id for letter in found.deliver if letter.id not in still_there)

    def mend(self, share: float) -> None:
        self.mended = {id_ for id_ in sorted(self.refused) if self.rng.random() < share}

    def refuses(self, event: Event) -> bool:
        if event.id not in self.refused - self.mended or event not in self.expected:
            return False
        return not self.is_durable(self.expected.index(event))

    def check_letters(self) -> None:
        """Nothing more comes: what is not durable is a letter that a newer event of its key has overtaken."""
        left = {letter.dead.event().id: letter for letter in self.letters.of("shop")}
        for index, event in enumerate(self.expected):
            if self.is_durable(index):
                continue
            if event.id not in left:
                raise self.failed("I1", f"{event} is neither delivered nor a dead letter")
            later = [n for n in range(index + 1, len(self.expected)) if self.expected[n].key == event.key]
            if not any(self.is_durable(n) for n in later):
                raise self.failed("I7", f"{event} is the last of its key, and cannot be replayed")

    def check_published(self) -> None:
        missing = {letter.id for letter in self.letters.of("shop")} - self.published
        if missing:
            raise self.failed("I1", f"letters {missing} were never published")


class Operators(FakeSink):
    """What is written is durable."""

    world: LetterWorld

    def write(self, batch: Batch) -> None:
        for event in batch.events:
            if self.world.refuses(event):
                raise Rejected(event, "refused")
            self.world.land_alone(event)


class RefusingSink(FakeSink):
    """Takes a batch up to the first event that it refuses."""

    world: LetterWorld

    def write(self, batch: Batch) -> None:
        for nth, event in enumerate(batch.events):
            if self.world.refuses(event):
                super().write(batch._replace(events=batch.events[:nth]))
                self.world.step(f"sink refuses {event.id}")
                raise Rejected(event, "refused")
        super().write(batch)

    def write_letters(self, topic: str, letters: Sequence[StoredLetter]) -> None:
        self.world.step(f"sink writes letters {[letter.id for letter in letters]}")
        self.world.unpublished += [letter.id for letter in letters]

    def open(self) -> None:
        self.world.unpublished.clear()
        super().open()

    def flush(self) -> None:
        super().flush()
        self.world.published.update(self.world.unpublished)
        self.world.unpublished.clear()


class WithLetters(Pipeline):
    def __init__(self, connector: str, source: Any, sink: Any, *rest: Any, **named: Any) -> None:
        box = LetterBox(connector, sink.world.letters, Limits(10**6, 10**6), TOPIC)
        super().__init__(connector, source, sink, *rest, **named)
        self.dead_letter, self.letters = box.put, box


LETTERS = Parts(pipeline=WithLetters, sink=RefusingSink)


def simulate_letters(seed: int, parts: Parts = LETTERS) -> None:
    """Raises Violation with the seed, the invariant and the last steps."""
    rng = Random(seed)
    world = LetterWorld(rng, write_log(rng, rng.choice((3, 6, 12))), chunks=rng.choice((0, 0, 2)))
    faults = faults_of(rng)
    every_line = rng.random() < 0.1
    try:
        for _ in range(rng.randint(1, LIVES_MAX)):
            live(world, parts, faults, ending_of(rng, every_line), fate_of(rng), every_line)
            world.mend(rng.choice((0.0, 0.0, 0.3, 1.0)))
            if rng.random() < 0.5:
                world.replay(wavers=rng.random() < 0.5)
        world.mend(rng.choice((0.0, 1.0)))
        live_out(world, parts)
        world.check_published()
        world.mend(1.0)
        world.replay(wavers=False)
        world.check_letters()
    except Violation as violation:
        raise explained(violation, world, f"seed {seed}", "a seed of the dead letters") from None
    except Exception as error:
        error.add_note(f"seed {seed} of the dead letters")
        raise
    finally:
        world.letters.close()
