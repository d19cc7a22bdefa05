"""DDL events against a real Debezium engine's."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from pymysql.constants import FIELD_TYPE

from connectors.mysql.ddl_event import DdlTopic, key_schema, value_schema
from connectors.mysql.shape import ColumnShape, TableShape
from schema.event import Event
from service.state import State
from tests.connectors.mysql.reading import reading
from tests.mysql_servers import MysqlDatabase
from tests.oracle.goldens import decoded
from tests.oracle.mysql_goldens import PREFIX, SCHEMA, GoldenEvent, ddl, golden_ddl, golden_schemas
from tests.servers import until

UNTOLD = ("autoIncremented", "generated")
AS_CATALOGUED = {"d": "1.50", "ts": "2020-01-01 00:00:00.000", "now_": "CURRENT_TIMESTAMP"}
"""Defaults by column, which Debezium has as the statement gave them, but for a time's 1970."""
ID = (5, 0)
CREATED = TableShape(
    "shop",
    "ddl_a",
    (
        ColumnShape("id", FIELD_TYPE.LONG, declared="int", optional=False),
        ColumnShape("v", FIELD_TYPE.VARCHAR, charset="latin1", declared="varchar(20)", optional=False, default="x"),
        ColumnShape("d", FIELD_TYPE.NEWDECIMAL, declared="decimal(10,2)", default="1.50"),
        ColumnShape("e", FIELD_TYPE.ENUM, charset="utf8mb4", labels=("a", "b,c"), declared="enum('a','b,c')"),
        ColumnShape("s", FIELD_TYPE.SET, charset="utf8mb4", labels=("x", "y"), declared="set('x','y')"),
        ColumnShape("b", FIELD_TYPE.TINY, declared="tinyint(1)"),
        ColumnShape("u", FIELD_TYPE.LONG, declared="int unsigned", unsigned=True),
        ColumnShape("ts", 17, declared="timestamp(3)", default="2020-01-01 00:00:00.000"),
        ColumnShape("g", FIELD_TYPE.LONG, declared="int"),
        ColumnShape("bi", FIELD_TYPE.STRING, charset="binary", declared="binary(4)"),
        ColumnShape("t", FIELD_TYPE.BLOB, charset="utf8mb4", declared="text"),
        ColumnShape("j", FIELD_TYPE.JSON, declared="json"),
        ColumnShape("bt", FIELD_TYPE.BIT, declared="bit(5)"),
        ColumnShape("y", FIELD_TYPE.YEAR, declared="year"),
        ColumnShape("dt", 18, declared="datetime(6)"),
        ColumnShape("ti", 19, declared="time(2)"),
        ColumnShape("f", FIELD_TYPE.FLOAT, declared="float"),
        ColumnShape("r", FIELD_TYPE.DOUBLE, declared="double"),
        ColumnShape("f2", FIELD_TYPE.FLOAT, declared="float(7,4)"),
        ColumnShape("bl", FIELD_TYPE.BLOB, charset="binary", declared="blob"),
        ColumnShape("p", FIELD_TYPE.GEOMETRY, declared="point"),
    ),
    (0,),
)


@pytest.fixture
def topic(tmp_path: Path) -> Iterator[DdlTopic]:
    with closing(State.open(tmp_path / "state").registry()) as registry:
        yield DdlTopic(registry, PREFIX, "mysql", "1.0")


def event(topic: DdlTopic, statement: str, shapes: dict[str, TableShape | None]) -> Event:
    block = topic.block("shop", [name.partition(".")[2] for name in shapes])
    block.begin(1, 1_790_000_000_000_000, 1, "", "binlog.000001", None)
    block.event(4)
    return topic.event(statement, "shop", block.change(0), 1_790_000_000_123_456_789, shapes, ID)


def shown(made: Event) -> dict[str, Any]:
    assert made.value is not None
    value = decoded(made.value[5:], golden_schemas()[PREFIX].value)
    assert isinstance(value, dict)
    return value


def engines(statement: str) -> dict[str, Any]:
    """The engine's event of the statement that begins so."""
    for golden in golden_ddl():
        assert golden.value is not None
        value = decoded(golden.value, golden_schemas()[PREFIX].value)
        if value["ddl"].startswith(statement):
            assert isinstance(value, dict)
            return value
    raise AssertionError(f"no event of {statement}")


def test_schemas_are_debeziums_to_the_order_of_attributes() -> None:
    golden = golden_schemas()[PREFIX]
    assert json.dumps(key_schema("mysql")) == json.dumps(golden.key)
    assert json.dumps(value_schema("mysql")) == json.dumps(golden.value)


