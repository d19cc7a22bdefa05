"""A command that would be wrong to carry out."""


class Refused(Exception):
    """`exit_code`: 2 for bad usage, 3 where the server cannot serve it."""

    retryable = False

    def __init__(self, message: str, hint: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code
