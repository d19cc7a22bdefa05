"""What a connector file must hold for `sink.exactly_once`, and how two runners of one connector end."""

import json
import os
import re
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from offsets.kafka_seat import SESSION_MS
from service import config, exits
from service.problems import ConfigError
from tests.conftest import OwnPostgresFactory
from tests.kafka_servers import Kafka
from tests.servers import OwnPostgres, Tailrace, until

OFFSETS = {"type": "kafka", "bootstrap_servers": "b1:9092,b2:9092"}
SINK = {"type": "kafka", "bootstrap_servers": "b2:9092, b1:9092", "exactly_once": True}


def load(folder: Path, **sections: Any) -> config.Connector:
    source = {"type": "postgres", "host": "localhost", "database": "shop", "user": "t"}
    path = folder / "shop.json"
    path.write_text(json.dumps({"name": "shop", "source": source, "sink": SINK, "offsets": OFFSETS, **sections}))
    return config.load(path)


def test_the_brokers_of_one_cluster_may_be_named_in_any_order(tmp_path: Path) -> None:
    assert load(tmp_path).offsets_type == "kafka"


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"offsets": {"type": "sqlite"}}, "offsets are in sqlite, which knows no transaction of Kafka; accepted: true"),
        ({"offsets": {**OFFSETS, "bootstrap_servers": "b3:9092"}}, "a transaction cannot span two clusters"),
        ({"sink": {**SINK, "type": "files", "directory": "out"}}, "unknown key"),
        ({"sink": {**SINK, "transaction_timeout_s": 0}}, "transaction_timeout_s"),
        ({"sink": {**SINK, "settings": {"transaction.timeout.ms": 1}}}, "accepted: sink.transaction_timeout_s"),
        ({"sink": {**SINK, "settings": {"transactional.id": "x"}}}, "it is made from the connector's name"),
        ({"offsets": {**OFFSETS, "settings": {"transactional.id": "x"}}}, "it is made from the connector's name"),
        ({"offsets": {**OFFSETS, "settings": {"ssl.ca.location": "x"}}}, "accepted: offsets.tls.ca"),
        ({"offsets": {**OFFSETS, "topic": "with space"}}, "offsets.topic"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, **sections)
    assert said in str(refused.value)
    assert "sink." in str(refused.value) or "offsets." in str(refused.value)


@pytest.fixture
def shop(own_postgres: OwnPostgresFactory) -> OwnPostgres:
    database = own_postgres()
    database.execute("create table orders (id int primary key, n int)")
    return database


def connector(shop: OwnPostgres, kafka: Kafka) -> dict[str, Any]:
    sink = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "exactly_once": True, "topics": {"create": True}}
    offsets = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}_offsets"}
    return shop.connector(kafka.prefix, sink=sink, offsets=offsets, errors={"retry_for_s": 60})


@pytest.mark.kafka
@pytest.mark.postgres
def test_a_second_runner_takes_over_from_one_that_hangs_which_then_ends_in_one_sentence(
    shop: OwnPostgres, kafka: Kafka, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = Tailrace(tmp_path / "a"), Tailrace(tmp_path / "b")
    topic = f"{kafka.prefix}.public.orders"

    def ids() -> list[int]:
        return [len(record.value or b"") for record in kafka.read(topic)] if topic in kafka.topics() else []

    try:
        shop.execute("insert into orders values (1, 1)")
        hung = first.run(connector(shop, kafka))
        until(lambda: len(ids()) == 1, "the first runner delivers")
        worker = hung.pids()[1]
        os.kill(worker, signal.SIGSTOP)
        shop.execute("insert into orders values (2, 2)")
        shop.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null")
        heir = second.run(connector(shop, kafka))
        until(lambda: len(ids()) == 2, "the second runner delivers", timeout_s=60 + SESSION_MS / 1000)
        os.kill(worker, signal.SIGCONT)
        assert hung.wait(120) == 3
        # Whichever it meets first: its save is refused, or its stream is gone and its place is taken.
        assert re.search(r"(was taken over by|is already running as) pid \d+ on host", hung.stderr)
        assert "Traceback" not in hung.stderr
        shop.execute("insert into orders values (3, 3)")
        until(lambda: len(ids()) == 3, "the second runner goes on")
        assert heir.stop() == 0
    finally:
        first.close()
        second.close()
    assert len(ids()) == 3


@pytest.mark.kafka
@pytest.mark.postgres
def test_a_copied_row_that_is_too_large_stops_the_connector_or_becomes_a_dead_letter(
    shop: OwnPostgres, kafka: Kafka, tailrace: Tailrace
) -> None:
    shop.execute("create table photos (id int primary key, photo bytea)")
    shop.execute("insert into photos values (1, 'small'), (3, 'small')")
    shop.execute("insert into photos values (2, %s)", Random(1).randbytes(2_500_000))
    stops = connector(shop, kafka)
    stopped = tailrace.run(stops, "--until-caught-up")
    assert stopped.wait(120) == exits.FATAL
    assert f"bytes are more than {kafka.prefix}.public.photos takes" in stopped.stderr
    tailrace.catch_up({**stops, "errors": {"rejected": "dlq"}})
    assert "public.photos" in tailrace("dlq", "list", stops["name"]).stdout
    values = [record.value or b"" for record in kafka.read(f"{kafka.prefix}.public.photos")]
    assert len(values) == 2 and all(b"small" in value for value in values)
