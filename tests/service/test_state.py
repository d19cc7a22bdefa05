"""The state folder: checked before use, held by one process at a time."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from offsets.errors import ConnectorRunning
from offsets.position import Offset, Position
from service.state import VERSION, State, StateFolderUnusable, StateNotWritten, StateUnreadable

ROOT = Path(__file__).parent.parent.parent
POSITION = Position(1, "0/1", "{}")
HOLDER = """
import sys, time
from pathlib import Path
from service.state import State
hold = State.open(Path(sys.argv[1])).hold("shop")
print("held", flush=True)
time.sleep(600)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert holder.stdout is not None
    holder.stdout.close()


def test_a_new_folder_is_made_with_its_parents_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    with closing(State.open(folder).offsets()) as store:
        store.save("shop", POSITION, {})
    with closing(State.open(folder, create=False).offsets()) as store:
        assert store.load("shop") == Offset(POSITION, {})


def test_a_state_that_is_not_there_is_not_made_by_a_command_that_only_looks(tmp_path: Path) -> None:
    with pytest.raises(StateFolderUnusable, match="no tailrace state") as missing:
        State.open(tmp_path / "state", create=False)
    assert "--state" in missing.value.hint
    assert not (tmp_path / "state").exists()


def test_a_file_in_the_place_of_the_folder_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateFolderUnusable, match=r"state.* cannot be used: File exists") as unusable:
        State.open(tmp_path / "state")
    assert unusable.value.exit_code == 2
    assert "can be written" in unusable.value.hint


def test_a_folder_on_a_disk_that_is_read_only_is_bad_usage(tmp_path: Path) -> None:
    State.open(tmp_path)
    bound = subprocess.run(["mount", "--bind", "-r", tmp_path, tmp_path], capture_output=True, text=True, check=False)
    if bound.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {bound.stderr.strip()}")
    try:
        with pytest.raises(StateFolderUnusable, match="Read-only") as unusable:
            State.open(tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
    assert unusable.value.exit_code == 2


def test_a_full_disk_at_the_start_is_worth_another_try(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.strip()}")
    try:
        with pytest.raises(StateNotWritten, match="full") as full:
            State.open(tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
    assert full.value.retryable


def test_a_state_from_a_newer_version_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    state = State.open(tmp_path)
    with closing(sqlite3.connect(state.path)) as db:
        db.execute(f"pragma user_version = {VERSION + 1}")
    with pytest.raises(StateUnreadable, match=rf"tailrace\.db was written by a newer .*{VERSION + 1}") as newer:
        State.open(tmp_path)
    assert newer.value.exit_code == 3
    with closing(sqlite3.connect(state.path)) as db:
        assert db.execute("pragma user_version").fetchone() == (VERSION + 1,)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tailrace.db").write_bytes(os.urandom(8192))
    with pytest.raises(StateUnreadable, match=r"tailrace\.db cannot be read"):
        State.open(tmp_path)


def test_a_sqlite_file_of_somebody_else_is_not_written_into(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "tailrace.db")) as db:
        db.execute("create table theirs (a)")
    with pytest.raises(StateUnreadable, match="not a tailrace state file"):
        State.open(tmp_path)


def open_together(folder: Path, starts: int, barrier: Barrier) -> None:
    for nth in range(starts):
        barrier.wait(300)  # the first one waits until the last of the processes has imported everything
        State.open(folder / str(nth))


def test_connectors_that_start_together_make_one_state(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(5)
    openers = [spawn.Process(target=open_together, args=(tmp_path, 40, barrier), daemon=True) for _ in range(5)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * 5


def test_a_second_process_is_refused_with_the_firsts_pid_and_host(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(
            ConnectorRunning, match=f"shop is already running as pid {holder.pid} on host {os.uname().nodename}"
        ) as running:
            State.open(tmp_path).hold("shop")
        assert "stop it" in running.value.hint
        assert State.open(tmp_path).holder("shop") == f"pid {holder.pid} on host {os.uname().nodename}"
    finally:
        end(holder)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    end(start_holder(tmp_path))
    state = State.open(tmp_path)
    assert state.holder("shop") is None
    state.hold("shop").close()


def test_connectors_of_other_names_are_free(tmp_path: Path) -> None:
    state = State.open(tmp_path)
    with state.hold("shop"), state.hold("crm"), pytest.raises(ConnectorRunning):
        state.hold("shop")
    state.hold("shop").close()


def test_the_file_of_a_connector_is_remembered(tmp_path: Path) -> None:
    state = State.open(tmp_path)
    assert state.config_path("shop") is None
    state.remember_config("shop", tmp_path / "old.json")
    state.remember_config("shop", tmp_path / "shop.json")
    assert State.open(tmp_path).config_path("shop") == tmp_path / "shop.json"
