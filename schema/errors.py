"""What can go wrong between a change and its event.

SchemaError
 ├── Unencodable     a value that the event's type cannot hold
 ├── NullInRequired  NULL in a column the version calls NOT NULL; the table's version must be made anew
 ├── Incompatible    names or shapes that no event schema can express
 ├── RegistryFailed  a schema could not be stored or read (retryable)
 └── Undecodable     an event's bytes that their schema cannot read
"""


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


class NullInRequired(SchemaError):
    def __init__(self, table: str, column: str) -> None:
        super().__init__(f"{table}.{column} is NULL in the log though its version says NOT NULL")
        self.table = table
        self.column = column


class Incompatible(SchemaError):
    pass


class RegistryFailed(SchemaError):
    retryable = True


class Undecodable(SchemaError):
    def __init__(self, message: str) -> None:
        super().__init__(message, "check that the state folder is the one that these events were made with")
