"""Where `tailrace offsets import` finds Debezium's offset, and which one it takes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from offsets.debezium import DebeziumOffset, read
from offsets.errors import OffsetUnreadable
from service import secrets
from service.config import Connector
from service.debezium import offsets_table
from service.debezium.offsets_topic import read_topic
from service.refused import Refused
from sinks.kafka_cluster import Cluster
from sinks.kafka_config import KafkaConfig

TOPIC = "kafka:"


class Asked(NamedTuple):
    """What the command was given beside FROM; None where it was not."""

    bootstrap_servers: str | None = None
    table: str | None = None
    password: str | None = None
    debezium_name: str | None = None
    server: str | None = None


Store = Callable[[Connector], Sequence[DebeziumOffset]]


def open_store(word: str, asked: Asked) -> Store:
    """What reads the offsets at FROM. A file is read at once; the others need the connector.

    Raises Refused, SecretMissing; so does the store, and SinkError, OffsetStoreFailed.
    """
    if word.startswith(TOPIC):
        topic = word.removeprefix(TOPIC)
        return lambda connector: _refused(lambda: _from_topic(topic, connector, asked.bootstrap_servers))
    if offsets_table.is_url(word):
        table = offsets_table.locate(word, asked.table or offsets_table.DEFAULT_TABLE, asked.password)
        return lambda _: _refused(lambda: offsets_table.read_table(table))
    offsets = _refused(lambda: _from_file(Path(word)))
    return lambda _: offsets


def choose(offsets: Sequence[DebeziumOffset], asked: Asked, topic_prefix: str, where: str) -> DebeziumOffset:
    """The one that is meant: of the name and prefix asked for, else of our own topic prefix, else one that is alone
    and has no name. Raises Refused, which names the candidates."""
    named = asked.server is not None or asked.debezium_name is not None
    server = asked.server if named else topic_prefix
    found = [
        offset
        for offset in offsets
        if (server is None or offset.server == server or not (named or offset.server))
        and asked.debezium_name in (None, offset.connector)
    ]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(_candidate(offset) for offset in found or offsets)
    what = "several offsets that could be meant" if found else f"no offset of {_asked_for(asked, topic_prefix)}"
    raise Refused(
        f"{where} holds {what}; there: {listed}",
        "choose one by its topic prefix with --server PREFIX, and where that is not enough by --debezium-name NAME",
    )


def _refused(read: Callable[[], list[DebeziumOffset]]) -> list[DebeziumOffset]:
    """What `read` gives; a place without an offset is bad usage."""
    try:
        return read()
    except OffsetUnreadable as error:
        raise Refused(str(error), error.hint) from None


def _asked_for(asked: Asked, topic_prefix: str) -> str:
    if asked.server is None and asked.debezium_name is None:
        return f"the topic prefix {topic_prefix}, which is this connector's"
    return " / ".join(word for word in (asked.debezium_name, asked.server) if word is not None)


def _candidate(offset: DebeziumOffset) -> str:
    return f"{offset.connector} with the prefix {offset.server}" if offset.connector else "one without a name"


def _from_file(path: Path) -> list[DebeziumOffset]:
    try:
        return read(path.read_bytes(), str(path))
    except OSError as error:
        raise Refused(
            f"{path} cannot be read: {error.strerror}",
            "name the file that holds Debezium's offset, kafka:TOPIC, or the URL of the database with its table",
        ) from None


def _from_topic(topic: str, connector: Connector, bootstrap_servers: str | None) -> list[DebeziumOffset]:
    config = connector.sink
    if not isinstance(config, KafkaConfig):
        if bootstrap_servers is None:
            raise Refused(
                f"the sink of {connector.name} is not Kafka, so the cluster with the topic {topic} is not known",
                "add --bootstrap-servers HOST:PORT",
            )
        config = KafkaConfig(bootstrap_servers=bootstrap_servers)
    elif bootstrap_servers is not None:
        config = config.model_copy(update={"bootstrap_servers": bootstrap_servers})
    config = secrets.resolve(config)
    Cluster(config).reach()
    return read_topic(config.client(), topic)
