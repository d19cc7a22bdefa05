"""Who runs a connector, as a Kafka cluster sees it: the member of a consumer group of the connector's name.

A member that dies leaves its group after `SESSION_MS` (KIP-62). That is for politeness: what keeps a second runner from
writing is the transactional id.
"""

import os
import socket
import time
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException

from offsets.kafka_config import KafkaStoreConfig
from offsets.runner import Renewal, ourselves

SESSION_MS = 10_000
JOIN_S = 5.0
POLL_S = 0.02


def group(topic: str, connector: str) -> str:
    return f"{topic}-{connector}"


class Seat:
    """While it is open others see that this process runs `connector`. Raises KafkaException."""

    def __init__(self, config: KafkaStoreConfig, connector: str) -> None:
        self._consumer = Consumer(
            {
                **config.client(),
                "client.id": ourselves(),
                "group.id": group(config.topic, connector),
                "session.timeout.ms": SESSION_MS,
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "queued.min.messages": 1,  # what it is sent is not read
                "queued.max.messages.kbytes": 1,
            }
        )
        self._consumer.subscribe([config.topic])
        deadline = time.monotonic() + JOIN_S
        while not self._consumer.memberid() and time.monotonic() < deadline:
            self._consumer.poll(POLL_S)
        self._renewal = Renewal(self._renew)

    def close(self) -> None:
        self._renewal.close()
        with suppress(KafkaException, RuntimeError):
            self._consumer.close()

    def _renew(self) -> None:
        """Who never asks for anything is put out of its group (max.poll.interval.ms)."""
        with suppress(KafkaException, RuntimeError):
            self._consumer.poll(0)


def is_dead(member: str) -> bool:
    """Whether it was a process of this host that is no more, though its group does not know yet."""
    pid, _, host = member.removeprefix("pid ").partition(" on host ")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
