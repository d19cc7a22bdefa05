"""The pipeline's own code with a fake source, sink, store and clock, under one seeded scheduler: docs/faults.md."""

import os
from itertools import count, product

import pytest

from tests.faults.postgres import RealSource
from tests.faults.simulation import MODEL, Parts, simulate, simulate_kill
from tests.faults.world import Fate

BLOCKS = 10
SEEDS = int(os.environ.get("TAILRACE_SEEDS", "2000"))
SOURCES = pytest.mark.parametrize("parts", [MODEL, Parts(source=RealSource)], ids=["model", "postgres"])
FATES = [Fate(*fate) for fate in product((0.0, 0.5, 1.0), (False, True), (False, True))]


@pytest.mark.skipif("TAILRACE_SEED" not in os.environ, reason="TAILRACE_SEED names no seed to replay")
@SOURCES
def test_the_seed_to_replay_keeps_the_promise(parts: Parts) -> None:
    simulate(int(os.environ["TAILRACE_SEED"]), parts)


@pytest.mark.skipif("TAILRACE_SEED" in os.environ, reason="TAILRACE_SEED names the one seed to replay")
@pytest.mark.parametrize("block", range(BLOCKS))
@SOURCES
def test_no_seed_breaks_the_promise(parts: Parts, block: int) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        simulate(seed, parts)


@pytest.mark.skipif("TAILRACE_SEED" in os.environ, reason="TAILRACE_SEED names the one seed to replay")
@pytest.mark.parametrize("schedule", range(len(FATES)))
def test_a_kill_between_any_two_lines_of_the_pipeline_loses_nothing(schedule: int) -> None:
    for kill_at in count(1):
        if not simulate_kill(schedule, kill_at, FATES[schedule]):
            return
