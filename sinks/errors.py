"""What can go wrong with a sink.

SinkError
 ├── SinkUnavailable    the target cannot take events now (retryable): full disk, folder gone, network
 ├── SinkMisconfigured  it never will, as configured
 ├── SinkRefused        it lets nobody in with what we show
 ├── ReaderGone         who read the events has left; the connector ends, quietly, and forgets nothing
 └── Rejected           the target refuses one event for good
"""

from schema.event import Event


class SinkError(Exception):
    """`hint` tells an operator in one sentence what to do; `retryable`: reopening may help."""

    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SinkUnavailable(SinkError):
    retryable = True


class SinkMisconfigured(SinkError):
    pass


class SinkRefused(SinkError):
    pass


class ReaderGone(SinkError):
    pass


class Rejected(SinkError):
    def __init__(self, event: Event, reason: str, hint: str = "") -> None:
        super().__init__(f"{event.table}, event {event.id[0]}/{event.id[1]}: {reason}", hint)
        self.event = event
