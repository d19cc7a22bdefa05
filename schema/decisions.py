"""What became of each new version that a registry was asked to take, so that an operator can look it up later."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

from schema.errors import Policy, RegistryFailed

TABLES = """
create table if not exists schema_decision (
    connector text not null, subject text not null, asked blob not null, decision text not null,
    version integer, schema_id integer, reasons text not null, decided_at_ms integer not null,
    primary key (connector, subject, asked, decision)
) without rowid;
"""
BUSY_TIMEOUT_S = 30.0

Outcome = Literal["compatible"] | Policy
"""``compatible``, or the policy that was followed where the registry said no."""


class Decision(NamedTuple):
    """`version` and `schema_id` are None where nothing was registered; `reasons` are the registry's."""

    connector: str
    subject: str
    outcome: str
    version: int | None
    schema_id: int | None
    reasons: tuple[str, ...]
    decided_at_ms: int


class Decisions:
    """One connector's, in the state file (SQLite), whose tables exist; `of` tells those of all. Thread-safe.

    Methods raise RegistryFailed.
    """

    def __init__(self, path: Path, connector: str = "") -> None:
        self.path = path
        self._connector = connector
        self._lock = Lock()
        with self._reported("open"):
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    def add(
        self,
        subject: str,
        asked: str,
        outcome: Outcome,
        version: int | None = None,
        schema_id: int | None = None,
        reasons: Sequence[str] = (),
    ) -> bool:
        """Whether this is news; the same decision about the schema text `asked` takes the older one's place."""
        fingerprint = hashlib.sha256(asked.encode()).digest()
        identity = self._connector, subject, fingerprint, outcome
        with self._reported("write"):
            known = self._db.execute(
                "select 1 from schema_decision where (connector, subject, asked, decision) = (?,?,?,?)", identity
            ).fetchone()
            self._db.execute(
                "insert or replace into schema_decision values (?,?,?,?,?,?,?,?)",
                (*identity, version, schema_id, json.dumps(list(reasons)), int(time.time() * 1000)),
            )
        return known is None

    def of(self, subject: str) -> list[Decision]:
        """In the order they were made."""
        with self._reported("read"):
            rows = self._db.execute(
                "select connector, subject, decision, version, schema_id, reasons, decided_at_ms"
                " from schema_decision where subject = ? order by decided_at_ms",
                (subject,),
            ).fetchall()
        return [Decision._make((*known, tuple(json.loads(reasons)), at_ms)) for *known, reasons, at_ms in rows]

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise RegistryFailed(
                f"cannot {doing} the decisions about schemas in {self.path}: {error}",
                "check that the disk has room and that the state folder can be written",
            ) from error
