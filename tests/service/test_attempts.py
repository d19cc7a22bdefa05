"""How long a connector is opened again and again, by a clock of its own."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from offsets.errors import HeldElsewhere, OffsetStoreFailed
from service import exits, worker
from service.state import State

RETRY_FOR_S = 3600.0


class Clock(Event):
    """Nobody stops the connector, and a wait is over at once."""

    now_s = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0
        return False


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: Iterator[Exception]) -> tuple[int, float]:
    """(exit code, time of the last attempt) where each attempt takes a second and fails as told, or ends well."""
    clock = Clock()

    def once(_: object) -> None:
        clock.now_s += 1
        if error := next(failures, None):
            raise error

    connector: Any = SimpleNamespace(errors=SimpleNamespace(retry_for_s=RETRY_FOR_S))
    monkeypatch.setattr(worker._Attempts, "_once", once)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    try:
        return worker._Attempts(connector, State(tmp_path), clock, False).run(), clock.now_s
    except HeldElsewhere:
        return HeldElsewhere.exit_code, clock.now_s


def held() -> Exception:
    return HeldElsewhere("shop", "pid 7 on host b", "kafka broker:9092/offsets")


def test_a_hold_that_an_outage_left_behind_is_waited_for_however_long_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = [OffsetStoreFailed("no broker answers") for _ in range(30)]
    code, ended_s = run(tmp_path, monkeypatch, iter([*outage, held(), held()]))
    assert code == exits.DONE
    assert ended_s > HeldElsewhere.retry_for_s


def test_a_connector_that_somebody_else_goes_on_holding_ends_long_before_its_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, ended_s = run(tmp_path, monkeypatch, iter(held, None))
    assert code == HeldElsewhere.exit_code
    assert ended_s <= HeldElsewhere.retry_for_s
