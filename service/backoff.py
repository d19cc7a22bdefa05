"""How long to wait before the next try."""

from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 30.0


class Backoff:
    """Doubles from 0.5 s to 30 s, each wait shortened by up to half, so that many do not come back at once.

    `chance` gives numbers from 0 to below 1.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._tries = 0

    def next_s(self) -> float:
        self._tries += 1
        full_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self._tries - 1, 10))
        return full_s * (1 - self._chance() / 2)

    def reset(self) -> None:
        self._tries = 0
