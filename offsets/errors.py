"""What can go wrong with a stored offset.

OffsetError
 ├── OffsetMovedBackwards      a save would forget delivered events
 ├── OffsetUnreadable          the stored value cannot be read or is from a newer version
 ├── OffsetStoreFailed         the write did not happen, or no answer tells whether it did (retryable)
 │    ├── OffsetStoreGone      nor will it: the store was removed while we ran (not retryable)
 │    └── HoldLost             another process may run this connector by now (retryable)
 │         └── Fenced          one does, and whoever came later goes on (not retryable)
 ├── OffsetStoreRefused        the store's server refuses us: password, privilege, TLS
 ├── OffsetStoreMisconfigured  the connector file cannot be right: no such database, no such certificate
 └── ConnectorRunning          another process holds this connector
      └── HeldElsewhere        perhaps one that is dead, which its server will notice (retryable for a while)
"""

HOLD_ENDS_S = 60.0
"""After so long at most a server has noticed that the process which held a connector is gone."""


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


class HoldLost(OffsetStoreFailed):
    pass


class Fenced(HoldLost):
    retryable = False


class OffsetStoreRefused(OffsetError):
    pass


class OffsetStoreMisconfigured(OffsetError):
    pass


class ConnectorRunning(OffsetError):
    pass


class HeldElsewhere(ConnectorRunning):
    """`retry_for_s`: who still holds it after that is alive."""

    retryable = True
    retry_for_s = 1.5 * HOLD_ENDS_S
    exit_code = 3

    def __init__(self, connector: str, holder: str, place: str) -> None:
        super().__init__(
            f"connector {connector} is already running as {holder}, says {place}",
            "stop it first; where its host is dead, wait a minute and start again",
        )
