"""The white-box suite fails where the pipeline is wrong: one known mistake at a time."""

import pytest

from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.simulation import simulate
from tests.faults.world import Violation

SEEDS_MAX = 300


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name).replace(" ", "-"))
def test_a_mistake_is_caught(mutant: Mutant) -> None:
    for seed in range(SEEDS_MAX):
        try:
            simulate(seed, mutant.parts)
        except Violation as violation:
            assert violation.invariant in mutant.breaks, violation
            return
    pytest.fail(f"{SEEDS_MAX} seeds, and none shows that the pipeline {mutant.name}")


def test_a_violation_names_the_seed_that_replays_it() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "saves before it flushes")
    told = []
    for _ in range(2):
        with pytest.raises(Violation, match="TAILRACE_SEED=0") as raised:
            simulate(0, mutant.parts)
        told.append(str(raised.value))
    assert told[0] == told[1]
