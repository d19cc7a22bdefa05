"""The one border where librdkafka's errors become those of an offset store, by their code.

Codes: https://kafka.apache.org/protocol#protocol_error_codes; those that begin with an underscore are librdkafka's own.
"""

from confluent_kafka import KafkaError

from offsets.errors import OffsetError, OffsetStoreFailed, OffsetStoreMisconfigured, OffsetStoreRefused
from offsets.kafka_codes import (
    BAD_SETTINGS,
    FORBIDDEN,
    MISSING,
    NOT_ACCEPTED,
    NOT_CONNECTED,
    UNREACHABLE,
    lacks_token,
    reason,
    unusable_file,
)

_USER = "offsets.sasl (with sink.exactly_once sink.sasl, too)"
_SAYS_WHY = "nothing was changed; see the brokers' logs for the cause, it is tried again"
_BY_CODE: dict[int, tuple[type[OffsetError], str]] = {
    KafkaError._SSL: (OffsetStoreRefused, "correct offsets.tls; `verify-full` is the default off this host"),
    **dict.fromkeys(
        NOT_ACCEPTED,
        (OffsetStoreRefused, f"correct {_USER}, its password, or the mechanism that the listener offers"),
    ),
    **dict.fromkeys(FORBIDDEN, (OffsetStoreRefused, f"allow the user of {_USER} what docs/offset-stores.md lists")),
    **dict.fromkeys(
        UNREACHABLE,
        (
            OffsetStoreFailed,
            "start the brokers, or correct offsets.bootstrap_servers or offsets.tls; it is tried again",
        ),
    ),
    **dict.fromkeys(
        MISSING, (OffsetStoreFailed, "where the topic was deleted, its offsets are gone with it; it is tried again")
    ),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        OffsetStoreMisconfigured,
        "raise transaction.max.timeout.ms of the brokers, or lower sink.transaction_timeout_s",
    ),
    KafkaError.INVALID_REPLICATION_FACTOR: (OffsetStoreMisconfigured, "correct offsets.replication"),
    KafkaError.POLICY_VIOLATION: (OffsetStoreMisconfigured, "make the topic by hand, as docs/offset-stores.md says"),
    KafkaError.TOPIC_EXCEPTION: (OffsetStoreMisconfigured, "choose another offsets.topic"),
    **dict.fromkeys(BAD_SETTINGS, (OffsetStoreMisconfigured, "correct offsets.settings, or sink.settings")),
    KafkaError.UNSUPPORTED_VERSION: (OffsetStoreMisconfigured, "Kafka 2.5 or newer is needed"),
    KafkaError.MSG_SIZE_TOO_LARGE: (
        OffsetStoreFailed,
        "raise max.message.bytes of the topic; the offset with its snapshot is larger",
    ),
}


def translate(error: KafkaError, place: str) -> OffsetError:
    """What an operator reads. A code that is not in the table is retryable."""
    if unusable := unusable_file(error):
        key, why = unusable
        return OffsetStoreMisconfigured(
            f"{place} fails: the file of {key} cannot be used: {why}", f"let {key} be the path of a PEM file"
        )
    if lacks_token(error):
        return OffsetStoreFailed(
            f"{place} fails: {reason(error)}", "start the server of sasl.token_url, or correct it; it is tried again"
        )
    kind, hint = _BY_CODE.get(error.code(), (OffsetStoreFailed, _SAYS_WHY))
    said = f"cannot reach {place}" if error.code() in NOT_CONNECTED else f"{place} fails"
    return kind(f"{said}: {reason(error) or KafkaError(error.code()).str()}", hint)
