"""The `offsets` part of a connector file with `"type": "redis"`."""

from typing import Any, Literal

import redis
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from offsets.hosts import Host, is_local
from offsets.tls import StoreTls

RedisTlsMode = Literal["disable", "require", "verify-ca", "verify-full"]
_TIMEOUT_S = 30


class RedisTls(StoreTls):
    mode: RedisTlsMode | None = Field(
        default=None, description="How far to trust. Default: verify-full, but disable for a host that is local."
    )


class RedisStoreConfig(BaseModel):
    """Offsets in a Redis server, version 6.2 or newer, or in Valkey."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["redis"]
    host: Host = Field(description="Host name, address, or path of the Unix socket.")
    port: int = Field(default=6379, ge=1, le=65535, description="TCP port.")
    database: int = Field(default=0, ge=0, description="Number of the database.")
    user: str | None = Field(default=None, min_length=1, description="User of its ACL. Default: the default user.")
    password: SecretStr | None = Field(
        default=None, description="Its password, as ${env:NAME} or ${file:PATH}. Default: none is sent."
    )
    tls: RedisTls = Field(default=RedisTls(), description="How the connection is protected.")
    prefix: str = Field(
        default="tailrace:", pattern=r"^[A-Za-z0-9_.:/-]{1,100}$", description="First part of the keys' names."
    )

    @property
    def tls_mode(self) -> RedisTlsMode:
        return self.tls.mode or ("disable" if is_local(self.host) else "verify-full")

    @property
    def place(self) -> str:
        return f"redis {self.host}:{self.port}/{self.database}"

    def client(self) -> "redis.Redis":
        """Not connected yet. Raises OffsetStoreMisconfigured."""
        is_socket = self.host.startswith("/")
        common: dict[str, Any] = {
            "db": self.database,
            "username": self.user,
            "password": self.password.get_secret_value() if self.password else None,
            "client_name": "tailrace-offsets",
            "decode_responses": True,
            "socket_timeout": _TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),  # whoever opened us retries
        }
        if is_socket:
            return redis.Redis(unix_socket_path=self.host, **common)
        if self.tls_mode != "disable":
            self.tls.context(self.tls_mode)  # says which file is unfit
            common |= {
                "ssl": True,
                "ssl_cert_reqs": "none" if self.tls_mode == "require" else "required",
                "ssl_check_hostname": self.tls_mode == "verify-full",
                "ssl_ca_certs": str(self.tls.ca) if self.tls.ca else None,
                "ssl_certfile": str(self.tls.cert) if self.tls.cert else None,
                "ssl_keyfile": str(self.tls.key) if self.tls.key else None,
            }
        return redis.Redis(
            host=self.host, port=self.port, socket_connect_timeout=_TIMEOUT_S, socket_keepalive=True, **common
        )
