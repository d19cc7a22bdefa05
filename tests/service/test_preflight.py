"""What `tailrace check` tells of a real server and a real folder, taken at its word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import exits
from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, Tailrace


@pytest.fixture
def role(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user who may log in and nothing else."""
    name = f"checker_{postgres.name}"
    postgres.execute(f"create role {name} login password 'of-the-checker'")
    monkeypatch.setenv("CHECKER_PASSWORD", "of-the-checker")
    yield name
    postgres.execute(f"drop owned by {name}")
    postgres.execute(f"drop role {name}")


def connector(postgres: Database, role: str) -> dict[str, Any]:
    return postgres.connector("shop", source={"user": role, "password": "${env:CHECKER_PASSWORD}"})


@pytest.mark.postgres
@pytest.mark.parametrize("may_create", [False, True], ids=["stranger", "may create"])
def test_each_statement_that_check_prints_works_and_together_they_are_enough(
    postgres: Database, tailrace: Tailrace, role: str, may_create: bool
) -> None:
    postgres.execute("create table orders (id int primary key)")
    postgres.execute("create table items (id int primary key)")
    if may_create:
        postgres.execute(f"grant create on database {postgres.name} to {role}")
    file = tailrace.write(connector(postgres, role))
    found = tailrace("check", file)
    assert found.returncode == exits.FINDINGS
    for line in found.stdout.splitlines():
        if line.startswith("fail"):
            postgres.execute(line.partition("; ")[2])
    found = tailrace("check", file)
    assert (found.returncode, "fail" in found.stdout) == (exits.DONE, False), found.stdout
    tailrace.catch_up(connector(postgres, role))


@pytest.mark.postgres
def test_the_statement_for_a_database_without_tables_works(postgres: Database, tailrace: Tailrace, role: str) -> None:
    postgres.execute(f"alter role {role} replication")
    (line,) = [
        line
        for line in tailrace("check", tailrace.write(connector(postgres, role))).stdout.splitlines()
        if line.startswith("fail")
    ]
    postgres.execute(line.partition("; ")[2])
    tailrace.catch_up(connector(postgres, role))


@pytest.mark.postgres
def test_check_has_one_line_for_a_table_that_the_user_may_not_publish(
    postgres: Database, tailrace: Tailrace, role: str
) -> None:
    postgres.execute("create table orders (id int primary key)")
    postgres.execute("create table later (id int primary key)")
    postgres.execute(f"alter role {role} replication")
    postgres.execute(f"grant pg_read_all_data to {role}")
    postgres.execute("create publication tailrace_shop for table orders")
    file = tailrace.write(connector(postgres, role))
    for owned in ("nothing", "the table", "the publication"):
        if owned != "nothing":
            postgres.execute(
                f"alter {owned.split()[1]} {'later' if 'table' in owned else 'tailrace_shop'} owner to {role}"
            )
        (line,) = [line for line in tailrace("check", file).stdout.splitlines() if "public.later" in line]
        if owned != "the publication":
            assert line.startswith(f"fail  shop: {role} may not add public.later to publication tailrace_shop")
            assert "alter publication tailrace_shop add table" in line and '"!public.later"' in line
        else:
            assert line == "ok    shop: public.later will be added to publication tailrace_shop"


@pytest.mark.postgres
def test_check_says_that_the_target_cannot_be_written_and_makes_nothing(
    postgres: Database, tailrace: Tailrace, tmp_path: Path
) -> None:
    postgres.execute("create table orders (id int primary key)")
    (tmp_path / "notes").write_text("mine")
    sink = {"type": "files", "directory": str(tmp_path / "notes" / "events")}
    found = tailrace("check", tailrace.write({**postgres.connector("shop"), "sink": sink}))
    assert found.returncode == exits.FINDINGS
    assert f"fail  shop: events cannot be written to {tmp_path / 'notes'}: a file stands" in found.stdout
    sink["directory"] = str(tmp_path / "deep" / "events")
    found = tailrace("check", tailrace.write({**postgres.connector("shop"), "sink": sink}))
    assert found.returncode == exits.DONE
    assert not (tmp_path / "deep").exists()


@pytest.mark.postgres
def test_a_start_without_an_offset_on_a_slot_that_was_there_is_pointed_out(
    postgres: Database, tailrace: Tailrace, tmp_path: Path
) -> None:
    postgres.execute("create table orders (id int primary key)")
    file = tailrace.write(postgres.connector("shop"))
    first = tailrace("run", file, "--until-caught-up")
    again = tailrace("run", file, "--until-caught-up")
    elsewhere = tailrace("run", file, "--until-caught-up", "--state", tmp_path / "another")
    assert "was there before" not in first.stderr + again.stderr
    assert "goes on behind its offset" in again.stderr
    assert "was there before" in elsewhere.stderr and "--state" in elsewhere.stderr


@pytest.mark.kafka
@pytest.mark.postgres
def test_each_topic_that_a_table_of_postgres_will_get_has_its_line(
    postgres: Database, tailrace: Tailrace, kafka: Kafka
) -> None:
    postgres.execute("create table orders (id int primary key)")
    postgres.execute("create table lines (line text)")
    kafka.create_topic(f"{kafka.prefix}.public.lines", cleanup_policy="compact")
    connector = {**postgres.connector("shop"), "events": {"topic_prefix": kafka.prefix}, "sink": kafka_sink(kafka)}
    said = tailrace("check", tailrace.write(connector)).stdout
    assert f"ok    shop: connected to Kafka at {kafka.bootstrap}, " in said
    assert f"fail  shop: the topic {kafka.prefix}.public.orders does not exist; make it: kafka-topics" in said
    assert f"fail  shop: {kafka.prefix}.public.lines has cleanup.policy compact: it takes no event without" in said
    kafka.create_topic(f"{kafka.prefix}.public.orders")
    said = tailrace("check", tailrace.write(connector)).stdout
    assert f"ok    shop: the topic {kafka.prefix}.public.orders is there: 1 partition, 1 replica of each" in said


@pytest.mark.kafka
@pytest.mark.mysql
def test_each_topic_that_a_table_of_mysql_will_get_has_its_line_and_that_of_ddl(
    mysql: MysqlDatabase, tailrace: Tailrace, kafka: Kafka
) -> None:
    mysql.execute("create table orders (id int primary key)")
    connector = mysql.connector("shop", source={"ddl": True}, events={"topic_prefix": kafka.prefix})
    connector["sink"] = {**kafka_sink(kafka), "topics": {"create": True}}
    found = tailrace("check", tailrace.write(connector))
    assert found.returncode == exits.DONE
    assert f"ok    shop: the topic {kafka.prefix}.{mysql.name}.orders will be made" in found.stdout
    assert f"ok    shop: the topic {kafka.prefix} will be made" in found.stdout


def kafka_sink(kafka: Kafka) -> dict[str, Any]:
    return {"type": "kafka", "bootstrap_servers": kafka.bootstrap}
