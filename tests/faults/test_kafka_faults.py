"""Whole connectors into a Kafka cluster that goes down, fills up, forbids, refuses or forgets; a consumer judges.

TAILRACE_OUTAGE_S=300 pytest tests/faults/test_kafka_faults.py     how long a broker stays away (default: 5)
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin._metadata import TopicMetadata  # noqa: F401

from service import exits
from tests.conftest import OwnKafkaFactory, OwnRegistryFactory
from tests.faults.kafka_shop import ARRIVES_S, KafkaShop
from tests.faults.shop import told_by
from tests.kafka_security import ACLS, allow, passwords, withdraw
from tests.kafka_servers import Kafka
from tests.registry_servers import Registry
from tests.schema.registry_proxy import Proxy, basic, wants
from tests.servers import VERSIONS, Database, Tailrace, until

OUTAGE_S = float(os.environ.get("TAILRACE_OUTAGE_S", "5"))
RANDOM_BYTES = "string_agg(md5(random()::text), '')"

newest = pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)
pytestmark = [pytest.mark.postgres, pytest.mark.kafka, newest]


def test_a_broker_that_is_down_at_the_start_is_waited_for(
    postgres: Database, tailrace: Tailrace, own_kafka: OwnKafkaFactory
) -> None:
    kafka = own_kafka()
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True})
    kafka.server.stop()
    running = tailrace.run(shop.connector)
    running.wait_for(f"no Kafka broker of {kafka.bootstrap} answers")
    running.wait_for("start the brokers")
    assert shop.offset() is None
    kafka.server.start()
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_a_broker_that_is_down_meanwhile_costs_nothing_and_the_offset_waits_for_it(
    postgres: Database, tailrace: Tailrace, own_kafka: OwnKafkaFactory
) -> None:
    kafka = own_kafka()
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True, "partitions": 3}, delivery_timeout_s=2)
    running = tailrace.run(shop.connector)
    with shop.selling(max(0.05, OUTAGE_S / 500)):
        shop.delivers()
        kafka.server.kill()
        running.wait_for("retry_in_s")
        offset = shop.offset()
        time.sleep(OUTAGE_S)
        assert shop.offset() == offset
        kafka.server.start()
        shop.delivers()
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_a_broker_with_a_full_disk_goes_on_once_there_is_room(
    small_disk: Callable[[int], Path],
    postgres: Database,
    tailrace: Tailrace,
    own_kafka: OwnKafkaFactory,
    tmp_path: Path,
) -> None:
    disk = small_disk(16 << 20)
    kafka = own_kafka(1, f"log.dirs={disk / 'data'}", f"metadata.log.dir={tmp_path / 'metadata'}")
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True}, delivery_timeout_s=2)
    running = tailrace.run(shop.connector)
    shop.arrive()
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(15 << 20))
    postgres.execute(
        f"insert into items select n, 'item ' || {RANDOM_BYTES} from generate_series(1001, 2000) n, "
        "generate_series(1, 200) group by n"
    )
    until(lambda: not kafka.server.nodes[0].lives(), "the broker ends")
    running.wait_for("retry_in_s")
    ballast.unlink()
    kafka.server.start()
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_a_topic_that_is_deleted_meanwhile_is_made_anew_and_nothing_is_lost_that_came_later(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True})
    running = tailrace.run(shop.connector)
    shop.arrive()
    kafka.delete_topic(shop.topic)
    shop.sell()  # changes every row, so that the topic made anew has them all
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_a_topic_that_is_deleted_and_made_by_hand_is_told_and_delivery_goes_on(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka)
    kafka.create_topic(shop.topic)
    running = tailrace.run(shop.connector)
    shop.arrive()
    kafka.delete_topic(shop.topic)
    offset = shop.offset()
    shop.sell()
    running.wait_for(f"the topic {shop.topic} does not exist")
    running.wait_for(f"kafka-topics --bootstrap-server {kafka.bootstrap} --create --topic {shop.topic}")
    assert shop.offset() == offset
    kafka.create_topic(shop.topic)
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_a_topic_that_is_deleted_and_made_at_once_under_load_gets_all_that_comes_later(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka)
    kafka.create_topic(shop.topic)
    running = tailrace.run(shop.connector)
    with shop.selling():
        shop.delivers()
        kafka.admin.delete_topics([shop.topic])[shop.topic].result()
        until(lambda: shop.topic not in kafka.topics(), "the topic is gone")
        kafka.create_topic(shop.topic)
        shop.delivers()
    shop.sell()
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()


def test_the_right_to_write_that_is_taken_away_is_told_and_given_back_delivers_what_waited(
    postgres: Database, tailrace: Tailrace, own_kafka: OwnKafkaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "secret-of-the-shop")
    kafka = own_kafka(1, *passwords("PLAIN", shop="secret-of-the-shop"), *ACLS, clients="SASL_PLAINTEXT")
    sasl = {"mechanism": "PLAIN", "user": "shop", "password": "${env:KAFKA_PASSWORD}"}
    shop = KafkaShop(postgres, tailrace, kafka, kafka.server.clients_bootstrap, sasl=sasl)
    kafka.create_topic(shop.topic)
    allow(kafka, "shop", "topic", shop.topic, "WRITE", "DESCRIBE")
    running = tailrace.run(shop.connector)
    shop.arrive()
    withdraw(kafka, "shop", "topic", shop.topic, "WRITE")
    behind: list[int] = []  # where each sale ends in the log

    def sell_until_told() -> bool:
        postgres.execute("update items set name = concat(name, '!')")
        [(end,)] = postgres.execute("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
        behind.append(end)
        return f"may not write to the topic {shop.topic}" in running.stderr

    until(sell_until_told, "the withdrawal is told")
    running.wait_for("--allow-principal User:shop --operation Write")
    attempts = running.stderr.count("retry_in_s")
    until(lambda: running.stderr.count("retry_in_s") >= attempts + 2, "it is tried again, and refused again")
    forms = {event["key"]["id"]: event["value"]["after"]["name"].count("!") for event in shop.events()}
    delivered = min(forms.values())  # so many sales as a whole
    offset = shop.offset()
    assert offset is not None
    assert offset < behind[delivered]  # it stands in front of the first that was refused
    allow(kafka, "shop", "topic", shop.topic, "WRITE")
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()
    assert "secret-of-the-shop" not in running.stderr


def test_more_partitions_meanwhile_lose_nothing_and_each_partition_keeps_its_order(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka, settings={"topic.metadata.refresh.interval.ms": 1000})
    kafka.create_topic(shop.topic)
    running = tailrace.run(shop.connector)
    with shop.selling():
        shop.delivers()
        kafka.grow_topic(shop.topic, 4)
        until(lambda: any(record.partition for record in shop.records()), "a new one is written to", ARRIVES_S)
    tailrace_ended = running.stop()
    tailrace.catch_up(shop.connector)
    assert tailrace_ended == exits.DONE
    forms: dict[tuple[int, int], list[int]] = {}
    for record, event in zip(shop.records(), shop.events(), strict=True):
        row = event["value"]["after"]
        forms.setdefault((record.partition, row["id"]), []).append(row["name"].count("!"))
    assert all(of_row == sorted(of_row) for of_row in forms.values())
    newest = {id_: max(max(of) for (_, other), of in forms.items() if other == id_) for _, id_ in forms}
    rows = dict(postgres.execute("select id, length(name) - length(replace(name, '!', '')) from items"))
    assert newest == rows


def large(postgres: Database, size_bytes: int = 4_000_000) -> None:
    """A row that compression only halves."""
    postgres.execute(f"insert into items select 999, {RANDOM_BYTES} from generate_series(1, {size_bytes // 32})")


def test_an_event_larger_than_its_topic_takes_stops_the_connector_and_names_the_row(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True})
    tailrace.catch_up(shop.connector)
    large(postgres)
    shop.sell()
    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"bytes are more than {shop.topic} takes" in told.cause
    assert "raise max.message.bytes of the topic" in told.hint
    kafka.set_topic(shop.topic, **{"max.message.bytes": "8000000"})
    tailrace.catch_up(shop.connector)
    shop.check()


def test_an_event_larger_than_its_topic_takes_may_become_a_dead_letter_and_the_others_are_delivered(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    shop = KafkaShop(postgres, tailrace, kafka, topics={"create": True})
    shop.connector["errors"]["rejected"] = "dlq"
    large(postgres)
    tailrace.catch_up(shop.connector)
    letters = tailrace("dlq", "list", "shop").stdout
    assert "more than" in letters
    postgres.execute("delete from items where id = 999")
    assert [event for event in shop.missing() if "999" not in event] == []


@pytest.mark.registry
def test_a_registry_that_is_killed_before_a_new_version_is_told_and_delivers_all_once_it_is_back(
    postgres: Database, tailrace: Tailrace, kafka: Kafka, own_registry: OwnRegistryFactory
) -> None:
    registry = own_registry()
    shop = KafkaShop(postgres, tailrace, kafka, registry=registry, topics={"create": True})
    running = tailrace.run(shop.connector)
    shop.arrive()
    with shop.selling():
        shop.delivers()
        registry.server.kill()
        postgres.execute("alter table items alter id type bigint")
        running.wait_for("could not look up a schema")
        running.wait_for("retry_in_s")
        offset = shop.offset()
        attempts = running.stderr.count("retry_in_s")
        until(lambda: running.stderr.count("retry_in_s") > attempts, "it has tried again")
        assert shop.offset() == offset
        registry.server.start()
        shop.delivers()
    shop.arrive()
    assert running.stop() == exits.DONE
    shop.check()
    assert registry.versions(f"{shop.topic}-value") == [1, 2]


@pytest.mark.registry
def test_a_registry_that_asks_for_a_password_before_a_new_version_ends_the_connector_and_loses_nothing(
    postgres: Database, tailrace: Tailrace, kafka: Kafka, registry: Registry
) -> None:
    with closing(Proxy(registry.url)) as proxy:
        shop = KafkaShop(postgres, tailrace, kafka, registry=registry, through=proxy.url, topics={"create": True})
        running = tailrace.run(shop.connector)
        shop.arrive()
        with shop.selling():
            shop.delivers()
            proxy.fault = wants(basic("shop", "secret"))
            postgres.execute("alter table items alter id type bigint")
            told = told_by(running)
        assert told.code == exits.FATAL
        assert told.cause.endswith(f"could not look up a schema of {shop.topic}-key: HTTP 401: Unauthorized")
        assert told.hint.startswith("set registry.user and registry.password, or registry.token")
        assert registry.versions(f"{shop.topic}-value") == [1]
        assert shop.refused() == told
        proxy.fault = None
        tailrace.catch_up(shop.connector)
        shop.check()
        assert registry.versions(f"{shop.topic}-value") == [1, 2]