def test_mariadbs_schemas_are_named_for_it() -> None:
    for make in (key_schema, value_schema):
        mysql = json.dumps(make("mysql"))
        assert json.dumps(make("mariadb")) == mysql.replace("connector.mysql", "connector.mariadb")


def test_a_new_table_is_described_as_debezium_does(topic: DdlTopic) -> None:
    theirs = engines("create table ddl_a")
    made = event(topic, theirs["ddl"], {"shop.ddl_a": CREATED})
    ours = shown(made)
    (their_change,), (our_change,) = theirs["tableChanges"], ours["tableChanges"]
    assert our_change == {**their_change, "table": untold(their_change["table"])}
    assert {name: ours[name] for name in ("databaseName", "schemaName", "ddl", "ts_ms")} == {
        **{name: theirs[name] for name in ("databaseName", "schemaName", "ddl")},
        "ts_ms": 1_790_000_000_123,
    }
    assert (ours["source"]["table"], ours["source"]["db"]) == ("ddl_a", "shop")


def test_the_key_is_the_database_and_the_topic_the_prefix(topic: DdlTopic) -> None:
    made = event(topic, "drop table a", {"shop.a": None})
    assert made.key is not None and decoded(made.key[5:], key_schema("mysql")) == {"databaseName": "shop"}
    assert (made.topic, made.id) == (PREFIX, ID)


@pytest.mark.parametrize(
    ("statement", "shape", "kind"),
    [
        ("CREATE TABLE a (id int)", CREATED, "CREATE"),
        ("/* deploy 7 */ create or replace table a (id int)", CREATED, "CREATE"),
        ("create index i on a (id)", CREATED, "ALTER"),
        ("alter table a add b int", CREATED, "ALTER"),
        ("drop table a", None, "DROP"),
    ],
)
def test_a_change_of_table_says_what_became_of_it(
    topic: DdlTopic, statement: str, shape: TableShape | None, kind: Literal["CREATE", "ALTER", "DROP"]
) -> None:
    (change,) = shown(event(topic, statement, {"shop.a": shape}))["tableChanges"]
    assert (change["type"], change["id"], change["table"] is None) == (kind, '"shop"."a"', shape is None)


def test_a_statement_about_no_table_has_no_changes(topic: DdlTopic) -> None:
    value = shown(event(topic, "create database shop", {}))
    assert (value["tableChanges"], value["source"]["table"]) == ([], None)


@pytest.mark.mysql
def test_statements_come_from_the_log_as_debezium_shows_them(mysql: MysqlDatabase) -> None:
    mysql.execute("create table before_all (id int primary key)")
    made: list[tuple[str, dict[str, Any]]] = []
    with reading(mysql, ddl=True, snapshot="never") as source:
        source.catch_up()
        # One by one, for the catalogue is read when a statement is.
        for statement in ddl():
            mysql.execute(statement)
            until(lambda: source.read() is None, "the statement is read")
        for event in source.events:
            if event.topic == PREFIX:
                value = source.value(event)
                made += [(value["ddl"], change) for change in value["tableChanges"]]
    ours = [change for statement, change in made if not is_ours_alone(statement, change)]
    theirs = [change for golden in golden_ddl() for change in streamed_changes(golden)]
    assert [named(change, mysql.name) for change in theirs] == [(change["type"], change["id"]) for change in ours]
    if mysql.flavor == "mysql":
        for our_change, their_change in zip(ours, theirs, strict=True):
            assert our_change["table"] == untold(their_change["table"])


def is_ours_alone(statement: str, change: dict[str, Any]) -> bool:
    """Debezium sees no change of a table in these, nor that the old name is gone."""
    first = statement.lower().split()[:2]
    return first in (["create", "index"], ["truncate", "table"]) or (change["type"] == "DROP" and first[0] != "drop")


def streamed_changes(golden: GoldenEvent) -> list[dict[str, Any]]:
    assert golden.value is not None
    value = decoded(golden.value, golden_schemas()[PREFIX].value)
    is_streamed = value["source"]["snapshot"] == "false" and value["source"]["db"] == SCHEMA
    return value["tableChanges"] if is_streamed else []


def named(change: dict[str, Any], database: str) -> tuple[str, str]:
    return change["type"], change["id"].replace(f'"{SCHEMA}".', f'"{database}".')


def untold(table: dict[str, Any] | None) -> dict[str, Any] | None:
    """`table` without what no catalogue told us, and with the defaults as the catalogue has them."""
    if table is None:
        return None
    columns = [{**column, **dict.fromkeys(UNTOLD)} for column in table["columns"]]
    for column in columns:
        column["defaultValueExpression"] = AS_CATALOGUED.get(column["name"], column["defaultValueExpression"])
    return {**table, "defaultCharsetName": None, "columns": columns}
