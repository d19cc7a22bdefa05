"""Threads that run one at a time, in an order drawn from a seed, on a clock that nobody waits for.

The pipeline's own code runs unchanged: `Scheduler.installed` gives it `Thread` and `Condition` from here. Whoever
calls `step` or waits may lose the turn, and at one step, chosen beforehand, the process is killed: from then on
every step raises `Killed`, so that no `finally` can touch the world any more.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any
from unittest.mock import patch

from service import batch_queue, letter_box, pipeline

FOREVER_S = float("inf")
TICK_S = 1e-6  # a clock that is looked at moves on
STEPS_MAX = 50_000
LINES_OF = {pipeline.__file__, batch_queue.__file__, letter_box.__file__}


class Killed(BaseException):
    """kill -9. Not an Exception, so that only the crudest `except` sees it, and that one is powerless."""


class Stuck(BaseException):
    """Everybody waits for ever, or nobody makes progress."""


class Actor:
    """A thread: its turn to run, and what it waits for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()
        self.turn.acquire()
        self.ready: Callable[[], bool] = _always
        self.deadline_s = FOREVER_S
        self.done = False


class Scheduler:
    """One life of the process. `every_line` also switches, and kills, between any two lines of the pipeline."""

    def __init__(self, rng: Random, kill_at: int | None = None, every_line: bool = False) -> None:
        self.now_s = 0.0
        self.steps = 0
        self.killed = False
        self.stuck = False
        self._rng = rng
        self._kill_at = kill_at
        self._every_line = every_line
        self._loyalty = rng.choice((0.0, 0.5, 0.9))  # how often the one who runs goes on running
        self._current = Actor("reader")
        self._actors = [self._current]

    def run(self, main: Callable[[], None]) -> None:
        """Run `main` as the first actor; return or raise what it does, once every other actor has ended."""
        actor = self._current
        try:
            self._traced(main)
        finally:
            self.killed = self.killed or any(not other.done for other in self._actors if other is not actor)
            actor.ready = lambda: all(other.done for other in self._actors if other is not actor)
            while not actor.ready():
                self._pass_on(actor)

    def step(self) -> None:
        """A point between two effects: somebody else may run here, and a kill may strike."""
        self.wait(_always, FOREVER_S)

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Give the turn away until `ready()` or until the clock has moved on by `timeout_s`."""
        self._survive()
        self.steps += 1
        if self.steps == self._kill_at:
            self.killed = True
        self.stuck = self.stuck or self.steps > STEPS_MAX
        self._survive()
        me = self._current
        me.ready, me.deadline_s = ready, self.now_s + timeout_s
        self._pass_on(me)
        self._survive()
        return ready()

    def clock(self) -> float:
        self.now_s += TICK_S
        return self.now_s

    def spawn(self, actor: Actor, body: Callable[[], None]) -> None:
        def live() -> None:
            actor.turn.acquire()
            try:
                self._traced(body)
            except (Killed, Stuck):
                pass
            finally:
                actor.done = True
                self._pass_on(actor)

        self._actors.append(actor)
        threading.Thread(target=live, name=actor.name, daemon=True).start()

    @property
    def actor(self) -> Actor:
        """Whose turn it is."""
        return self._current

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The pipeline's threads and its queue's lock, under this scheduler."""
        with (
            patch.object(pipeline, "Thread", lambda **arguments: ScheduledThread(self, **arguments)),
            patch.object(batch_queue, "Condition", lambda: ScheduledCondition(self)),
        ):
            yield

    def _survive(self) -> None:
        if self.stuck:
            raise Stuck
        if self.killed:
            raise Killed

    def _pass_on(self, me: Actor) -> None:
        chosen = self._choose(me)
        if chosen is me:
            return
        self._current = chosen
        chosen.turn.release()
        if not me.done:
            me.turn.acquire()

    def _choose(self, me: Actor) -> Actor:
        alive = [actor for actor in self._actors if not actor.done]
        if self.killed or self.stuck:  # the others first, so that they end; the first actor ends last
            return alive[-1]
        ready = [actor for actor in alive if actor.ready() or actor.deadline_s <= self.now_s]
        if not ready:
            self.now_s = min(actor.deadline_s for actor in alive)
            if self.now_s == FOREVER_S:
                self.stuck = True
                return alive[-1]
            ready = [actor for actor in alive if actor.deadline_s <= self.now_s]
        if me in ready and self._rng.random() < self._loyalty:
            return me
        return self._rng.choice(ready)

    def _traced(self, body: Callable[[], None]) -> None:
        before = sys.gettrace()
        if self._every_line:
            sys.settrace(self._trace)
        try:
            body()
        finally:
            if self._every_line:
                sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in LINES_OF:
            return None
        if event == "line":
            self.step()
        return self._trace


class ScheduledThread:
    """What the pipeline uses of `threading.Thread`."""

    def __init__(self, scheduler: Scheduler, target: Callable[[], None], name: str, daemon: bool) -> None:
        self.ident: int | None = None
        self._scheduler = scheduler
        self._target = target
        self._actor = Actor("delivery")

    def start(self) -> None:
        self._scheduler.spawn(self._actor, self._target)
        self.ident = 1
        self._scheduler.step()

    def is_alive(self) -> bool:
        return self.ident is not None and not self._actor.done

    def join(self, timeout: float = FOREVER_S) -> None:
        self._scheduler.wait(lambda: self._actor.done, timeout)


class ScheduledCondition:
    """What the queue uses of `threading.Condition`. A waiter that nobody notifies sleeps until its time-out."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: Actor | None = None
        self._notified = 0

    def __enter__(self) -> None:
        while self._owner is not None:
            self._scheduler.wait(lambda: self._owner is None, FOREVER_S)
        self._owner = self._scheduler.actor

    def __exit__(self, *_: object) -> None:
        self._owner = None

    def notify_all(self) -> None:
        self._notified += 1

    def wait_for(self, predicate: Callable[[], object], timeout: float) -> object:
        deadline_s = self._scheduler.now_s + timeout
        self._scheduler.step()
        while not predicate() and self._scheduler.now_s < deadline_s:
            self._owner = None
            self._scheduler.wait(self._is_notified_after(self._notified), deadline_s - self._scheduler.now_s)
            self.__enter__()
        return predicate()

    def _is_notified_after(self, heard: int) -> Callable[[], bool]:
        return lambda: self._notified > heard


class ScheduledStop(threading.Event):
    """SIGTERM at the nth time the pipeline looks for it; never where `after_looks` is None."""

    def __init__(self, scheduler: Scheduler, after_looks: int | None) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._after_looks = after_looks
        self._looks = 0

    def is_set(self) -> bool:
        self._scheduler.step()
        self._looks += 1
        return self._after_looks is not None and self._looks > self._after_looks


def _always() -> bool:
    return True
