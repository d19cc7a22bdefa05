"""`tailrace offsets import` from the places where Kafka Connect and Debezium keep offsets."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from offsets.debezium import PostgresOffset
from service.debezium.offsets import Asked, choose
from service.refused import Refused
from tests.conftest import OwnKafkaFactory
from tests.kafka_security import ACLS, add_user, allow, passwords
from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, Tailrace
from tests.service.test_cli_offsets import Shop, stored

TABLE = """
create table {} (id varchar(36) not null, offset_key varchar(1255), offset_val varchar(1255),
record_insert_ts timestamp not null, record_insert_seq integer not null, primary key (id))
"""
"""As the JDBC store makes it."""

Entry = tuple[str, str, Any]
"""(Debezium's connector, its topic prefix, the value)."""


@pytest.fixture
def shop(postgres: Database, tailrace: Tailrace) -> Shop:
    return Shop(postgres, tailrace)


def lsn(order: int) -> dict[str, Any]:
    return {"lsn": order, "lsn_proc": order, "lsn_commit": order, "txId": 1}


def pairs(entries: Iterable[Entry]) -> list[tuple[bytes, bytes | None]]:
    """Keys and values as Kafka Connect writes them."""
    return [
        (json.dumps([name, {"server": server}]).encode(), None if value is None else json.dumps(value).encode())
        for name, server, value in entries
    ]


def offset(connector: str, server: str) -> PostgresOffset:
    return PostgresOffset(connector, server, 1, 1, 1, None, None, False)


OFFSETS = [offset("dbz", "shop"), offset("dbz-crm", "crm"), offset("dbz-crm-old", "crm")]


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (Asked(), 0),
        (Asked(server="shop"), 0),
        (Asked(debezium_name="dbz-crm"), 1),
        (Asked(server="crm", debezium_name="dbz-crm-old"), 2),
    ],
)
def test_the_offset_of_our_own_topic_prefix_is_taken_or_the_one_asked_for(asked: Asked, chosen: int) -> None:
    assert choose(OFFSETS, asked, "shop", "a.dat") == OFFSETS[chosen]


def test_an_offset_without_a_name_is_taken_where_it_is_alone() -> None:
    assert choose([offset("", "")], Asked(), "shop", "a.json") == offset("", "")


