"""What a producer reports of its events, as whoever sent them is told."""

from contextlib import closing

import pytest
from confluent_kafka import KafkaError, Message

from sinks.kafka_config import KafkaConfig
from sinks.kafka_outbox import NotDelivered, Outbox
from tests.rigs import free_port


def test_of_two_events_that_were_given_up_the_first_one_is_told() -> None:
    nobody = KafkaConfig.model_validate({"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    cause, consequence = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), KafkaError(KafkaError._FATAL)
    with closing(Outbox(nobody, lambda: None)) as outbox:
        report = outbox._reports.callbacks()["on_delivery"]
        report(cause, Message(topic="orders"))
        report(consequence, Message(topic="items"))
        for _ in range(2):
            with pytest.raises(NotDelivered) as told:
                outbox.serve()
            assert (told.value.error, told.value.topic) == (cause, "orders")
