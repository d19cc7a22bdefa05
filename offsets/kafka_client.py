"""How a Kafka cluster is reached, the same for every part of a connector file that speaks to one.

Names of librdkafka's settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from offsets.hosts import is_local


def _one_value(value: object) -> object:
    if isinstance(value, str | int | float):
        return value
    raise ValueError("it is not one value; accepted: a text, a number, true or false")


Settings = Mapping[str, Annotated[str | int | float | bool, BeforeValidator(_one_value)]]
TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

MOST_IN_FLIGHT = 5
"""Requests per connection whose order an idempotent producer can restore (KIP-98)."""

_OWN_KEYS = {
    "bootstrap.servers": "bootstrap_servers",
    "metadata.broker.list": "bootstrap_servers",
    "security.protocol": "tls.mode and sasl.mechanism",
    "ssl.endpoint.identification.algorithm": "tls.mode",
    "enable.ssl.certificate.verification": "tls.mode",
    "ssl.ca.location": "tls.ca",
    "ssl.certificate.location": "tls.cert",
    "ssl.key.location": "tls.key",
    "ssl.key.pem": "tls.key",
    "ssl.key.password": "tls.key_password",
    "ssl.keystore.password": "tls.key_password",
    "sasl.mechanism": "sasl.mechanism",
    "sasl.mechanisms": "sasl.mechanism",
    "sasl.username": "sasl.user",
    "sasl.password": "sasl.password",
    "sasl.oauthbearer.token.endpoint.url": "sasl.token_url",
    "sasl.oauthbearer.client.id": "sasl.client_id",
    "sasl.oauthbearer.client.secret": "sasl.client_secret",
    "sasl.oauthbearer.scope": "sasl.scope",
}
_FIXED = {
    "acks": "an event would count as delivered before every replica in sync has it",
    "request.required.acks": "an event would count as delivered before every replica in sync has it",
    "enable.idempotence": "a retry could deliver an event twice or out of order",
    "test.mock.num.brokers": "nothing would go to a broker at all",
}
_IN_FLIGHT = ("max.in.flight", "max.in.flight.requests.per.connection")

log = logging.getLogger("tailrace.librdkafka")
log.addFilter(lambda record: record.levelno < logging.CRITICAL)  # fatal errors are raised, and told by that


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaTls(Part):
    mode: TlsMode | None = Field(
        default=None,
        description="verify-full: encrypted, with a certificate for the broker's name. Default: verify-full, but"
        " disable where every broker is local.",
    )
    ca: Path | None = Field(
        default=None,
        description="File with the certificates that may sign the brokers'. Default: the system's.",
    )
    cert: Path | None = Field(default=None, description="File with our certificate, where brokers ask for one.")
    key: Path | None = Field(default=None, description="File with the private key of `cert`.")
    key_password: SecretStr | None = Field(
        default=None, description="Password of `key`, as ${env:NAME} or ${file:PATH}, where it has one."
    )

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'key' if self.cert else 'cert'}: missing; accepted: both or neither of cert and key")
        return self


class KafkaSasl(Part):
    mechanism: Mechanism | None = Field(default=None, description="How we prove who we are. Default: not by SASL.")
    user: str = Field(default="", description="User name for PLAIN and SCRAM.")
    password: SecretStr | None = Field(default=None, description="Its password, as ${env:NAME} or ${file:PATH}.")
    token_url: str = Field(default="", description="Token endpoint for OAUTHBEARER (OIDC client credentials).")
    client_id: str = Field(default="", description="Client id at the token endpoint.")
    client_secret: SecretStr | None = Field(default=None, description="Its secret, as ${env:NAME} or ${file:PATH}.")
    scope: str = Field(default="", description="Scope to ask the token endpoint for.")

    @model_validator(mode="after")
    def _has_what_its_mechanism_needs(self) -> Self:
        needed: dict[str, object] = {}
        if self.mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            needed = {"user": self.user, "password": self.password}
        elif self.mechanism and self.token_url:
            needed = {"client_id": self.client_id, "client_secret": self.client_secret}
        elif not self.mechanism and self.model_fields_set:
            needed = {"mechanism": None}
        if missing := [key for key, value in needed.items() if not value]:
            raise ValueError(f"{', '.join(missing)}: missing; accepted: what the mechanism needs, see docs/sinks.md")
        return self


class KafkaClient(Part):
    """What a part of a connector file says of a cluster. `part` is that part's name."""

    part: ClassVar[str]
    own_keys: ClassVar[Mapping[str, str]] = _OWN_KEYS
    """librdkafka's settings that are keys of ours."""
    fixed: ClassVar[Mapping[str, str]] = _FIXED
    """Those that nobody may set, and why."""

    type: Literal["kafka"]
    bootstrap_servers: str = Field(
        pattern=r"^[^\s,/]+:\d+(, *[^\s,/]+:\d+)*$",
        description="Brokers to ask for the others: host:port, with commas between.",
    )
    tls: KafkaTls = Field(default=KafkaTls(), description="How connections are protected.")
    sasl: KafkaSasl = Field(default=KafkaSasl(), description="How we prove who we are.")
    settings: Settings = Field(
        default={}, description="Any other setting of librdkafka, but for those that would break the promise."
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _have_ports(cls, servers: str) -> str:
        for server in servers.split(","):
            port = int(server.rpartition(":")[2])
            if not 1 <= port <= 65535:
                raise ValueError(f"{port} is no port; accepted: 1 to 65535")
        return servers

    @field_validator("settings")
    @classmethod
    def _keep_the_promise(cls, settings: Settings) -> Settings:
        for name, value in settings.items():
            if name in cls.own_keys:
                raise ValueError(f"{name} is not set here; accepted: {cls.part}.{cls.own_keys[name]}")
            if name in cls.fixed:
                raise ValueError(f"{name} cannot be set: {cls.fixed[name]}; accepted: any setting that loses nothing")
            if name in _IN_FLIGHT and not (text(value).isdecimal() and 1 <= int(value) <= MOST_IN_FLIGHT):
                raise ValueError(f"{name} is {value}: a retry could change the order; accepted: 1 to {MOST_IN_FLIGHT}")
        return settings

    @model_validator(mode="after")
    def _can_get_a_token(self) -> Self:
        has_way = self.sasl.token_url or any("oauthbearer" in name for name in self.settings)
        if self.sasl.mechanism == "OAUTHBEARER" and not has_way:
            raise ValueError("sasl.token_url: missing; accepted: where OAUTHBEARER asks for a token")
        return self

    @property
    def servers(self) -> frozenset[str]:
        return frozenset(server.strip() for server in self.bootstrap_servers.split(","))

    @property
    def tls_mode(self) -> TlsMode:
        return self.tls.mode or ("disable" if self._is_local() else "verify-full")

    def client(self) -> dict[str, Any]:
        """What reaches the cluster, secrets included: for a connection only, never for a log."""
        mode = self.tls_mode
        protocol = "PLAINTEXT" if mode == "disable" else "SSL"
        known = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": "tailrace",
            "logger": log,
            "log_level": 2,  # the rest is told by errors, too
            "security.protocol": f"SASL_{protocol}" if self.sasl.mechanism else protocol,
            "enable.ssl.certificate.verification": mode != "require",
            "ssl.endpoint.identification.algorithm": "https" if mode == "verify-full" else "none",
            "ssl.ca.location": self.tls.ca,
            "ssl.certificate.location": self.tls.cert,
            "ssl.key.location": self.tls.key,
            "ssl.key.password": self.tls.key_password,
            "sasl.mechanism": self.sasl.mechanism,
            "sasl.username": self.sasl.user,
            "sasl.password": self.sasl.password,
            "sasl.oauthbearer.method": "oidc" if self.sasl.token_url else None,
            "sasl.oauthbearer.token.endpoint.url": self.sasl.token_url,
            "sasl.oauthbearer.client.id": self.sasl.client_id,
            "sasl.oauthbearer.client.secret": self.sasl.client_secret,
            "sasl.oauthbearer.scope": self.sasl.scope,
        }
        given = {name: _revealed(value) for name, value in known.items() if value not in (None, "")}
        return {**given, **self.settings}

    def _is_local(self) -> bool:
        return all(is_local(server.rpartition(":")[0].strip("[]")) for server in self.servers)


def _revealed(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def text(value: object) -> str:
    """As a broker writes it: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