@pytest.mark.parametrize(
    ("offsets", "asked", "said"),
    [
        (OFFSETS, Asked(server="crm"), "several offsets .*there: dbz-crm with the prefix crm, dbz-crm-old with"),
        (OFFSETS, Asked(server="shpo"), "no offset of shpo; there: dbz with the prefix shop, dbz-crm"),
        (OFFSETS[1:2], Asked(), "no offset of the topic prefix shop, which is this connector's; there: dbz-crm"),
        ([offset("", "")] * 2, Asked(), "several offsets .*there: one without a name, one without a name"),
    ],
)
def test_what_could_be_another_connectors_is_refused_with_the_candidates(
    offsets: Sequence[PostgresOffset], asked: Asked, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        choose(offsets, asked, "shop", "a.dat")


@pytest.mark.kafka
@pytest.mark.postgres
def test_the_topic_of_kafka_connect_is_read_by_the_last_value_of_each_key(shop: Shop, kafka: Kafka) -> None:
    topic = f"{kafka.prefix}-connect-offsets"
    kafka.create_topic(topic, partitions=5, cleanup_policy="compact")
    before, after = shop.position, shop.write()
    written: list[Entry] = [
        ("dbz-shop-old", "shop", lsn(5)),
        ("dbz-shop", "shop", lsn(before.order)),
        ("oracle", "erp", {"scn": "12345", "commit_scn": "12345:1:"}),
        ("dbz-crm", "crm", lsn(7)),
        ("dbz-shop", "shop", lsn(after.order)),
        ("dbz-shop-old", "shop", None),
    ]
    kafka.produce(topic, *pairs(written))
    said = shop.run("import", "shop", f"kafka:{topic}", "--bootstrap-servers", kafka.bootstrap)
    assert f"lsn_commit {after.order} = {after.token}" in said
    assert shop.stored is not None
    assert shop.stored.position == after
    said = shop.run("import", "shop", "kafka:nowhere", "--bootstrap-servers", kafka.bootstrap, code=2)
    assert "there is no topic nowhere" in said and "offset.storage.topic" in said
    said = shop.run("import", "shop", f"kafka:{topic}", "--bootstrap-servers", kafka.bootstrap, "--server", "x", code=2)
    assert "dbz-shop with the prefix shop" in said and "dbz-crm with the prefix crm" in said


@pytest.mark.kafka
@pytest.mark.postgres
def test_the_topic_is_reached_with_the_servers_and_the_password_of_the_sink(
    shop: Shop, own_kafka: OwnKafkaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = own_kafka(1, *passwords("SCRAM-SHA-512"), *ACLS, clients="SASL_PLAINTEXT")
    add_user(kafka, "shop", "secret", "SCRAM-SHA-512")
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    sink = {
        "type": "kafka",
        "bootstrap_servers": kafka.server.clients_bootstrap,
        "sasl": {"mechanism": "SCRAM-SHA-512", "user": "shop", "password": "${env:KAFKA_PASSWORD}"},
    }
    shop.tailrace.write({**shop.connector, "sink": sink})
    kafka.create_topic("connect-offsets", cleanup_policy="compact")
    kafka.produce("connect-offsets", *pairs([("dbz", "shop", lsn(shop.position.order))]))
    assert "may not read the topic connect-offsets" in shop.run("import", "shop", "kafka:connect-offsets", code=2)
    allow(kafka, "shop", "topic", "connect-offsets", "READ", "DESCRIBE")
    assert "the position is the same" in shop.run("import", "shop", "kafka:connect-offsets")


@pytest.mark.postgres
def test_a_cluster_that_is_not_known_or_does_not_answer_is_named(shop: Shop) -> None:
    said = shop.run("import", "shop", "kafka:connect-offsets", code=2)
    assert "--bootstrap-servers" in said
    said = shop.run("import", "shop", "kafka:connect-offsets", "--bootstrap-servers", "127.0.0.1:1", code=4)
    assert "no Kafka broker of 127.0.0.1:1 answers" in said


def insert(database: Database | MysqlDatabase, table: str, entries: Iterable[Entry]) -> None:
    """The whole table anew, as the JDBC store does at each flush."""
    for nth, (key, value) in enumerate(pairs(entries)):
        database.execute(
            f"insert into {table} values (%s, %s, %s, current_timestamp, %s)",
            str(nth),
            key.decode(),
            value and value.decode(),
            nth,
        )


@pytest.mark.postgres
def test_the_table_of_the_jdbc_store_in_postgres_is_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    address = conninfo_to_dict(shop.postgres.dsn)
    url = f"postgresql://{address['user']}@127.0.0.1:{address['port']}/{shop.postgres.name}"
    shop.postgres.execute(TABLE.format("debezium_offset_storage"))
    insert(shop.postgres, "debezium_offset_storage", [("d", "crm", lsn(5)), ("d", "shop", lsn(shop.position.order))])
    monkeypatch.setenv("DBZ_PASSWORD", str(address.get("password") or "not asked for"))
    said = shop.run("import", "shop", f"jdbc:{url}?sslmode=disable", "--password", "${env:DBZ_PASSWORD}")
    assert f"lsn_commit {shop.position.order} = {shop.position.token}" in said
    said = shop.run("import", "shop", url, "--table", "offsets", "--password", "${env:DBZ_PASSWORD}", code=3)
    assert f"the table offsets in 127.0.0.1:{address['port']}/{shop.postgres.name}" in said and "--table" in said


@pytest.mark.mysql
def test_the_table_of_the_jdbc_store_in_mysql_is_read(
    mysql: MysqlDatabase, tailrace: Tailrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tailrace.write(mysql.connector("shop"))
    mysql.execute("create table orders (id int primary key)")
    mysql.execute(TABLE.format("offsets"))
    status = "show binary log status" if mysql.flavor == "mysql" else "show master status"
    [(log, position, *_)] = mysql.execute(status)
    insert(mysql, "offsets", [("dbz", "shop", {"file": log, "pos": position})])
    monkeypatch.setenv("DBZ_PASSWORD", mysql.address.password or "")
    url = f"mysql://{mysql.address.user}@{mysql.address.host}:{mysql.address.port}/{mysql.name}"
    password = ("--password", "${env:DBZ_PASSWORD}") if mysql.address.password else ()
    done = tailrace("offsets", "import", "shop", url, "--table", "offsets", "--config", file, *password)
    assert done.returncode == 0, done.stderr
    taken = stored(tailrace)
    assert taken is not None
    assert taken.position.token.startswith(f"{log}:{position}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://dbz:secret@db/offsets", "holds a password"),
        ("jdbc:mysql://db/offsets?user=dbz&password=secret", "holds a password"),
        ("postgresql://db/offsets", "lacks the user"),
        ("postgresql://dbz@db/", "lacks the user, the host or the database"),
        ("mysql://dbz@db/offsets?useSSL=true", "usessl is not known"),
        ("mysql://dbz@db/offsets?sslmode=sometimes", "mode: Input should be"),
        ("postgresql://dbz@db:port/offsets", "is not the URL of a database"),
    ],
)
def test_a_url_that_does_not_do_is_refused_and_no_password_is_shown(tailrace: Tailrace, url: str, said: str) -> None:
    done = tailrace("offsets", "import", "shop", url, "--config", Path("unread.json"))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "secret" not in done.stderr and "Traceback" not in done.stderr
