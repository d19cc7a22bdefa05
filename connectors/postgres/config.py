"""The `source` part of a connector file with `"type": "postgres"`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from offsets import libpq
from offsets.hosts import Host, is_local

NAME_BYTES = 63
"""The longest identifier that Postgres keeps whole."""

TlsMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
Table = Annotated[str, Field(pattern=r"^!?[^.]+\..+$")]


class Tls(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: TlsMode | None = Field(
        default=None,
        description="As libpq's sslmode. Default: verify-full, but prefer for a host that is local.",
    )
    ca: Path | None = Field(
        default=None,
        description="File with the certificates that may sign the server's. Default: the system's.",
    )
    cert: Path | None = Field(default=None, description="File with our certificate, where the server asks for one.")
    key: Path | None = Field(default=None, description="File with the private key of `cert`.")


class PostgresConfig(BaseModel):
    """One database of a Postgres server, version 14 or newer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["postgres"]
    host: Host = Field(description="Host name, address, or folder of the Unix socket.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port.")
    database: str = Field(min_length=1, description="Database to read.")
    user: str = Field(min_length=1, description="Role with LOGIN and REPLICATION.")
    password: SecretStr | None = Field(
        default=None, description="Its password, as ${env:NAME} or ${file:PATH}. Default: none is sent."
    )
    tls: Tls = Field(default=Tls(), description="How the connection is protected.")
    tables: tuple[Table, ...] | None = Field(
        default=None,
        min_length=1,
        description="Globs over schema.table; a leading ! excludes. Default: every user table.",
    )
    snapshot: Literal["initial", "never", "only"] = Field(
        default="initial",
        description="Copy the rows that exist at the first start; never: changes only; only: the copy, then stop.",
    )
    snapshot_parallel: int = Field(default=1, ge=1, le=16, description="Tables that are copied side by side.")
    slot: str = Field(
        default="",
        pattern=rf"^[a-z0-9_]{{0,{NAME_BYTES}}}$",
        validate_default=True,
        description="Replication slot, made where absent: a-z, 0-9, underscore. Default: tailrace_NAME.",
    )
    publication: str = Field(
        default="",
        max_length=NAME_BYTES,
        validate_default=True,
        description="Publication, made where absent. Default: tailrace_NAME.",
    )
    rewind_bytes: int = Field(
        default=16 << 20,
        ge=0,
        description="Log that the slot keeps behind our offset, in bytes, so that `offsets seek` can go back.",
    )

    @field_validator("slot", "publication")
    @classmethod
    def _named_after_the_connector(cls, value: str, info: ValidationInfo) -> str:
        return value or default_name((info.context or {}).get("connector", ""))

    @property
    def sslmode(self) -> TlsMode:
        return self.tls.mode or ("prefer" if is_local(self.host) else "verify-full")

    def conninfo(self) -> dict[str, Any]:
        """psycopg's keywords, password included; for a connection only, never for a log."""
        parameters: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            **libpq.protection(self.sslmode, self.tls.ca, self.tls.cert, self.tls.key),
        }
        if self.password is not None:
            parameters["password"] = self.password.get_secret_value()
        return parameters


def default_name(connector: str) -> str:
    """`tailrace_NAME` with the characters that a slot may have: lower-case letters, digits, underscore."""
    name = re.sub(r"[^a-z0-9]+", "_", connector.lower()).strip("_")
    return f"tailrace_{name}"[:NAME_BYTES] if name else "tailrace"
