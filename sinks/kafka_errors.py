"""The one border where librdkafka's errors become ours, by their code.

Codes: https://kafka.apache.org/protocol#protocol_error_codes; those that begin with an underscore are librdkafka's own.
"""

from typing import NamedTuple

from confluent_kafka import KafkaError

from offsets.kafka_codes import (
    BAD_SETTINGS,
    MISSING,
    NOT_ACCEPTED,
    UNREACHABLE,
    is_no_broker,
    lacks_token,
    reason,
    unusable_file,
)
from schema.event import Event
from sinks.errors import Rejected, SinkError, SinkMisconfigured, SinkRefused, SinkUnavailable

REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
"""What a broker says of an event itself: the same event is refused each time."""

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class _Said(NamedTuple):
    """`cause` may hold {topic}, {servers} and {reason}, `hint` {topic}, {servers} and {user}; `kind` says whether
    opening anew may help."""

    kind: type[SinkError]
    cause: str
    hint: str


_ALLOW = "kafka-acls --bootstrap-server {servers} --add --allow-principal User:{user}"

_UNREACHABLE = _Said(
    SinkUnavailable,
    "no Kafka broker of {servers} answers: {reason}",
    "start the brokers, or correct sink.bootstrap_servers or sink.tls (`disable` is for a listener without TLS);"
    " it is tried again",
)
_NO_BROKER = _Said(
    SinkUnavailable,
    "what answers at {servers} is no Kafka broker",
    "correct sink.bootstrap_servers, or start the broker",
)
_SSL = _Said(
    SinkMisconfigured,
    "TLS with Kafka at {servers} failed: {reason}",
    "correct sink.tls; `verify-full` is the default off this host",
)
_NOT_ACCEPTED = _Said(
    SinkRefused,
    "Kafka at {servers} does not accept who we are: {reason}",
    "correct sink.sasl, its password, or the mechanism that the listener offers",
)
_NO_TOKEN = _Said(
    SinkUnavailable,
    "no token to show to Kafka at {servers}: {reason}",
    "start the server of sink.sasl.token_url, or correct it, client_id or client_secret; it is tried again",
)
_NOT_MADE = _Said(SinkMisconfigured, "the topic {topic} cannot be made: {reason}", "correct sink.topics")
_MISSING = _Said(
    SinkUnavailable,
    "the topic {topic} does not exist",
    "make it: kafka-topics --bootstrap-server {servers} --create --topic {topic};"
    ' or set sink.topics to {"create": true}; delivery then goes on by itself',
)
_BAD_SETTINGS = _Said(
    SinkMisconfigured, "librdkafka does not take this sink's configuration: {reason}", "correct sink.settings"
)
_FORGOTTEN = _Said(
    SinkUnavailable,
    "Kafka at {servers} broke off with this producer: {reason}",
    "nothing to do: it is opened anew and goes on from the last offset",
)

_BY_CODE = {
    **dict.fromkeys(UNREACHABLE, _UNREACHABLE),
    KafkaError._SSL: _SSL,
    **dict.fromkeys(NOT_ACCEPTED, _NOT_ACCEPTED),
    **dict.fromkeys(MISSING, _MISSING),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _Said(
        SinkUnavailable,
        "the user of sink.sasl may not write to the topic {topic}",
        f"allow it: {_ALLOW} --operation Write --operation Describe --topic {{topic}}",
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _Said(
        SinkUnavailable,
        "the user of sink.sasl may not write to Kafka at {servers}, or not make topics there",
        "allow Write on the topics, and where sink.topics.create is true also Create",
    ),
    KafkaError.INVALID_REPLICATION_FACTOR: _NOT_MADE,
    KafkaError.INVALID_PARTITIONS: _NOT_MADE,
    KafkaError.INVALID_CONFIG: _NOT_MADE,
    KafkaError.POLICY_VIOLATION: _NOT_MADE,
    KafkaError.TOPIC_EXCEPTION: _Said(
        SinkMisconfigured, "{topic} cannot be a topic: {reason}", "choose another events.topic_prefix"
    ),
    KafkaError.KAFKA_STORAGE_ERROR: _Said(
        SinkUnavailable,
        "a broker cannot store {topic}: {reason}",
        "free space on the broker's disk or mend it; delivery then goes on by itself",
    ),
    **dict.fromkeys(BAD_SETTINGS, _BAD_SETTINGS),
    KafkaError.UNSUPPORTED_VERSION: _Said(
        SinkMisconfigured,
        "the brokers of {servers} are too old: {reason}",
        "Kafka 2.4 or newer is needed",
    ),
}


def translate(error: KafkaError, servers: str, topic: str = "", user: str = "") -> SinkError:
    """What an operator reads: SinkUnavailable where opening anew may help, else SinkMisconfigured or SinkRefused.

    `topic` is the one that the error is about, if any. A code that is not in the table is retryable.
    """
    if topic and error.code() in REFUSED:
        return SinkUnavailable(
            f"{topic} refused a batch for one of its events: {reason(error)}",
            "nothing to do: the events are delivered again one by one, and the one is found",
        )
    if unusable := unusable_file(error):
        key, why = unusable
        return SinkMisconfigured(
            f"the file of sink.{key} cannot be used: {why}",
            f"let sink.{key} be the path of a PEM file that tailrace can read"
            + (", the private key of sink.tls.cert" if key == "tls.key" else ""),
        )
    if is_no_broker(error):
        said = _NO_BROKER
    else:
        said = _NO_TOKEN if lacks_token(error) else _BY_CODE.get(error.code(), _FORGOTTEN)
    values = {"topic": topic or "asked for", "servers": servers, "reason": reason(error)}
    return said.kind(said.cause.format(**values), _filled(said.hint, servers, topic, user))


def may_not_create(servers: str, topic: str, user: str) -> SinkError:
    return SinkUnavailable(
        f"the topic {topic} does not exist, and the user of sink.sasl may not make it",
        _filled(f"allow it: {_ALLOW} --operation Create --topic {{topic}}; or make the topic", servers, topic, user),
    )


def _filled(hint: str, servers: str, topic: str, user: str) -> str:
    """JSON in a hint has braces of its own."""
    return hint.replace("{servers}", servers).replace("{topic}", topic).replace("{user}", user or "NAME")


def rejected(error: KafkaError, event: Event) -> Rejected:
    """One event that a broker, or librdkafka before it, refuses for good."""
    if error.code() in TOO_LARGE:
        size_bytes = len(event.key or b"") + len(event.value or b"")
        return Rejected(
            event,
            f"its {size_bytes:,} bytes are more than {event.topic} takes",
            "raise max.message.bytes of the topic (above 64 MiB also message.max.bytes in sink.settings), keep large"
            ' values as files by sink.claim_check, or set errors.rejected to "dlq" to put such events aside',
        )
    if event.key is None:
        return Rejected(
            event,
            f"{event.topic} takes no event without a key",
            "give the table a primary key, or set cleanup.policy of the topic to delete",
        )
    return Rejected(event, f"{event.topic} refused it: {reason(error)}", "see the broker's log for what it checks")
