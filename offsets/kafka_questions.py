"""Questions to a Kafka cluster, with the reason where no answer comes."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

ANSWER_TIMEOUT_S = 10.0
"""A broker that starts, or a cluster that elects a controller, has answered by then."""
POLL_S = 0.05
HANGS_UP = "the listener hangs up at once, as one does that wants TLS, or a user, or neither"

Answer = TypeVar("Answer")


class Questions:
    """A connection for questions; every method but `close` raises KafkaException.

    It is to be closed. Answers come in a thread of librdkafka's, which may collect garbage; where that is the very
    connection, the process is aborted.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` are librdkafka's."""
        self._trouble: KafkaError | None = None
        self._all_down = False
        self._has_asked = False
        asked: dict[str, Any] = {**settings, "error_cb": self._remember}
        self._open = ExitStack()
        self._admin = self._open.enter_context(AdminClient(asked))

    @property
    def admin(self) -> AdminClient:
        """For one question, whose answer `wait` takes."""
        if self._has_asked:  # what it says of connections that ended since then is no answer
            self._admin.poll(0)
            self._trouble, self._all_down = None, False
        self._has_asked = True
        return self._admin

    def wait(self, answer: "Future[Answer]", timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
        """What `admin` was asked: at once where every broker has hung up, with the reason they gave."""
        deadline = time.monotonic() + timeout_s
        while not answer.done() and not self._all_down and time.monotonic() < deadline:
            self._admin.poll(POLL_S)
        if not answer.done() or answer.exception():
            self._admin.poll(0)
            if self._trouble is not None:
                raise KafkaException(self._trouble)
        try:
            return answer.result(0)
        except TimeoutError:
            said = HANGS_UP if self._all_down else f"nothing was said for {timeout_s:g} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, said)) from None

    def close(self) -> None:
        """Wait for no answer."""
        self._open.close()

    def _remember(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._all_down = True
        else:
            self._trouble = error
