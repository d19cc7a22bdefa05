"""A process per connector: started together, restarted when one is killed, stopped together.

The workers hold the reading end of a pipe from here; when it closes, because this process was killed, they drain.
"""

import random
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import environ
from pathlib import Path
from threading import Event, Thread
from types import FrameType

import structlog

from service import config, exits, health
from service.backoff import Backoff
from service.state import State

log = structlog.get_logger("tailrace")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HEALTHY_AFTER_S = 60.0
DEATHS_IN_A_ROW = 20
BEAT_S = 2.0

MEMORY: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}
"""Left alone, glibc returns each batch's memory to the kernel, which zeroes it again for the next: as much work as
writing the events (mallopt(3); other C libraries do not read these)."""


def run(paths: Sequence[Path], state: Path, *, until_caught_up: bool = False, debug: bool = False) -> int:
    """Run every connector found under `paths` until it ends or a signal stops it; the highest exit code of all.

    A file that is broken is named and stops nothing else. Raises ConfigError where that leaves nothing to run,
    StateError where the state folder cannot be used.
    """
    found = config.find(paths)
    if not found.connectors:
        raise config.together(found.errors)
    for error in found.errors:
        log.error(str(error), hint=error.hint)
    State.open(state)
    options = ["--until-caught-up"] * until_caught_up + ["--debug"] * debug
    workers = [
        Worker(connector.name, [str(file), "--state", str(state), "--supervised", *options])
        for file, connector in found.connectors.items()
    ]
    codes = Supervisor(workers, state).run()
    return max([*codes, *(exits.MISCONFIGURED for _ in found.errors)])


class Worker:
    """One connector's process, started again when a signal ends it."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.code = exits.DONE
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = Event()

    def run(self) -> None:
        """Until the connector ends by itself or after `stop`."""
        backoff = Backoff(random.random)
        deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code, how = self._run_once()
            if code >= 0:
                self.code = code
                return
            if self._stopping.is_set():  # SIGTERM before the process could drain anything, or worse
                self.code = exits.DONE if code == -signal.SIGTERM else exits.KILLED - code
                return
            if time.monotonic() - started > HEALTHY_AFTER_S:
                backoff.reset()
                deaths = 0
            deaths += 1
            if deaths == DEATHS_IN_A_ROW:
                log.error(
                    f"connector {self.name} {how}, the {deaths}th time in a row, and is not started again",
                    hint="see what ends it, often a limit of memory; its offset is safe, start tailrace again then",
                    connector=self.name,
                )
                self.code = exits.RETRIES_ENDED
                return
            delay_s = backoff.next_s()
            log.warning(f"connector {self.name} {how}", connector=self.name, restart_in_s=round(delay_s, 1))
            self._stopping.wait(delay_s)

    def stop(self, signum: int) -> None:
        """Pass a signal on. Called from a signal handler: takes no lock."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signum)

    def _run_once(self) -> tuple[int, str]:
        """The exit code, negative for a death, and that death in words."""
        try:
            # A session of its own: Ctrl-C on the terminal reaches us alone, and we pass it on once.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.worker", *self._arguments],
                stdin=subprocess.PIPE,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:  # no memory, no more processes, an interpreter that may not be run
            return -signal.SIGTERM, f"cannot be started: {error.strerror}"
        with self._process as process:
            if self._stopping.is_set():
                process.terminate()  # the signal came while the process was being made
            code = process.wait()
        return code, f"was killed by {_signal_name(-code)}" if code < 0 else ""


class Supervisor:
    """Waits for the workers, passes signals on, and shows a health check that it is alive."""

    def __init__(self, workers: Sequence[Worker], state: Path) -> None:
        self._workers = workers
        self._state = state
        self._stopping = False

    def run(self) -> list[int]:
        """Each worker's exit code, once all have ended."""
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._stop)
        threads = [Thread(target=worker.run, name=worker.name, daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        announced = False
        for thread in threads:
            while thread.is_alive():
                health.beat(self._state)
                thread.join(BEAT_S)
                announced = announced or self._announce(thread)
        for signum in STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)  # the codes stand; a late signal must not replace them
        return [worker.code for worker in self._workers]

    def _announce(self, thread: Thread) -> bool:
        """Where draining takes long, say so; not in the signal handler, which may interrupt a line being logged."""
        waiting = self._stopping and thread.is_alive()
        if waiting:
            log.info("delivers what was read, then stops; a second signal ends it at once", connector=thread.name)
        return waiting

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.stop(signal.SIGTERM)


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # one of the real-time signals
        return f"signal {signum}"


def _environment() -> Mapping[str, str]:
    """The workers find these very packages, wherever tailrace was started from; what a user sets stays."""
    given = {**MEMORY, **environ}
    root = str(Path(__file__).resolve().parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return given
    return {**given, "PYTHONPATH": ":".join(filter(None, (root, environ.get("PYTHONPATH"))))}
