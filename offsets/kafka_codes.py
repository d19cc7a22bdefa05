"""What librdkafka's errors say, the same for every connection to a Kafka cluster.

Codes: https://kafka.apache.org/protocol#protocol_error_codes; those that begin with an underscore are librdkafka's own.
"""

import re

from confluent_kafka import KafkaError

MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
NOT_CONNECTED = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})
UNREACHABLE = NOT_CONNECTED | {KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT}
NOT_ACCEPTED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
"""Who we say we are."""
BAD_SETTINGS = frozenset({KafkaError._INVALID_ARG, KafkaError._CONFLICT})

_NOISE = re.compile(r"^(\w+://)?\S+: | \(after \d+ms in state \w+\).*$|^Failed to create \w+ client: |ipv[46]#|\s+$")
_NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token"
"""Said under the code of a wrong password."""
_NO_BROKER = "Invalid response size"
"""The first bytes of another protocol: ``HTTP`` would be a size of 1.2 GB."""
_FILES = {"ssl.ca.location": "tls.ca", "ssl.certificate.location": "tls.cert", "ssl.key.location": "tls.key"}


def reason(error: KafkaError) -> str:
    """librdkafka's text without its own bookkeeping."""
    return _NOISE.sub("", error.str())


def lacks_token(error: KafkaError) -> bool:
    """Whether it is the server of OAUTHBEARER's tokens that does not answer, or refuses us."""
    return _NO_TOKEN in error.str()


def is_no_broker(error: KafkaError) -> bool:
    """Whether what answers speaks another protocol."""
    return _NO_BROKER in error.str()


def unusable_file(error: KafkaError) -> tuple[str, str] | None:
    """(key of ours, reason) of a file that librdkafka cannot use; None where the error is about something else."""
    name, _, why = reason(error).partition(" failed: ")
    return (_FILES[name], why) if name in _FILES else None
