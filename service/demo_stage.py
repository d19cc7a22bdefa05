"""What a database brings to the demo."""

from typing import Any, Protocol

from service import exits
from service.demo_events import Row


class DemoFailed(Exception):
    """The demo could not go on. `hint` tells in one sentence what to do."""

    def __init__(self, message: str, hint: str, code: int = exits.FINDINGS) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class Stage(Protocol):
    """A running server with the demo's tables, still empty.

    `server` is its name and version, `schema` what stands before a table's name in a topic, `source` the part of the
    connector file, `workload` the first arguments of `service.demo_workload`.
    """

    server: str
    port: int
    schema: str
    source: dict[str, Any]
    workload: tuple[str, str]

    def rows(self, table: str) -> list[Row]:
        """All of them, as the driver gives them."""


class Rollback(Exception):
    """Raised in a transaction of the workload: it ends, or goes back to its savepoint, and nothing else happens."""
