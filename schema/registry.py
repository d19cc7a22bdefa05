"""Where schemas get their ids and versions."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from schema.change import Avro
from schema.errors import IncompatibleVersion, Policy, RegistryFailed

TABLES = """
create table if not exists avro_schema (
    id integer primary key, fingerprint blob not null unique, text text not null
);
create table if not exists subject_version (
    subject text not null, version integer not null, schema_id integer not null references avro_schema,
    registered_at_ms integer not null,
    primary key (subject, version), unique (subject, schema_id)
) without rowid;
"""
BUSY_TIMEOUT_S = 30.0


class RegisteredVersion(NamedTuple):
    """`id` names the schema wherever it is used; `version` counts from 1 within one subject."""

    id: int
    version: int


class Registry(Protocol):
    """Gives every schema an id that events carry. Thread-safe. Subjects are `<topic>-key` and `<topic>-value`."""

    def register(self, subject: str, schema: Avro) -> RegisteredVersion:
        """The schema's place under `subject`, made where it is new; durable on return. Raises RegistryFailed.

        The same schema has the same id under every subject, and keeps its version when it comes back later.
        """

    def decide(self, refused: IncompatibleVersion, policy: Policy, registered: RegisteredVersion | None) -> None:
        """Remember what `policy` made of a version that `register` refused. Raises RegistryFailed."""

    def schema(self, schema_id: int) -> Avro:
        """Raises KeyError for an id never given out, RegistryFailed."""

    def subjects(self) -> list[str]: ...

    def versions(self, subject: str) -> list[RegisteredVersion]:
        """In order; empty for a subject never registered."""

    def close(self) -> None: ...


class LocalConfig(BaseModel):
    """Versions in the state folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["local"] = "local"


class LocalRegistry:
    """A Registry in the state file (SQLite), whose tables exist. Processes may share the file."""

    Config: ClassVar[type[LocalConfig]] = LocalConfig

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._schemas: dict[int, Avro] = {}
        with self._reported("open"):
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma synchronous = full")

    def register(self, subject: str, schema: Avro) -> RegisteredVersion:
        with self._reported(f"register a schema of {subject}"):
            self._db.execute("begin immediate")
            try:
                registered = self._registered(subject, schema)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        self._schemas[registered.id] = schema
        return registered

    def decide(self, refused: IncompatibleVersion, policy: Policy, registered: RegisteredVersion | None) -> None:
        """It refuses none."""

    def schema(self, schema_id: int) -> Avro:
        known = self._schemas.get(schema_id)
        if known is None:
            with self._reported(f"read schema {schema_id}"):
                row = self._db.execute("select text from avro_schema where id = ?", (schema_id,)).fetchone()
            if row is None:
                raise KeyError(schema_id)
            known = self._schemas[schema_id] = json.loads(row[0])
        return known

    def subjects(self) -> list[str]:
        with self._reported("read the subjects"):
            return [row[0] for row in self._db.execute("select distinct subject from subject_version order by 1")]

    def versions(self, subject: str) -> list[RegisteredVersion]:
        with self._reported(f"read the versions of {subject}"):
            rows = self._db.execute(
                "select schema_id, version from subject_version where subject = ? order by version", (subject,)
            )
            return [RegisteredVersion(*row) for row in rows]

    def close(self) -> None:
        self._db.close()

    def _registered(self, subject: str, schema: Avro) -> RegisteredVersion:
        fingerprint = hashlib.sha256(_canonical(schema)).digest()
        self._db.execute(
            "insert or ignore into avro_schema (fingerprint, text) values (?,?)", (fingerprint, json.dumps(schema))
        )
        (schema_id,) = self._db.execute("select id from avro_schema where fingerprint = ?", (fingerprint,)).fetchone()
        self._db.execute(
            "insert or ignore into subject_version select ?1,"
            " (select coalesce(max(version), 0) + 1 from subject_version where subject = ?1), ?2, ?3",
            (subject, schema_id, int(time.time() * 1000)),
        )
        (version,) = self._db.execute(
            "select version from subject_version where subject = ? and schema_id = ?", (subject, schema_id)
        ).fetchone()
        return RegisteredVersion(schema_id, version)

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise RegistryFailed(
                f"the local registry {self.path} could not {doing}: {error}",
                "nothing was changed; check that the disk has room and that the state folder can be written",
            ) from error


def _canonical(schema: Avro) -> bytes:
    """One text for all ways to order an object's attributes; the order of fields and branches stays."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
