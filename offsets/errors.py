"""What can go wrong with a stored offset.

OffsetError
 ├── OffsetMovedBackwards   a save would forget delivered events
 ├── OffsetUnreadable       the stored value cannot be read or is from a newer version
 ├── OffsetStoreFailed      the write did not happen; nothing changed
 │    └── OffsetStoreGone   nor will it: the store was removed while we ran (not retryable)
 └── ConnectorRunning       another process holds this connector
"""


class OffsetError(Exception):
    """`hint` tells an operator in one sentence what to do; `retryable` says whether reopening may help."""

    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class OffsetMovedBackwards(OffsetError):
    pass


class OffsetUnreadable(OffsetError):
    pass


class OffsetStoreFailed(OffsetError):
    retryable = True


class OffsetStoreGone(OffsetStoreFailed):
    retryable = False


class ConnectorRunning(OffsetError):
    pass
