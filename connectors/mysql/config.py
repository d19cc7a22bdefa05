"""The `source` part of a connector file with `"type": "mysql"` or `"type": "mariadb"`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from offsets.hosts import Host, is_local

TlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
Table = Annotated[str, Field(pattern=r"^!?[^.]+\..+$")]


class MysqlTls(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: TlsMode | None = Field(
        default=None, description="How far to trust. Default: verify-full, but prefer for a host that is local."
    )
    ca: Path | None = Field(
        default=None, description="File with the certificates that may sign the server's. Default: the system's."
    )
    cert: Path | None = Field(default=None, description="File with our certificate, where the server asks for one.")
    key: Path | None = Field(default=None, description="File with the private key of `cert`.")


class MysqlConfig(BaseModel):
    """One MySQL server, version 8.0 or newer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["mysql"]
    host: Host = Field(description="Host name, address, or path of the Unix socket.")
    port: int = Field(default=3306, ge=1, le=65535, description="TCP port.")
    user: str = Field(min_length=1, description="User with REPLICATION SLAVE, REPLICATION CLIENT and SELECT.")
    password: SecretStr | None = Field(
        default=None, description="Its password, as ${env:NAME} or ${file:PATH}. Default: none is sent."
    )
    tls: MysqlTls = Field(default=MysqlTls(), description="How the connection is protected.")
    databases: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Globs over database; a leading ! excludes. Default: every user database.",
    )
    tables: tuple[Table, ...] | None = Field(
        default=None,
        min_length=1,
        description="Globs over database.table; a leading ! excludes. Default: every table of `databases`.",
    )
    snapshot: Literal["initial", "never", "only"] = Field(
        default="initial",
        description="Copy the rows that exist at the first start; never: changes only; only: the copy, then stop.",
    )
    snapshot_parallel: int = Field(default=1, ge=1, le=16, description="Tables that are copied side by side.")
    server_id: int | None = Field(
        default=None,
        ge=1,
        lt=1 << 32,
        description="Our id among the server's replicas, which no other may have. Default: made from name and host.",
    )
    statements: Literal["fail", "skip"] = Field(
        default="fail",
        description="A captured table's change logged as a statement has no rows: stop with exit 3, or skip it.",
    )
    query: bool = Field(
        default=False, description="Show the statement in `source.query`, where binlog_rows_query_log_events is on."
    )
    ddl: bool = Field(default=False, description="Deliver DDL statements on the topic `topic_prefix`.")

    @property
    def tls_mode(self) -> TlsMode:
        return self.tls.mode or ("prefer" if is_local(self.host) else "verify-full")


class MariadbConfig(MysqlConfig):
    """One MariaDB server, version 10.6 or newer."""

    type: Literal["mariadb"]  # type: ignore[assignment]
