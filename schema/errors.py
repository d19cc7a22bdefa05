"""What can go wrong between a change and its event.

SchemaError
 ├── Unencodable     a value that the event's type cannot hold
 │    └── VersionRefused  a change of a version that the registry refuses, where policy puts such changes aside
 ├── NullInRequired  NULL in a column the version calls NOT NULL; the table's version must be made anew
 ├── Incompatible    names or shapes that no event schema can express
 ├── IncompatibleVersion  a table's new version that the registry will not have beside the older ones
 ├── RegistryFailed  a schema could not be stored or read (retryable)
 │    └── RegistryRefused  the registry will not answer otherwise by itself: login, right, TLS, address
 │         └── RegistryMisconfigured  a file or secret of ours that cannot be used
 └── Undecodable     an event's bytes that their schema cannot read
"""

from collections.abc import Sequence
from typing import Literal

from schema.change import Avro

Policy = Literal["stop", "new_subject", "dead_letter", "widen"]
"""What is done about a version that the registry finds incompatible."""


class SchemaError(Exception):
    """`hint` tells an operator in one sentence what to do."""

    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Unencodable(SchemaError):
    """Raised by an encoder of one column with the reason; the table's encoder adds table and column."""

    def __init__(self, reason: str, table: str = "", column: str = "") -> None:
        where = f"{table}.{column}: " if column else ""
        super().__init__(
            f"{where}{reason}",
            'set errors.unrepresentable to "dlq" to go on without this change, and correct the value at the source',
        )
        self.reason = reason
        self.table = table
        self.column = column


class VersionRefused(Unencodable):
    """Raised for each change, so that all of them, and no other table's, are put aside."""

    def __init__(self, table: str, reasons: str) -> None:
        super().__init__(f"{table}: the registry refuses this version of the table: {reasons}", table)


class NullInRequired(SchemaError):
    def __init__(self, table: str, column: str) -> None:
        super().__init__(f"{table}.{column} is NULL in the log though its version says NOT NULL")
        self.table = table
        self.column = column


class Incompatible(SchemaError):
    pass


class IncompatibleVersion(SchemaError):
    """`reasons` say what differs from `latest`, the version that is there; `way_out` what lets `schema` in.

    `policy` is what the connector file wants done about it.
    """

    def __init__(
        self,
        subject: str,
        reasons: Sequence[str],
        way_out: str,
        *,
        schema: Avro,
        policy: Policy = "stop",
        latest: Avro | None = None,
    ) -> None:
        self.reason = "; ".join(reasons)
        super().__init__(f"{subject}: the new version is not compatible: {self.reason}", way_out)
        self.subject = subject
        self.reasons = tuple(reasons)
        self.schema = schema
        self.policy = policy
        self.latest = latest


class RegistryFailed(SchemaError):
    retryable = True


class RegistryRefused(RegistryFailed):
    retryable = False


class RegistryMisconfigured(RegistryRefused):
    pass


class Undecodable(SchemaError):
    def __init__(self, message: str) -> None:
        super().__init__(message, "check that the state folder is the one that these events were made with")
