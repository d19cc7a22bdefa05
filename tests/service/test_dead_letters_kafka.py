"""Dead letters from a database through a real broker and back, as an operator lives through it."""

import random
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from schema.decode import Decoder
from service.state import State
from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, Tailrace

pytestmark = pytest.mark.kafka

LARGE = random.Random(1).randbytes(40_000).hex()
"""More than `LIMIT` however it is compressed."""
LIMIT = 20_000


def rows(kafka: Kafka, tailrace: Tailrace, topic: str) -> list[tuple[str, int, int]]:
    """(op, id, size of the text) of each event in the table's topic."""
    decoder = Decoder(State.open(tailrace.state).registry().schema)
    values: list[Any] = [decoder.decode(each.value) for each in kafka.read(topic) if each.value]
    return [(value["op"], value["after"]["id"], len(value["after"]["x"])) for value in values]


def stay_within_the_minute(tailrace: Tailrace) -> None:
    """However long this machine takes for the next command, letters are as fresh to it."""
    with closing(sqlite3.connect(State.open(tailrace.state).path)) as db, db:
        db.execute("update dead_letter set failed_at_ms = failed_at_ms + 3600000")


def test_an_event_over_the_topics_limit_comes_back_by_a_replay_or_by_a_snapshot_where_it_is_too_late(
    postgres: Database, kafka: Kafka, tailrace: Tailrace
) -> None:
    topic, dead_topic = f"{kafka.prefix}.public.t", f"{kafka.prefix}.dead"
    kafka.create_topic(topic, max_message_bytes=str(LIMIT))
    kafka.create_topic(dead_topic)
    postgres.execute("create table t (id int primary key, x text not null)")
    shop = {
        **postgres.connector(errors={"rejected": "dlq", "dead_letter_topic": dead_topic}),
        "sink": {"type": "kafka", "bootstrap_servers": kafka.bootstrap},
        "events": {"topic_prefix": kafka.prefix},
    }
    tailrace.catch_up(shop)
    assert f"the topic {dead_topic} is there" in tailrace("check", tailrace.write(shop)).stdout
    for number, text in ((1, "a"), (2, LARGE), (3, LARGE), (4, "b")):
        postgres.execute("insert into t values (%s, %s)", number, text)
    tailrace.catch_up(shop)
    assert rows(kafka, tailrace, topic) == [("c", 1, 1), ("c", 4, 1)]
    published = kafka.read(dead_topic)
    assert [dict(each.headers)["__tailrace.errors.table"] for each in published] == [b"public.t", b"public.t"]
    assert all(LARGE.encode() in (each.value or b"") for each in published)
    assert tailrace("dlq", "list", "shop").stdout.count("waits") == 2

    postgres.execute("update t set x = 'newer' where id = 2")
    tailrace.catch_up(shop)
    refused = tailrace("dlq", "replay", "shop")
    assert refused.returncode == 1
    assert "delivered again: none" in refused.stdout
    assert f"bytes are more than {topic} takes" in refused.stderr

    kafka.set_topic(topic, **{"max.message.bytes": "1000000"})
    replayed = tailrace("dlq", "replay", "shop")
    assert replayed.returncode == 1
    assert "delivered again: 1 (2)" in replayed.stdout
    assert "letter 1 of public.t" in replayed.stderr
    command = 'tailrace snapshot shop public.t --where "id = 2"'
    assert command in replayed.stderr
    assert tailrace("snapshot", "shop", "public.t", "--where", "id = 2").returncode == 0
    tailrace.catch_up(shop)
    assert rows(kafka, tailrace, topic)[2:] == [("u", 2, 5), ("c", 3, len(LARGE)), ("r", 2, 5)]

    assert tailrace("dlq", "drop", "shop", "1").stdout == "dropped 1 of 1 dead letters of connector shop\n"
    assert len(kafka.read(dead_topic)) == 2


