"""`events.format` of a connector with a real Kafka behind it."""

import json
import re
from typing import Any

import pytest

from service import exits
from tests.kafka_servers import Kafka, KafkaRecord
from tests.servers import VERSIONS, Database, Tailrace

newest = pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)
pytestmark = [pytest.mark.postgres, pytest.mark.kafka, newest]

CONTEXT = "__debezium.context."


def connector(postgres: Database, kafka: Kafka, form: str, **keys: Any) -> dict[str, Any]:
    """The topics begin with `form`, as part of the test's own prefix."""
    sink = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topics": {"create": True}, **keys}
    events = {"topic_prefix": f"{kafka.prefix}_{form}", "format": form}
    return postgres.connector(form, source={"snapshot": "never"}, sink=sink, events=events)


def delivered(kafka: Kafka, form: str) -> list[KafkaRecord]:
    return kafka.read(f"{kafka.prefix}_{form}.public.orders")


def loaded(part: bytes | None) -> Any:
    return part and json.loads(part)


def test_each_format_shows_the_same_changes_with_debeziums_headers(
    postgres: Database, kafka: Kafka, tailrace: Tailrace
) -> None:
    postgres.execute("create table orders (id int primary key, total numeric(8,2))")
    forms = ("json", "json_with_schemas", "cloudevents")
    connectors = [connector(postgres, kafka, form) for form in forms]
    for shop in connectors:
        tailrace.catch_up(shop)
    postgres.execute("insert into orders values (1, 22.20)")
    postgres.execute("update orders set id = 2")
    for shop in connectors:
        tailrace.catch_up(shop)
    plain, whole, cloud = ([(loaded(r.key), loaded(r.value)) for r in delivered(kafka, form)] for form in forms)
    assert [key for key, _ in plain] == [{"id": 1}, {"id": 1}, {"id": 1}, {"id": 2}]
    assert [value and value["op"] for _, value in plain] == ["c", "d", None, "c"]
    assert plain[0][1]["after"] == {"id": 1, "total": "CKw="}
    assert [key["payload"] for key, _ in whole] == [key for key, _ in plain]
    assert [value and value["payload"]["after"] for _, value in whole] == [v and v["after"] for _, v in plain]
    assert whole[0][0]["schema"]["fields"] == [{"type": "int32", "optional": False, "field": "id"}]
    assert [value and value["data"]["after"] for _, value in cloud] == [v and v["after"] for _, v in plain]
    assert len({value["id"] for _, value in cloud if value}) == 3
    for form in forms:
        headers = [dict(record.headers) for record in delivered(kafka, form)]
        assert {shown[f"{CONTEXT}connectorLogicalName"] for shown in headers} == {f"{kafka.prefix}_{form}".encode()}
        assert {shown[f"{CONTEXT}connectorName"] for shown in headers} == {b"postgresql"}
        moved = [[value for name, value in shown.items() if CONTEXT not in name] for shown in headers]
        assert moved == [[], [b'{"id":2}'], [b'{"id":2}'], [b'{"id":1}']]


def test_what_kafka_refuses_in_json_is_kept_as_it_was_made_and_replayed_in_json(
    postgres: Database, kafka: Kafka, tailrace: Tailrace
) -> None:
    postgres.execute("create table orders (id int primary key, note text)")
    topic = f"{kafka.prefix}_json.public.orders"
    kafka.create_topic(topic, max_message_bytes="20000")
    shop = {**connector(postgres, kafka, "json", compression="none"), "errors": {"rejected": "dlq"}}
    tailrace.catch_up(shop)
    postgres.execute("insert into orders values (1, 'a'), (2, repeat('large', 9000)), (3, 'c')")
    tailrace.catch_up(shop)
    assert sorted(loaded(r.value)["after"]["id"] for r in {r.key: r for r in delivered(kafka, "json")}.values()) == [
        1,
        3,
    ]
    listed = tailrace("dlq", "list", "json")
    assert "are more than" in listed.stdout
    assert re.search(r"^value +\\x00\\x00\\x00\\x00", tailrace("dlq", "show", "json", "1").stdout, re.MULTILINE)
    kafka.delete_topic(topic)
    kafka.create_topic(topic)
    replayed = tailrace("dlq", "replay", "json")
    assert replayed.returncode == exits.DONE, replayed.stderr
    assert [loaded(r.value)["after"]["id"] for r in delivered(kafka, "json")] == [2]


def test_a_cloud_event_that_comes_again_has_the_id_it_had(postgres: Database, kafka: Kafka, tailrace: Tailrace) -> None:
    postgres.execute("create table orders (id int primary key, note text)")
    shop = connector(postgres, kafka, "cloudevents")
    tailrace.catch_up(shop)
    begins = tailrace("offsets", "show", "cloudevents").stdout
    (position,) = re.findall(r"^position +(\S+)", begins, re.MULTILINE)
    postgres.execute("insert into orders select n from generate_series(1, 3) n")
    postgres.execute("update orders set id = id + 10")
    tailrace.catch_up(shop)
    assert tailrace("offsets", "seek", "cloudevents", position).returncode == exits.DONE
    tailrace.catch_up(shop)
    ids = [loaded(record.value)["id"] for record in delivered(kafka, "cloudevents") if record.value]
    assert len(ids) == 18
    assert ids[:9] == ids[9:]
    assert len(set(ids)) == 9


def test_a_format_and_claims_go_into_transactions_as_well(postgres: Database, kafka: Kafka, tailrace: Tailrace) -> None:
    postgres.execute("create table orders (id int primary key, note text)")
    claims = {"directory": str(postgres.folder / "claims"), "above_bytes": 1000}
    offsets = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}_offsets"}
    shop = {**connector(postgres, kafka, "json", claim_check=claims, exactly_once=True), "offsets": offsets}
    tailrace.catch_up(shop)
    postgres.execute("insert into orders values (1, 'a'), (2, repeat('large', 900))")
    postgres.execute("update orders set id = 3 where id = 1")
    tailrace.catch_up(shop)
    records = delivered(kafka, "json")
    assert [loaded(record.key)["id"] for record in records] == [1, 2, 1, 1, 3]
    (claim,) = (
        value["claim_check"] for record in records if (value := loaded(record.value)) and "claim_check" in value
    )
    kept = json.loads((postgres.folder / "claims" / claim["path"]).read_bytes())
    assert (kept["after"]["id"], kept["after"]["note"]) == (2, 900 * "large")
