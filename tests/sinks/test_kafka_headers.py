"""Debezium's headers as a consumer on a real broker finds them."""

import pytest

from schema.event import NEW_KEY, OLD_KEY, other_key
from sinks.kafka_config import KafkaConfig
from tests.kafka_servers import Kafka
from tests.oracle.format_goldens import SOURCES, golden_events
from tests.oracle.mysql_goldens import PREFIX
from tests.sinks.events import batch, event, tombstone
from tests.sinks.kafka import opened

pytestmark = pytest.mark.kafka


def test_a_changed_key_is_in_the_headers_of_both_its_events(kafka: Kafka) -> None:
    topic = f"{kafka.prefix}.orders"
    kafka.create_topic(topic)
    old, new = (event(n)._replace(topic=topic) for n in (1, 2))
    deleted = other_key(NEW_KEY, new.key)
    events = [
        old._replace(headers=deleted),
        tombstone(1)._replace(topic=topic, headers=deleted),
        new._replace(headers=other_key(OLD_KEY, old.key)),
        new,
    ]
    sink = opened(kafka.bootstrap, headers={"team": "a"})
    sink.write(batch(events))
    sink.flush()
    sink.close()
    team = ("team", b"a")
    wanted = [(team, (NEW_KEY, b'{"id":2}')), (team, (NEW_KEY, b'{"id":2}')), (team, (OLD_KEY, b'{"id":1}')), (team,)]
    records = kafka.read(topic)
    assert [record.headers for record in records] == wanted
    assert [record.value for record in records] == [sent.value for sent in events]


@pytest.mark.parametrize("source", SOURCES)
def test_context_headers_are_those_of_a_real_engine(source: str) -> None:
    theirs = golden_events(source)[0].headers
    connector = theirs["__debezium.context.connectorName"]
    config = KafkaConfig(bootstrap_servers="broker:9092").in_context(PREFIX, connector)
    run = {"__debezium.context.runId": config.headers["__debezium.context.runId"]}
    assert list(config.headers.items()) == list({**theirs, **run}.items())


def test_context_headers_may_be_left_out_or_replaced() -> None:
    def headers(**keys: object) -> dict[str, str]:
        config = KafkaConfig.model_validate({"bootstrap_servers": "broker:9092", **keys})
        return {
            name.removeprefix("__debezium.context."): value
            for name, value in config.in_context("shop", "postgresql").headers.items()
        }

    shown = headers(headers={"team": "a", "__debezium.context.taskId": "7"})
    assert list(shown) == ["connectorLogicalName", "taskId", "connectorName", "runId", "team"]
    assert shown["runId"] != headers()["runId"]
    assert {**shown, "runId": ""} == {
        "connectorLogicalName": "shop",
        "taskId": "7",
        "connectorName": "postgresql",
        "runId": "",
        "team": "a",
    }
    assert headers(context_headers=False, headers={"team": "a"}) == {"team": "a"}
