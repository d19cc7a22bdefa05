"""The process of one connector: ``python -m service.worker FILE --state DIR``.

Whatever fails is closed and opened again from the stored offset, with growing waits, until progress or the end of
`errors.retry_for_s`.
"""

import argparse
import gc
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import structlog

import connectors
from offsets.base import OffsetStore
from offsets.errors import ConnectorRunning, OffsetStoreGone
from service import __version__, config, exactly_once, exits, logs, secrets
from service.backoff import Backoff
from service.dead_letters import Limits
from service.letter_box import LetterBox
from service.offset_stores import LOCAL, move_in, moved_position, open_store
from service.pipeline import Delivery, Pipeline
from service.registries import open_registry
from service.sink_building import build_sink
from service.state import Hold, State
from sinks.errors import ReaderGone

log = structlog.get_logger("tailrace")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

HEALTHY_AFTER_S = 60.0
"""An attempt that lasted so long was not part of the trouble before it, even where nothing happened in it."""

GC_THRESHOLD = 50_000
"""Objects between two looks for cycles. Events have none, and Python's 700 cost a tenth of a connector's CPU."""

HOLD_GRACE_S = 3.0
"""How long a process whose supervisor was killed may take to drain before we call it a second runner."""


def run_connector(
    file: Path, state_dir: Path, stop: Event, *, until_caught_up: bool = False, debug: bool = False
) -> int:
    """Run one connector until `stop` is set or it ends by itself; its exit code. Errors go to the log."""
    name = file.stem
    try:
        connector = config.load(file)
        name = connector.name
        logs.configure(name, secrets.values(connector), debug=debug)
        state = State.open(state_dir)
        with _hold(state, name, stop):
            state.remember_config(name, file)
            return _Attempts(connector, state, stop, until_caught_up).run()
    except Exception as error:
        said = exits.say(error)
        cause = said.cause if said.cause.startswith(f"connector {name} ") else f"connector {name}: {said.cause}"
        log.error(cause, hint=said.hint, exc_info=error if debug else None)
        return said.code


