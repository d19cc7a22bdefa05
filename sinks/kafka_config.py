"""The `sink` part of a connector file with `"type": "kafka"`, and librdkafka's configuration made from it.

Names of librdkafka's settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import Field, field_validator, model_validator

from offsets.kafka_client import KafkaClient, Part, Settings, text
from sinks.claims import ClaimCheck

LARGEST_BYTES = 64 << 20
"""Below the 100 MiB that a broker reads of one request (socket.request.max.bytes); beyond it hangs up."""
QUEUE_BYTES = 128 << 20
BATCH_BYTES = 1_000_000
"""librdkafka's own batch.size."""

_OWN_KEYS = {
    **KafkaClient.own_keys,
    "compression.type": "compression",
    "compression.codec": "compression",
    "allow.auto.create.topics": "topics.create",
    "transaction.timeout.ms": "transaction_timeout_s",
}
_FIXED = {
    **KafkaClient.fixed,
    "enable.gapless.guarantee": "events could overtake one that was refused",
    "message.timeout.ms": "events could overtake one that waited too long; use sink.delivery_timeout_s",
    "delivery.timeout.ms": "events could overtake one that waited too long; use sink.delivery_timeout_s",
    "retries": "events could overtake one that was given up",
    "message.send.max.retries": "events could overtake one that was given up",
    "queuing.strategy": "events could overtake each other",
    "delivery.report.only.error": "errors could be lost",
    "transactional.id": "it is made from the connector's name, where sink.exactly_once is true",
}
_BYTES = ("batch.size", "message.max.bytes")


class KafkaTopics(Part):
    create: bool = Field(default=False, description="Make a topic that is not there.")
    partitions: int | None = Field(
        default=None, ge=1, description="Partitions of a topic that is made. Default: the broker's."
    )
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
        config = {name: text(value) for name, value in self.settings.items()}
        return {"cleanup.policy": self.cleanup, **config} if self.cleanup else config


class KafkaConfig(KafkaClient):
    """Topics of a Kafka cluster, a partition's events in the order of commits."""

    part: ClassVar[str] = "sink"
    own_keys: ClassVar[Mapping[str, str]] = _OWN_KEYS
    fixed: ClassVar[Mapping[str, str]] = _FIXED

    type: Literal["kafka"] = "kafka"
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
    exactly_once: bool = Field(
        default=False,
        description="Commit events and their offset in one Kafka transaction, so that a reader of committed events sees"
        " each once. The offsets are to be in Kafka, on the same cluster.",
    )
    transaction_timeout_s: float = Field(
        default=900,
        ge=1,
        description="With exactly_once: how long one database transaction may take to be delivered, in seconds.",
    )
    headers: Mapping[str, str] = Field(default={}, description="Headers of every event, by name.")
    context_headers: bool = Field(default=True, description="Debezium's __debezium.context.* on every event.")
    topics: KafkaTopics = Field(default=KafkaTopics(), description="Topics that are not there yet.")

    @field_validator("settings")
    @classmethod
    def _counts_bytes(cls, settings: Settings) -> Settings:
        for name in _BYTES:
            if name in settings and not text(settings[name]).isdecimal():
                raise ValueError(f"{name} is {settings[name]}; accepted: a number of bytes")
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
        }

    def transactional(self) -> dict[str, Any]:
        """What a producer is made of whose events are seen with their offset or not at all; also secret.

        A gap ends its transaction in any case, and so does an event that waits for as long as that may last.
        """
        needless = ("enable.gapless.guarantee", "message.timeout.ms")
        settings = {name: value for name, value in self.producer().items() if name not in needless}
        return {**settings, "transaction.timeout.ms": int(self.transaction_timeout_s * 1000)}
