"""What a producer of librdkafka tells by callback."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message


class Reports:
    """`first` is the first event that was given up, with the reason; `trouble` is what connections last ended of."""

    def __init__(self) -> None:
        self.first: tuple[KafkaError, Message] | None = None
        self.trouble: KafkaError | None = None

    def callbacks(self) -> Mapping[str, Any]:
        """For the producer's settings; ``delivery.report.only.error`` is among them."""
        return {"on_delivery": self._keep_first, "error_cb": self._remember_trouble, "delivery.report.only.error": True}

    def _keep_first(self, error: KafkaError, message: Message) -> None:
        # No call in here: a fatal error may be set already, see `cause_of`.
        if self.first is None:
            self.first = error, message

    def _remember_trouble(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.trouble = error


def cause_of(raised: KafkaException | SystemError) -> KafkaError:
    """A fatal error is raised by librdkafka's binding, in midst of the reports that explain it; a report that is
    called while it is raised makes it a SystemError."""
    cause = raised if isinstance(raised, KafkaException) else raised.__cause__
    return cause.args[0] if isinstance(cause, KafkaException) else KafkaError(KafkaError._FATAL)
