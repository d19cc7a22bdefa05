"""What can go wrong with a source.

SourceError
 ├── SourceUnreachable   no connection, or it broke (retryable)
 │    └── LogBusy        another reader holds the slot (retryable for a while)
 ├── SourceRefused       password, privilege, server setting
 ├── SourceMisconfigured a database, table or pattern that does not exist
 └── LogGap              the log no longer holds what follows our offset
"""


class SourceError(Exception):
    """`hint` tells an operator in one sentence what to do; `retryable`: reopening from the offset may help."""

    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SourceUnreachable(SourceError):
    retryable = True


class LogBusy(SourceUnreachable):
    """A dead reader's hold ends within the server's time-out; what lasts longer is a second reader."""

    retry_for_s = 90.0


class SourceRefused(SourceError):
    pass


class SourceMisconfigured(SourceError):
    pass


class LogGap(SourceError):
    pass
