"""The state file's offsets: durable, bounded, and honest about what went wrong."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offsets.errors import OffsetStoreFailed, OffsetStoreGone, OffsetUnreadable
from offsets.position import Offset, Position
from offsets.sqlite import SqliteStore
from service.state import State

ROOT = Path(__file__).parent.parent.parent
LOG = '{"system": "1", "slot": "s"}'
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[SqliteStore]:
    with closing(SqliteStore(State.open(tmp_path / "state").path, clock)) as store:
        yield store


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}", LOG)


def rows(store: SqliteStore, table: str) -> int:
    with closing(SqliteStore(store.path)) as other:
        (count,) = other._db.execute(f"select count(*) from {table}").fetchone()
    return int(count)


SAVER = """
import sys, time
from pathlib import Path
from offsets.position import Position
from service.state import State
store = State.open(Path(sys.argv[1])).offsets()
offset = store.load("shop")
order = offset.position.order if offset else 0
while True:
    order += 1
    store.save("shop", Position(order, str(order), "{}"), {"public.orders": str(order)})
    print(order, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_kill_in_the_middle_of_saves_loses_none_that_returned(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for _ in range(5):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, state, "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert saver.stdout is not None
        lines = [saver.stdout.readline() for _ in range(20)]
        saver.send_signal(signal.SIGKILL)
        returned = int([*lines, *saver.stdout][-1])
        saver.wait()
        saver.stdout.close()
        with closing(State.open(state).offsets()) as store:
            offset = store.load("shop")
        assert offset is not None
        assert offset.position.order in (returned, returned + 1)
        assert offset.snapshot == {"public.orders": str(offset.position.order)}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_changes_nothing_and_passes_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with closing(State.open(disk / "state").offsets()) as store:
            store.save("shop", at(100), {"public.orders": "1"})
            (disk / "ballast").write_bytes(b"")
            with (disk / "ballast").open("ab", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
                while True:
                    ballast.write(bytes(4096))
            with pytest.raises(OffsetStoreFailed, match=r"shop.*full") as failed:
                for order in range(101, 200):
                    store.save("shop", at(order), {"public.orders": "x" * 50_000})
            assert failed.value.retryable
            assert "room" in failed.value.hint
            before = store.load("shop")
            assert before is not None
            (disk / "ballast").unlink()
            store.save("shop", at(300), {})
        with closing(State.open(disk / "state").offsets()) as store:
            assert store.load("shop") == Offset(at(300), before.snapshot)


def test_a_removed_folder_is_noticed_and_not_retried(store: SqliteStore) -> None:
    store.save("shop", at(100), {})
    for file in store.path.parent.iterdir():
        file.unlink()
    with pytest.raises(OffsetStoreGone, match="removed or replaced") as gone:
        store.save("shop", at(200), {})
    assert not gone.value.retryable


def test_a_damaged_page_is_reported_with_the_file_and_never_read_as_no_offset(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state")
    with closing(state.offsets()) as store:
        store.save("shop", at(100), {})
    with state.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(state.path.stat().st_size - 4096))
    with closing(state.offsets()) as store, pytest.raises(OffsetUnreadable, match=r"tailrace\.db") as damaged:
        store.load("shop")
    assert "backup" in damaged.value.hint


def test_connectors_that_save_at_the_same_time_wait_for_each_other(store: SqliteStore) -> None:
    # SQLite gives the lock to whoever asks when it is free, which behind a slow disk is hardly ever without a pause.
    command = [sys.executable, "-c", SAVER, str(store.path.parent), "0.002"]
    saver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert saver.stdout is not None
    saver.stdout.readline()
    for order in range(500):
        store.save("crm", at(order), {})
    assert saver.poll() is None
    saver.kill()
    saver.wait()
    saver.stdout.close()
    assert [stored.connector for stored in store.all()] == ["crm", "shop"]


def test_normal_saves_leave_one_sample_a_minute_for_seven_days(store: SqliteStore, clock: Clock) -> None:
    store._db.execute("pragma synchronous = off")
    order = 0
    for _ in range(9 * 24):
        for _ in range(3):
            order += 1
            store.save("shop", at(order), {})
        clock.later(hours=1)
    assert rows(store, "offset_sample") == 7 * 24 + 2
    assert store.position_at("shop", clock.now - timedelta(days=6, hours=23)) is not None
    assert store.position_at("shop", clock.now - timedelta(days=8)) is None