class _Attempts:
    """Opens the connector again and again, until it ends well or for good."""

    def __init__(self, connector: config.Connector, state: State, stop: Event, until_caught_up: bool) -> None:
        self._connector = connector
        self._state = state
        self._stop = stop
        self._until_caught_up = until_caught_up
        self._checkpoints: Callable[[], int] = lambda: 0
        self._has_offset = False

    def run(self) -> int:
        """The exit code. Raises what is not retryable."""
        backoff = Backoff(random.random)
        failing_since: float | None = None
        alike: tuple[type[Exception], float] | None = None  # what failed last, and since when it is that
        while True:
            started = time.monotonic()
            try:
                self._once()
                return exits.DONE
            except ReaderGone:
                return exits.DONE
            except Exception as error:
                if not getattr(error, "retryable", False):
                    raise
                now = time.monotonic()
                self._has_offset = self._has_offset or self._checkpoints() > 0
                if self._checkpoints() or now - started > HEALTHY_AFTER_S:
                    backoff.reset()
                    failing_since = alike = None
                failing_since = failing_since or started
                alike = alike if alike and alike[0] is type(error) else (type(error), started)
                delay_s = backoff.next_s()
                until = min(failing_since + self._connector.errors.retry_for_s, alike[1] + _retry_for_s(error))
                if self._stop.is_set() or now + delay_s > until:
                    raise
                log.warning(str(error), hint=getattr(error, "hint", ""), retry_in_s=round(delay_s, 1))
            if self._stop.wait(delay_s):
                return exits.DONE

    def _once(self) -> None:
        connector = self._connector
        self._checkpoints = lambda: 0
        with (
            closing(open_store(connector, self._state)) as offsets,
            closing(open_registry(connector, self._state)) as registry,
            closing(self._state.dead_letters()) as dead_letters,
            closing(self._state.snapshot_requests()) as requests,
        ):
            offsets.hold(connector.name)
            if connector.offsets_type != LOCAL and move_in(connector.name, offsets, self._state):
                log.info(f"took over the offset from {self._state.path}", store=offsets.place)
            self._refuse_forgotten(offsets)
            letters = LetterBox(
                connector.name,
                dead_letters,
                _limits(connector),
                connector.errors.dead_letter_topic,
                moved_position(connector, offsets),
            )
            # Secrets are read at each attempt, so that a password that was changed is found.
            source = connectors.load(connector.source_type)(
                secrets.resolve(connector.source),
                connector=connector.name,
                topic_prefix=connector.topic_prefix,
                registry=registry,
                version=__version__,
                dead_letter=letters.put if connector.errors.unrepresentable == "dlq" else None,
                **({"refused": letters.put} if connector.puts_refused_aside else {}),
            )
            sink = build_sink(connector, registry)
            atomic = exactly_once.asked_for(connector.sink)
            if atomic:
                exactly_once.join(connector.name, sink, offsets)
            pipeline = Pipeline(
                connector.name,
                source,
                sink,
                offsets,
                _delivery(connector),
                dead_letter=letters.put if connector.errors.rejected == "dlq" else None,
                requests=requests,
                letters=letters,
                atomic=atomic,
            )
            self._checkpoints = lambda: pipeline.checkpoints
            pipeline.run(self._stop, self._until_caught_up)
            offset = offsets.load(connector.name)
            log.info("stopped", position=offset.position.token if offset else "none")

    def _refuse_forgotten(self, offsets: OffsetStore) -> None:
        """A connector that runs does not become a new one because its offset is gone. Raises OffsetStoreGone."""
        if offsets.load(self._connector.name) is not None:
            self._has_offset = True
        elif self._has_offset:
            raise OffsetStoreGone(
                f"{offsets.place} has lost the offset of connector {self._connector.name}, which it had a moment ago",
                "put it back from a backup, or start the connector again: it then begins as a new one",
            )


def _retry_for_s(error: Exception) -> float:
    """An error may know that it is hopeless sooner than the connector's own limit, once it has lasted."""
    return float(getattr(error, "retry_for_s", math.inf))


def _limits(connector: config.Connector) -> Limits:
    return Limits(connector.errors.max_dead_letters, connector.errors.max_dead_letters_per_minute)


def _delivery(connector: config.Connector) -> Delivery:
    return Delivery(connector.delivery.flush_interval_ms / 1000, connector.delivery.queue_bytes)


def _hold(state: State, name: str, stop: Event) -> Hold:
    """The right to run this connector. Raises ConnectorRunning."""
    deadline = time.monotonic() + HOLD_GRACE_S
    while True:
        try:
            return state.hold(name)
        except ConnectorRunning:
            if time.monotonic() > deadline or stop.is_set():
                raise


def _stop_on_signals(stop: Event) -> None:
    """The first signal drains; a second one ends the process at once."""

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(exits.KILLED + signum)
        stop.set()

    for signum in STOP_SIGNALS:
        signal.signal(signum, handle)


def _stop_with_supervisor(stop: Event) -> None:
    """Standard input is a pipe from the supervisor; it ends when the supervisor does, however that happens."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        stop.set()

    Thread(target=watch, name="supervisor-watch", daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    stop = Event()
    _stop_on_signals(stop)
    parser = argparse.ArgumentParser(prog="python -m service.worker")
    parser.add_argument("file", type=Path)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--until-caught-up", action="store_true")
    parser.add_argument("--supervised", action="store_true", help="end when standard input ends")
    parser.add_argument("--debug", action="store_true")
    given: Any = parser.parse_args(arguments)
    if given.supervised:
        _stop_with_supervisor(stop)
    logs.configure(debug=given.debug)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    code = run_connector(given.file, given.state, stop, until_caught_up=given.until_caught_up, debug=given.debug)
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)  # the code stands; a late signal must not replace it
    return code


if __name__ == "__main__":
    sys.exit(main())
