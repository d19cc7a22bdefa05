"""Topics of a Kafka cluster: idempotent, acknowledged by every replica in sync, Java's partition for each key."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import ClassVar
from zlib import crc32

from confluent_kafka import KafkaError, KafkaException

from offsets.kafka_transactions import Transactions
from schema.event import Batch, Event, StoredLetter
from schema.header_text import HeaderText
from schema.preflight import Finding, Topic
from sinks import kafka_check, kafka_letters
from sinks.base import Schemas
from sinks.claims import HEADER, Claims
from sinks.errors import Rejected, SinkError
from sinks.kafka_cluster import Cluster
from sinks.kafka_config import KafkaConfig
from sinks.kafka_errors import REFUSED, TOO_LARGE, rejected
from sinks.kafka_outbox import Headers, NotDelivered, Outbox

ALONE_AFTER_REFUSAL = 1000
"""So many events of a topic go one by one behind one that was refused: others like it are rarely far."""


class KafkaSink:
    """Hands events to librdkafka, which sends them in batches; a flush waits for every acknowledgement.

    Nothing is given up inside: librdkafka tries again, in order and without doubles (KIP-98), for as long as the sink
    lives. An event that cannot be delivered ends the producer (enable.gapless.guarantee), so that none behind it in
    its partition overtakes it; the first error is kept and raised by the call that learns of it.

    A broker refuses a whole batch for one event, and says so when those behind it are long accepted: too late to be
    Rejected. So what may be refused goes alone, with a flush before and behind it: an event larger than a batch, for
    only the broker knows whether it fits its topic once it is compressed; and the events of a topic that refused a
    batch, which is a retryable error first: it is the sink opened next that meets them again and finds the one.

    A request in flight when a sink is closed may still arrive, behind what the next sink sends, where a broker hung
    for longer than `delivery_timeout_s` and comes back: a stretch of events that is then seen again.
    """

    Config: ClassVar[type[KafkaConfig]] = KafkaConfig
    opaque: ClassVar[bool] = True

    _refusing: ClassVar[set[tuple[str, str]]] = set()
    """(bootstrap_servers, topic) that refused a batch; known to the sinks that follow in this process."""
    _alone_for: ClassVar[dict[tuple[str, str], int]] = {}
    """Of these, how many events go alone, as long as the one that is meant was not among them."""

    _refused: ClassVar[dict[tuple[object, ...], KafkaError]] = {}
    """Events that ended a transaction, by each of their marks: rejected before they end another, until one that lacks
    them is committed."""

    def __init__(self, config: KafkaConfig, schemas: Schemas) -> None:
        self._config = config
        self._headers: Headers = [(name, value.encode()) for name, value in config.headers.items()] or None
        self._header_text = HeaderText(schemas.schema)
        self._claims = Claims(config.claim_check.directory) if config.claim_check.directory else None
        claimed_above = config.claim_check.above_bytes if self._claims else config.batch_bytes
        self._apart_above = min(config.batch_bytes, claimed_above)
        self._alone_above: dict[str, int] = {}  # bytes, of every topic met; -1: each event goes alone
        self._alone_left: dict[str, int] = {}
        self._letter_topics: set[str] = set()
        self._cluster: Cluster | None = None
        self._outbox: Outbox | None = None
        self._transactions: Transactions | None = None
        self._left_out: set[tuple[object, ...]] = set()  # of `_refused`, by the transaction that is open

    def join(self, transactions: Transactions) -> None:
        """Before `open`: write into these. Whoever owns them commits behind a flush, and what it committed is durable.

        Every method may then raise OffsetError, too, where somebody else has opened the connector's transactions.
        """
        self._transactions = transactions

    @staticmethod
    def check(config: KafkaConfig, topics: Sequence[Topic]) -> Iterator[Finding]:
        with closing(Cluster(config)) as cluster:
            _new_outbox(config, cluster).close()
            yield from kafka_check.check(config, cluster, topics)
        if config.claim_check.directory:
            yield Claims(config.claim_check.directory).check()

    def open(self) -> None:
        if self._claims is not None:
            self._claims.open()
        self._cluster = Cluster(self._config)
        try:
            self._cluster.reach()
            self._outbox = _new_outbox(self._config, self._cluster, self._transactions)
        except SinkError:
            self._cluster.close()
            raise

    def write(self, batch: Batch) -> None:
        assert self._outbox is not None
        produce, headers, alone_above = self._outbox.produce, self._headers, self._alone_above
        self._begin()
        try:
            for event in batch.events:
                topic, _, key, value, _, moved = event
                if topic not in alone_above:
                    self._meet(topic, has_keys=key is not None)
                if moved or (len(value) if value else 0) + (len(key) if key else 0) > alone_above[topic]:
                    self._write_apart(event)
                    produce = self._outbox.produce
                    continue
                try:
                    produce(topic, value, key, -1, None, None, 0, headers)
                except (BufferError, KafkaException):
                    self._outbox.put(event, headers)
            self._outbox.serve()
        except NotDelivered as failure:
            raise self._error(failure) from failure

    def write_letters(self, topic: str, letters: Sequence[StoredLetter]) -> None:
        """Each alone. One that the topic refuses, for it is as large as its event was, goes without its value."""
        assert self._cluster is not None and self._outbox is not None
        if topic not in self._letter_topics:
            self._cluster.prepare(topic, settings=kafka_letters.TOPIC)
            self._letter_topics.add(topic)
        self._begin()
        try:
            for letter in letters:
                try:
                    self._write_alone(kafka_letters.event(topic, letter), kafka_letters.headers(letter))
                except Rejected:
                    self._write_alone(*kafka_letters.without_value(topic, letter))
        except Rejected as refusal:
            raise kafka_letters.refused(topic, refusal) from refusal
        except NotDelivered as failure:
            raise self._error(failure) from failure

    def flush(self) -> None:
        assert self._outbox is not None
        try:
            self._outbox.settle()
        except NotDelivered as failure:
            raise self._error(failure) from failure

    def caught_up(self) -> None:
        pass

    def close(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        if self._cluster is not None:
            self._cluster.close()

    def _begin(self) -> None:
        assert self._outbox is not None
        if self._outbox.begin():  # the one before was committed
            for mark in self._left_out:
                self._refused.pop(mark, None)
            self._left_out.clear()

    def _meet(self, topic: str, *, has_keys: bool) -> None:
        """The first event for a topic. Without a key it would be refused by one that we make compacted."""
        assert self._cluster is not None
        self._cluster.prepare(topic, settings=None if has_keys else {"cleanup.policy": "delete"})
        self._alone_above[topic] = self._apart_above
        if (self._config.bootstrap_servers, topic) in self._refusing:
            self._suspect(topic)

    def _suspect(self, topic: str) -> None:
        self._alone_above[topic] = -1
        self._alone_left[topic] = self._alone_for.get((self._config.bootstrap_servers, topic), ALONE_AFTER_REFUSAL)

    def _write_apart(self, event: Event) -> None:
        """One with headers of its own, too large for its topic, or alone in its batch."""
        assert self._outbox is not None
        headers = list(self._headers or ())
        headers += [(name, self._header_text.of(key)) for name, key in event.headers]
        sent = event
        if self._claims is not None and len(event.value or b"") > self._config.claim_check.above_bytes:
            claim = self._claims.keep(event)
            sent = event._replace(value=claim.value())
            headers.append((HEADER, claim.pointer()))
        fits = len(sent.value or b"") + len(sent.key or b"") <= self._config.batch_bytes
        if fits and not self._alone_left.get(event.topic):
            return self._outbox.put(sent, headers)
        try:
            self._write_alone(sent, headers)
        except Rejected as error:
            error.event = event
            raise

    def _write_alone(self, event: Event, headers: Headers) -> None:
        """Accept one event durably, or raise Rejected."""
        assert self._outbox is not None
        if known := [mark for mark in self._marks(event) if mark in self._refused]:
            self._left_out.update(known)
            raise self._rejected(event, self._refused[known[0]])
        self._outbox.settle()
        try:
            self._outbox.put(event, headers)
            self._outbox.settle()
        except NotDelivered as failure:
            if failure.error.code() not in REFUSED:
                raise
            self._reject(event, failure)
        if left := self._alone_left.get(event.topic):
            self._alone_left[event.topic] = left - 1
            if left == 1:
                self._refusing.discard((self._config.bootstrap_servers, event.topic))
                self._alone_above[event.topic] = self._apart_above

    def _reject(self, event: Event, failure: NotDelivered) -> None:
        """Everything else is acknowledged, so that the producer that this event ended can be replaced here."""
        assert self._outbox is not None and self._cluster is not None
        if event.topic in self._alone_left:
            self._alone_left[event.topic] = ALONE_AFTER_REFUSAL
        if self._transactions is None:
            self._outbox.close()
            self._outbox = _new_outbox(self._config, self._cluster)
        elif self._transactions.ended():  # and what was accepted before the event is gone with it
            self._refused.update(dict.fromkeys(self._marks(event), failure.error))
            raise self._cluster.error(failure.error, event.topic) from failure
        raise self._rejected(event, failure.error) from failure

    def _rejected(self, event: Event, error: KafkaError) -> SinkError:
        self._alone_for.pop((self._config.bootstrap_servers, event.topic), None)
        told = rejected(error, event)
        fails = self._config.oversize == "fail" and event.topic not in self._letter_topics
        return SinkError(str(told), told.hint) if fails and error.code() in TOO_LARGE else told

    def _marks(self, event: Event) -> Iterator[tuple[object, ...]]:
        """By each of which an event is known when it is read again; of another one, none is the same.

        A copied row then has another place, and times and positions of another length at either end of its value.
        """
        value = event.value or b""
        whole = len(value) & ~1023
        yield event.topic, event.key, event.id, len(value)
        yield event.topic, event.key, len(value) >> 6, crc32(value[whole // 4 : whole // 2])

    def _error(self, failure: NotDelivered) -> SinkError:
        assert self._cluster is not None
        if failure.topic and failure.error.code() in REFUSED:
            place = self._config.bootstrap_servers, failure.topic
            self._refusing.add(place)
            self._alone_for[place] = 10 * self._alone_for[place] if place in self._alone_for else ALONE_AFTER_REFUSAL
        return self._cluster.error(failure.error, failure.topic)


def _new_outbox(config: KafkaConfig, cluster: Cluster, transactions: Transactions | None = None) -> Outbox:
    try:
        return Outbox(config, cluster.reach, transactions)
    except KafkaException as error:
        raise cluster.error(error.args[0]) from error