def test_in_transactions_a_letter_is_published_with_the_events_around_it_and_comes_back_too(
    postgres: Database, kafka: Kafka, tailrace: Tailrace
) -> None:
    topic, dead_topic = f"{kafka.prefix}.public.t", f"{kafka.prefix}.dead"
    kafka.create_topic(topic, max_message_bytes=str(LIMIT))
    kafka.create_topic(dead_topic)
    postgres.execute("create table t (id int primary key, x text not null)")
    shop = {
        **postgres.connector(errors={"rejected": "dlq", "dead_letter_topic": dead_topic}),
        "sink": {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "exactly_once": True},
        "offsets": {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}.offsets"},
        "events": {"topic_prefix": kafka.prefix},
    }
    tailrace.catch_up(shop)
    for number, text in ((1, "a"), (2, LARGE), (3, "b"), (4, LARGE)):
        postgres.execute("insert into t values (%s, %s)", number, text)
    tailrace.catch_up(shop)
    assert rows(kafka, tailrace, topic) == [("c", 1, 1), ("c", 3, 1)]
    assert [dict(each.headers)["__tailrace.errors.id"] for each in kafka.read(dead_topic)] == [b"1", b"2"]
    kafka.set_topic(topic, **{"max.message.bytes": "1000000"})
    assert tailrace("dlq", "replay", "shop").stdout == "delivered again: 2 (1, 2)\n"
    tailrace.catch_up(shop)
    assert rows(kafka, tailrace, topic)[2:] == [("c", 2, len(LARGE)), ("c", 4, len(LARGE))]


def test_letters_of_mysql_come_back_in_order_once_the_connector_has_passed_them(
    mysql: MysqlDatabase, kafka: Kafka, tailrace: Tailrace
) -> None:
    topic = f"{kafka.prefix}.{mysql.name}.t"
    kafka.create_topic(topic, max_message_bytes=str(LIMIT))
    mysql.execute("create table t (id int primary key, x text not null)")
    shop = {
        **mysql.connector(errors={"rejected": "dlq"}),
        "sink": {"type": "kafka", "bootstrap_servers": kafka.bootstrap},
        "events": {"topic_prefix": kafka.prefix},
    }
    tailrace.catch_up(shop)
    mysql.execute(f"insert into t values (1, '{LARGE[:50_000]}'), (2, 'small')")
    mysql.execute(f"update t set x = '{LARGE[:60_000]}' where id = 1")
    tailrace.catch_up(shop)
    kafka.set_topic(topic, **{"max.message.bytes": "1000000"})
    replayed = tailrace("dlq", "replay", "shop")
    assert replayed.returncode == 0, replayed.stderr
    assert "delivered again: 2 (1, 2)" in replayed.stdout
    tailrace.catch_up(shop)
    assert rows(kafka, tailrace, topic) == [("c", 2, 5), ("c", 1, 50_000), ("u", 1, 60_000)]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("max_dead_letters", "connector shop keeps 3 dead letters, as many as errors.max_dead_letters allows"),
        ("max_dead_letters_per_minute", "connector shop has put 3 dead letters aside within a minute"),
    ],
    ids=["kept", "per minute"],
)
def test_a_table_that_goes_wrong_as_a_whole_stops_the_connector_and_loses_nothing(
    postgres: Database, kafka: Kafka, tailrace: Tailrace, limit: str, said: str
) -> None:
    topic = f"{kafka.prefix}.public.t"
    kafka.create_topic(topic, max_message_bytes=str(LIMIT))
    postgres.execute("create table t (id int primary key, x text not null)")
    shop = {
        **postgres.connector(errors={"rejected": "dlq", limit: 3}),
        "sink": {"type": "kafka", "bootstrap_servers": kafka.bootstrap},
        "events": {"topic_prefix": kafka.prefix},
    }
    tailrace.catch_up(shop)
    for number in range(6):
        postgres.execute("insert into t values (%s, %s)", number, LARGE)
    postgres.execute("insert into t values (9, 'small')")
    for _ in range(2):
        done = tailrace("run", tailrace.write(shop), "--until-caught-up")
        assert done.returncode == 3
        assert said in done.stderr
        assert f"errors.{limit} allows" in done.stderr
        assert "Traceback" not in done.stderr
        stay_within_the_minute(tailrace)
    assert tailrace("dlq", "list", "shop").stdout.count("waits") == 3
    kafka.set_topic(topic, **{"max.message.bytes": "1000000"})
    tailrace.catch_up(shop)
    replayed = tailrace("dlq", "replay", "shop")  # those that the offset had passed; the others came again
    assert replayed.returncode == 0, replayed.stderr
    assert {number for _, number, _ in rows(kafka, tailrace, topic)} == {0, 1, 2, 3, 4, 5, 9}
    assert "has no dead letters" in tailrace("dlq", "list", "shop").stderr
