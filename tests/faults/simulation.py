"""One seed: a database, a handful of lives that end badly, one that ends well, and the invariants over all of them."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from connectors.base import Source
from connectors.errors import SourceError
from offsets.base import Offsets
from offsets.errors import OffsetError
from service.pipeline import Delivery, Pipeline
from sinks.base import Sink
from sinks.errors import SinkError
from tests.faults.database import Change, Transaction, write_log
from tests.faults.fakes import EVENT_BYTES, FakeSink, FakeSource, FakeStore
from tests.faults.scheduler import Killed, ScheduledStop, Scheduler, Stuck
from tests.faults.world import NO_FAULTS, Fate, Faults, Violation, World

LIVES_MAX = 6
JOURNAL_LINES = 60


class Parts(NamedTuple):
    """What runs in a life; a mutant replaces one of them."""

    pipeline: type[Pipeline] = Pipeline
    source: Callable[[World], Source] = FakeSource
    sink: Callable[[World], Sink] = FakeSink
    store: Callable[[World], Offsets] = FakeStore


class Ending(NamedTuple):
    """How a life ends, if nothing fails before: killed at a step, stopped after so many reads, or caught up."""

    kill_at: int | None = None
    stop_after: int | None = None


MODEL = Parts()
SMALL_LOG = [
    Transaction((Change(101, "c", "a", 1),), 102, 103),
    Transaction((Change(104, "k", "a", 2, new_key="b", new_version=1),), 106, 107),
    Transaction((Change(105, "c", "c", 1), Change(105, "c", "d", 1)), 108, 109),
]
"""Six events: a new key in three of them, and two rows of a COPY written before the commit that precedes theirs."""


def simulate(seed: int, parts: Parts = MODEL) -> None:
    """Raises Violation with the seed, the invariant and the last steps."""
    rng = Random(seed)
    log = write_log(rng, rng.choice((3, 6, 12)))
    world = World(rng, log, chunks=rng.choice((0, 0, 2)))
    faults = faults_of(rng)
    every_line = rng.random() < 0.1
    try:
        for _ in range(rng.randint(1, LIVES_MAX)):
            live(world, parts, faults, ending_of(rng, every_line), fate_of(rng), every_line)
        live_out(world, parts)
    except Violation as violation:
        raise explained(violation, world, f"seed {seed}", f"replay it with TAILRACE_SEED={seed}") from None
    except Exception as error:
        error.add_note(f"seed {seed}: replay it with TAILRACE_SEED={seed}")
        raise


def simulate_kill(schedule: int, kill_at: int, fate: Fate) -> bool:
    """`SMALL_LOG`, killed at one step, then run to the end. False where the life ended before that step."""
    world = World(Random(schedule), SMALL_LOG, chunks=1)
    world.visible = len(SMALL_LOG)
    try:
        killed = live(world, MODEL, NO_FAULTS, Ending(kill_at=kill_at), fate, every_line=True)
        live_out(world, MODEL)
    except Violation as violation:
        raise explained(violation, world, f"schedule {schedule}", f"killed at step {kill_at}, {fate}") from None
    return killed


def live(world: World, parts: Parts, faults: Faults, ending: Ending, fate: Fate, every_line: bool = False) -> bool:
    """One life of the process, from open to its end. True where it was killed."""
    scheduler = Scheduler(world.rng, ending.kill_at, every_line)
    world.begin(scheduler, faults)
    stop = ScheduledStop(scheduler, ending.stop_after)
    with scheduler.installed():
        pipeline = parts.pipeline(
            "shop",
            parts.source(world),
            parts.sink(world),
            parts.store(world),
            Delivery(world.rng.choice((0.0, 0.2)), world.rng.choice((1, 4, 60)) * EVENT_BYTES),
            clock=scheduler.clock,
        )
        ended_well = False
        try:
            scheduler.run(lambda: pipeline.run(stop, until_caught_up=ending.stop_after is None))
            ended_well = True
        except Killed:
            pass
        except Stuck:
            world.violation = world.violation or Violation("stuck", f"no end after {scheduler.steps} steps")
        except (SourceError, SinkError, OffsetError) as error:
            if not error.retryable:
                world.violation = world.violation or Violation("I1", f"{type(error).__name__}: {error}")
    if world.violation:
        raise world.violation
    if ended_well:
        world.check_drained()
    world.settle(fate)
    return scheduler.killed


def live_out(world: World, parts: Parts) -> None:
    """The faults are over, the writers have stopped: catch up, and account for everything."""
    world.visible = len(world.log)
    live(world, parts, NO_FAULTS, Ending(), Fate(1.0, True, True))
    world.check_complete()


def explained(violation: Violation, world: World, where: str, how: str) -> Violation:
    steps = "\n  ".join(world.journal[-JOURNAL_LINES:])
    return Violation(violation.invariant, f"{where}: {violation} ({how})\n  {steps}")


def faults_of(rng: Random) -> Faults:
    """Each kind of fault is absent in about half of the seeds: some bugs show only where others are quiet."""
    rates = {kind: rng.choice((0.0, 0.0, 0.02, 0.1)) for kind in ("disconnect", "write", "flush", "save")}
    return Faults(**rates, stall=rng.choice((0.0, 0.0, 0.1, 0.5)))


def ending_of(rng: Random, every_line: bool) -> Ending:
    steps = rng.choice((30, 100, 300)) * (10 if every_line else 1)
    return rng.choice((Ending(kill_at=rng.randint(1, steps)), Ending(stop_after=rng.randint(0, 12)), Ending()))


def fate_of(rng: Random) -> Fate:
    return Fate(rng.choice((0.0, rng.random(), 1.0)), rng.random() < 0.5, rng.random() < 0.5)
