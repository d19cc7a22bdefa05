"""Who runs a connector, and how that is kept known."""

import os
import socket
import uuid
from collections.abc import Callable
from threading import Event, Thread

from offsets.errors import OffsetError

TOKEN = uuid.uuid4().hex
"""Tells this process from any other, also from a later one that has its pid."""
RENEW_S = 15.0
"""Several times within errors.HOLD_ENDS_S."""
_LEAVE_S = 5.0


def ourselves() -> str:
    return f"pid {os.getpid()} on host {socket.gethostname()}"


class Renewal:
    """Calls `renew` now and then until closed. What it raises is left to the next save, which finds the same."""

    def __init__(self, renew: Callable[[], object], every_s: float = RENEW_S) -> None:
        self._renew = renew
        self._every_s = every_s
        self._end = Event()
        self._thread = Thread(target=self._go_on, name="hold-renewal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join(_LEAVE_S)

    def _go_on(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self._renew()
            except OffsetError:
                continue
            except Exception:
                if not self._end.is_set():  # else the connection was closed meanwhile, and says so in its own way
                    raise
