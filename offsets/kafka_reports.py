"""What a producer of librdkafka tells by callback."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, Message


class Reports:
    """`first` is the first event that was given up, with the reason; `trouble` is what connections last ended of."""

    def __init__(self) -> None:
        self.first: tuple[KafkaError, Message] | None = None
        self.trouble: KafkaError | None = None

    def callbacks(self) -> Mapping[str, Any]:
        """For the producer's settings; ``delivery.report.only.error`` is among them."""
        return {"on_delivery": self._keep_first, "error_cb": self._remember_trouble, "delivery.report.only.error": True}

    def _keep_first(self, error: KafkaError, message: Message) -> None:
        if self.first is None:
            self.first = error, message

    def _remember_trouble(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.trouble = error
