"""Processes: one a connector, restarted when killed, stopped together, each ending with the right code."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service import exits, supervisor
from tests.servers import Running, Tailrace, is_gone, until

ADAPTERS = Path(__file__).parent / "adapters"


class Standins:
    """Runs connectors whose source is the stand-in; `diary` is what those sources wrote."""

    def __init__(self, tailrace: Tailrace, folder: Path) -> None:
        self.tailrace = tailrace
        self.folder = folder / "connectors"
        self.folder.mkdir()
        self._diary = folder / "diary"

    def add(self, name: str, does: str, errors: dict[str, Any] | None = None, **source: Any) -> None:
        self.tailrace.folder = self.folder
        self.tailrace.write(
            {
                "name": name,
                "source": {"type": "standin", "diary": str(self._diary), "does": does, **source},
                "sink": {"type": "discard"},
                "errors": errors or {},
            }
        )

    def start(self, *options: str) -> Running:
        return self.tailrace.start(*options, "run", self.folder)

    def run(self, *options: str) -> Running:
        running = self.start(*options)
        running.wait()
        return running

    def said(self, line: str) -> list[int]:
        """The processes that wrote this line: "shop open"."""
        written = self._diary.read_text().splitlines() if self._diary.exists() else []
        return [int(entry.rpartition(" ")[2]) for entry in written if entry.startswith(f"{line} ")]

    def wait_for(self, line: str, times: int = 1) -> list[int]:
        def enough() -> list[int] | None:
            pids = self.said(line)
            return pids if len(pids) >= times else None

        pids: list[int] = until(enough, f"{line} {times} times")
        return pids


@pytest.fixture
def standins(tailrace: Tailrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standins:
    monkeypatch.setenv("PYTHONPATH", str(ADAPTERS))
    return Standins(tailrace, tmp_path)


def test_every_connector_has_a_process_and_sigterm_drains_them_all(standins: Standins) -> None:
    standins.add("a", "idle")
    standins.add("b", "idle")
    running = standins.start()
    pids = {standins.wait_for("a open")[0], standins.wait_for("b open")[0]}
    assert len(pids) == 2
    assert running.process.pid not in pids
    assert running.stop() == 0
    assert standins.said("a close")
    assert standins.said("b close")


def test_ctrl_c_drains_too(standins: Standins) -> None:
    standins.add("a", "idle")
    running = standins.start()
    standins.wait_for("a open")
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.wait() == 0
    assert standins.said("a close")
    assert "Traceback" not in running.stderr


def test_a_second_signal_ends_a_connector_that_does_not_drain(standins: Standins) -> None:
    standins.add("a", "deaf")
    running = standins.start()
    (pid,) = standins.wait_for("a deaf")
    running.terminate()
    running.wait_for("a second signal ends it at once")
    for _ in range(20):  # signals that come too close together count as one
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(3)
            break
    assert running.wait() == 128 + signal.SIGTERM
    assert is_gone(pid)


def test_connectors_drain_when_their_supervisor_is_killed(standins: Standins) -> None:
    standins.add("a", "idle")
    running = standins.start()
    (pid,) = standins.wait_for("a open")
    running.process.kill()
    standins.wait_for("a close")
    until(lambda: is_gone(pid), "the orphan ends")


def test_a_start_right_after_the_supervisor_was_killed_waits_for_the_orphan(standins: Standins) -> None:
    standins.add("a", "closes slowly")
    first = standins.start()
    standins.wait_for("a open")
    first.process.kill()
    second = standins.start()
    standins.wait_for("a open", times=2)
    assert second.stop() == 0


def test_a_connector_that_is_killed_is_started_again(standins: Standins) -> None:
    standins.add("a", "suicide")
    running = standins.start()
    first, second = standins.wait_for("a open", times=2)
    assert first != second
    assert "connector a was killed by SIGKILL" in running.stderr
    assert running.stop() == 0


def test_a_fatal_error_of_one_connector_leaves_the_others_running_and_is_the_exit_code(standins: Standins) -> None:
    standins.add("a", "gap")
    standins.add("b", "idle")
    running = standins.start()
    running.wait_for("mend the log")
    assert "connector a: the log has a gap" in running.stderr
    standins.wait_for("b open")
    assert running.stop() == 3
    assert len(standins.said("a open")) == 1


def test_until_caught_up_ends_with_0_when_all_have(standins: Standins) -> None:
    standins.add("a", "ends")
    standins.add("b", "ends")
    done = standins.tailrace("run", standins.folder, "--until-caught-up")
    assert done.returncode == 0, done.stderr


def test_what_can_be_retried_is_opened_again_until_it_works(standins: Standins) -> None:
    standins.add("a", "flaky")
    done = standins.tailrace("run", standins.folder, "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert len(standins.said("a open")) == 3
    assert "the stand-in stumbled" in done.stderr
    assert "let it get up" in done.stderr


def test_retries_without_progress_end_with_4(standins: Standins) -> None:
    standins.add("a", "unreachable", errors={"retry_for_s": 10})  # the first attempt counts, however long it takes
    running = standins.run()
    assert running.wait() == 4
    assert len(standins.said("a open")) >= 2
    assert "connector a: the stand-in is away" in running.stderr
    assert "bring it back" in running.stderr


def test_a_stop_while_waiting_to_retry_is_a_clean_stop(standins: Standins) -> None:
    standins.add("a", "unreachable")
    running = standins.start()
    # The fifth wait is of 4 s at least: the signal comes within it, not in the attempt that follows.
    until(lambda: running.stderr.count("retry_in_s") >= 5, "the fifth attempt failed")
    assert running.stop() == 0


@pytest.mark.parametrize(("does", "code"), [("misconfigured", 2), ("gap", 3), ("defect", 3)])
def test_an_error_that_no_retry_mends_ends_at_once_in_sentences(standins: Standins, does: str, code: int) -> None:
    standins.add("a", does)
    running = standins.run()
    assert running.wait() == code
    assert len(standins.said("a open")) == 1
    assert "connector a: " in running.stderr
    assert "Traceback" not in running.stderr


def test_debug_shows_where_a_defect_is(standins: Standins) -> None:
    standins.add("a", "defect")
    running = standins.run("--debug")
    assert "Traceback" in running.stderr
    assert "tailrace_standin.py" in running.stderr


def test_a_broken_file_is_named_and_stops_nothing_else(standins: Standins) -> None:
    standins.add("a", "ends")
    broken = standins.folder / "broken.json"
    broken.write_text("{")
    done = standins.tailrace("run", standins.folder, "--until-caught-up")
    assert done.returncode == 2
    assert f"{broken}: line 1, column 2: not valid JSON" in done.stderr
    assert standins.said("a close")


def test_a_second_runner_is_refused_with_the_first_ones_pid_and_host(standins: Standins) -> None:
    standins.add("a", "idle")
    first = standins.start()
    (pid,) = standins.wait_for("a open")
    second = standins.run()
    assert second.wait() == 3
    assert f'"connector a is already running as pid {pid} on host {os.uname().nodename}"' in second.stderr
    assert first.stop() == 0


def test_a_secret_is_blotted_out_of_an_error_that_quotes_it(
    standins: Standins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PASSWORD", "hunter2")
    standins.add("a", "unreachable", errors={"retry_for_s": 0}, password="${env:STANDIN_PASSWORD}")
    running = standins.run("--debug")
    assert "it was told ***" in running.stderr
    assert "hunter2" not in running.stderr


def test_a_state_folder_that_cannot_be_used_ends_with_2(standins: Standins) -> None:
    standins.add("a", "idle")
    standins.tailrace.state.write_text("a file")
    running = standins.run()
    assert running.wait() == 2
    assert f"the state folder {standins.tailrace.state} cannot be used" in running.stderr
    assert "Traceback" not in running.stderr


def test_a_process_that_cannot_be_started_is_tried_again_and_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(supervisor, "DEATHS_IN_A_ROW", 2)
    worker = supervisor.Worker("a", [])
    with capture_logs() as said:
        worker.run()
    assert worker.code == exits.RETRIES_ENDED
    assert [line["log_level"] for line in said] == ["warning", "error"]
    assert all(line["connector"] == "a" for line in said)
    assert all("connector a cannot be started: No such file or directory" in line["event"] for line in said)


def test_a_signal_without_a_name_is_a_death_like_others(standins: Standins) -> None:
    standins.add("a", "idle")
    running = standins.start()
    (pid,) = standins.wait_for("a open")
    os.kill(pid, signal.SIGRTMIN + 6)
    running.wait_for("was killed by signal")
    until(lambda: len(standins.said("a open")) == 2, "the connector is started again")
    assert running.stop() == 0
