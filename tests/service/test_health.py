"""The check that a container's engine runs."""

import os
import subprocess
import sys
import time
from pathlib import Path

from service import health
from tests.servers import ROOT


def check(state: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "service.health"]
    environment = {**os.environ, "TAILRACE_STATE": str(state)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_state_folder_where_nothing_ever_ran_is_not_alive(tmp_path: Path) -> None:
    code, said = check(tmp_path)
    assert (code, said) == (1, f"no tailrace ever ran on {tmp_path}\n")


def test_a_supervisor_that_beats_is_alive(tmp_path: Path) -> None:
    health.beat(tmp_path)
    code, said = check(tmp_path)
    assert (code, said) == (0, f"tailrace on {tmp_path} is alive\n")


def test_a_supervisor_that_fell_silent_is_not_alive(tmp_path: Path) -> None:
    health.beat(tmp_path)
    then = time.time() - health.MAX_AGE_S - 60
    os.utime(next(tmp_path.iterdir()), (then, then))
    code, said = check(tmp_path)
    assert code == 1
    assert "last sign of life" in said


def test_a_state_folder_that_is_gone_does_not_stop_the_supervisor(tmp_path: Path) -> None:
    health.beat(tmp_path / "gone")
