"""The `offsets` part of a connector file with `"type": "kafka"`."""

from typing import Any, ClassVar

from pydantic import Field

from offsets.kafka_client import KafkaClient

_FIXED = {
    **KafkaClient.fixed,
    "transactional.id": "it is made from the connector's name",
    "isolation.level": "an offset would be read that was never committed",
}
TIMEOUT_MS = 60_000
"""Of a transaction that holds an offset alone, which is open for a moment."""
LARGEST_BYTES = 64 << 20


class KafkaStoreConfig(KafkaClient):
    """Offsets in a compacted topic of a Kafka cluster."""

    part: ClassVar[str] = "offsets"
    fixed: ClassVar[dict[str, str]] = _FIXED

    topic: str = Field(
        default="tailrace-offsets",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Topic that they lie in; connectors may share it. It is made where it is absent.",
    )
    replication: int | None = Field(
        default=None, ge=1, description="Copies of the topic, where it is made. Default: the broker's."
    )

    @property
    def place(self) -> str:
        return f"kafka {self.bootstrap_servers}/{self.topic}"

    def producer(self) -> dict[str, Any]:
        """What a producer of offsets alone is made of; secret."""
        return {
            "compression.type": "zstd",
            "message.max.bytes": LARGEST_BYTES,
            **self.client(),
            "acks": "all",
            "enable.idempotence": True,
            "allow.auto.create.topics": False,
            "transaction.timeout.ms": TIMEOUT_MS,
        }
