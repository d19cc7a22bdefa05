"""The `sink` part of a connector file with `"type": "kafka"`, and librdkafka's configuration made from it.

Names of librdkafka's settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import logging
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from sinks.claims import ClaimCheck

Settings = Mapping[str, str | int | float | bool]
TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

MOST_IN_FLIGHT = 5
"""Requests per connection whose order an idempotent producer can restore (KIP-98)."""
LARGEST_BYTES = 64 << 20
"""Below the 100 MiB that a broker reads of one request (socket.request.max.bytes); beyond it hangs up."""
QUEUE_BYTES = 128 << 20
BATCH_BYTES = 1_000_000
"""librdkafka's own batch.size."""

_OWN_KEYS = {
    "bootstrap.servers": "bootstrap_servers",
    "metadata.broker.list": "bootstrap_servers",
    "compression.type": "compression",
    "compression.codec": "compression",
    "allow.auto.create.topics": "topics.create",
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
    "enable.gapless.guarantee": "events could overtake one that was refused",
    "message.timeout.ms": "events could overtake one that waited too long; use sink.delivery_timeout_s",
    "delivery.timeout.ms": "events could overtake one that waited too long; use sink.delivery_timeout_s",
    "retries": "events could overtake one that was given up",
    "message.send.max.retries": "events could overtake one that was given up",
    "queuing.strategy": "events could overtake each other",
    "delivery.report.only.error": "errors could be lost",
    "transactional.id": "events here are not written in transactions",
    "test.mock.num.brokers": "events would go to no broker at all",
}
_IN_FLIGHT = ("max.in.flight", "max.in.flight.requests.per.connection")
_BYTES = ("batch.size", "message.max.bytes")


_log = logging.getLogger("tailrace.librdkafka")
_log.addFilter(lambda record: record.levelno < logging.CRITICAL)  # fatal errors are raised, and told by that


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaTopics(Part):
    create: bool = Field(default=False, description="Make a topic that is not there.")
    partitions: int | None = Field(default=None, ge=1, description="Of a topic that is made. Default: the broker's.")
    replication: int | None = Field(default=None, ge=1, description="Copies of each. Default: the broker's.")
    cleanup: Literal["compact", "delete"] | None = Field(
        default=None,
        description="compact keeps each key's last event; delete drops by age. Default: the broker's.",
    )
    settings: Settings = Field(default={}, description='Other settings of a topic that is made: {"retention.ms": -1}.')

    @model_validator(mode="after")
    def _belong_to_create(self) -> Self:
        given = sorted(self.model_fields_set - {"create"})
        if given and not self.create:
            raise ValueError(f'{", ".join(given)}: only of topics that are made; accepted with "create": true')
        return self

    def config(self) -> dict[str, str]:
        """A new topic's settings, as a broker takes them."""
        config = {name: _text(value) for name, value in self.settings.items()}
        return {"cleanup.policy": self.cleanup, **config} if self.cleanup else config


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


class KafkaConfig(Part):
    """Topics of a Kafka cluster, a partition's events in the order of commits."""

    type: Literal["kafka"] = "kafka"
    bootstrap_servers: str = Field(
        pattern=r"^[^\s,]+:\d+(, *[^\s,]+:\d+)*$",
        description="Brokers to ask for the others: host:port, with commas between.",
    )
    compression: Literal["zstd", "lz4", "snappy", "gzip", "none"] = Field(
        default="zstd", description="Compression of batches."
    )
    oversize: Literal["reject", "fail"] = Field(
        default="reject",
        description="An event larger than its topic takes: reject, as errors.rejected says, or fail in any case.",
    )
    claim_check: ClaimCheck = Field(default=ClaimCheck(), description="Values too large for their topic, as files.")
    delivery_timeout_s: float = Field(
        default=120, gt=0, description="How long brokers may acknowledge nothing before we connect anew, in seconds."
    )
    headers: Mapping[str, str] = Field(default={}, description="Headers of every event, by name.")
    context_headers: bool = Field(default=True, description="Debezium's __debezium.context.* on every event.")
    topics: KafkaTopics = Field(default=KafkaTopics(), description="Topics that are not there yet.")
    tls: KafkaTls = Field(default=KafkaTls(), description="How connections are protected.")
    sasl: KafkaSasl = Field(default=KafkaSasl(), description="How we prove who we are.")
    settings: Settings = Field(
        default={}, description="Any other setting of librdkafka, but for those that would break the promise."
    )

    @field_validator("settings")
    @classmethod
    def _keep_the_promise(cls, settings: Settings) -> Settings:
        for name, value in settings.items():
            if name in _OWN_KEYS:
                raise ValueError(f"{name} is not set here; accepted: sink.{_OWN_KEYS[name]}")
            if name in _FIXED:
                raise ValueError(f"{name} cannot be set: {_FIXED[name]}; accepted: any setting that loses nothing")
            if name in _IN_FLIGHT and not (_text(value).isdecimal() and 1 <= int(value) <= MOST_IN_FLIGHT):
                raise ValueError(f"{name} is {value}: a retry could change the order; accepted: 1 to {MOST_IN_FLIGHT}")
            if name in _BYTES and not _text(value).isdecimal():
                raise ValueError(f"{name} is {value}; accepted: a number of bytes")
        return settings

    def in_context(self, logical_name: str, connector: str) -> Self:
        """With the headers that Debezium puts on every event (`extended.headers.enabled`); ours go last.

        `connector` is Debezium's own name of it, ``postgresql``.
        """
        if not self.context_headers:
            return self
        names = ("connectorLogicalName", "taskId", "connectorName", "runId")
        values = (logical_name, "0", connector, str(uuid4()))
        context = {f"__debezium.context.{name}": value for name, value in zip(names, values, strict=True)}
        return self.model_copy(update={"headers": {**context, **self.headers}})

    @property
    def batch_bytes(self) -> int:
        """No batch holds more, but for one event that is larger."""
        return int(self.settings.get("batch.size", BATCH_BYTES))

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
            "logger": _log,
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

    def producer(self) -> dict[str, Any]:
        """What a producer that keeps the promise is made of; also secret."""
        largest_bytes = int(self.settings.get("message.max.bytes", LARGEST_BYTES))
        return {
            "partitioner": "murmur2_random",  # Java's default: murmur2 of the key, any partition without one
            "message.max.bytes": largest_bytes,
            "queue.buffering.max.kbytes": max(QUEUE_BYTES, 2 * largest_bytes) >> 10,
            **self.client(),
            "compression.type": self.compression,
            "acks": "all",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "message.timeout.ms": 0,
            "allow.auto.create.topics": False,
            "delivery.report.only.error": True,
        }

    def _is_local(self) -> bool:
        return all(_is_local(server.strip().rpartition(":")[0]) for server in self.bootstrap_servers.split(","))


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _revealed(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    """As a broker writes it: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
