"""The exit codes, and what each error means for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from connectors.errors import SourceMisconfigured
from offsets.errors import OffsetStoreMisconfigured
from schema.errors import RegistryMisconfigured
from service.logs import named
from service.problems import ConfigError
from service.secrets import SecretMissing
from sinks.errors import SinkMisconfigured

MISTAKES = (
    *(ConfigError, SecretMissing, SourceMisconfigured, RegistryMisconfigured, SinkMisconfigured),
    OffsetStoreMisconfigured,
)
"""Of the connector file."""

DONE = 0
FINDINGS = 1
MISCONFIGURED = 2
FATAL = 3
RETRIES_ENDED = 4
KILLED = 128
"""Plus the signal's number: a second signal ended the process while it drained."""


class Said(NamedTuple):
    """An error as an operator reads it: the cause, what to do, and the exit code it ends with."""

    cause: str
    hint: str
    code: int


def say(error: BaseException) -> Said:
    """Every error of the packages carries `hint` and `retryable`; anything else is a defect of ours."""
    if isinstance(error, MISTAKES):
        return Said(str(error), getattr(error, "hint", ""), MISCONFIGURED)
    if not hasattr(error, "hint"):
        return Said(
            f"a defect of tailrace: {type(error).__name__}: {error}",
            "run it again with --debug and report what it prints; the stored offset is unharmed",
            FATAL,
        )
    code = getattr(error, "exit_code", None)
    if code is None:
        code = RETRIES_ENDED if getattr(error, "retryable", False) else FATAL
    return Said(str(error), error.hint, code)


@contextmanager
def about(connector: str) -> Iterator[None]:
    """Errors within are about `connector`: a command in their hint takes its name."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "hint"):
            error.hint = named(error.hint, connector)
        raise
