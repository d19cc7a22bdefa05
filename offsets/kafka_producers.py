"""What librdkafka's binding for Python asks of whoever holds a producer."""

import time
from contextlib import suppress

from confluent_kafka import KafkaException, Producer

REPORTS_S = 0.1
"""How long a call may take reports. One of 0.2 s and more is made of several, and goes on with the next when a fatal
error is raised in one: further reports would be told while that is pending, which no Python code is made for."""
END_S = 5.0


def end(producer: Producer, *, nothing_open: bool = True) -> None:
    """Send nothing more, and disconnect; returns within `END_S`, whatever brokers do. Raises nothing.

    `Producer.close` waits without limit for its transaction to be aborted, then for every event to be delivered. So it
    is called where there is neither; else the producer ends with the last reference to it, which waits for nothing.
    """
    deadline = time.monotonic() + END_S
    left = len(producer)
    while left and time.monotonic() < deadline:
        with suppress(KafkaException):  # what was purged is an error, too
            producer.purge()
            left = producer.flush(REPORTS_S)
    if nothing_open and not left:
        with suppress(KafkaException):
            producer.close()
