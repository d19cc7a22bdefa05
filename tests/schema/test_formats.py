"""Events in JSON and as CloudEvents, against those of a real Debezium engine in the same format."""

import json
from typing import Any

import pytest

from schema.connect import connect_schema
from schema.event import NEW_KEY, OLD_KEY, Event
from schema.formats import FormatName, form_of
from schema.header_text import HeaderText
from tests.oracle.format_goldens import SOURCES, GoldenPart, golden_events, golden_schemas

JAVA_17, JAVA_19 = "33999999000.0", "34000000000.0"
"""Of a float, the digits that are needed; before 19 Java wrote more for some (JDK-4511638)."""

each_source = pytest.mark.parametrize("source", SOURCES)


def shown(source: str, name: FormatName, event: Event) -> tuple[str, str]:
    form = form_of(name, lambda schema_id: golden_schemas(source)[schema_id].avro)
    assert form is not None
    made = form(event)
    return text(made.key), text(made.value)


def text(part: bytes | None) -> str:
    """Keys in their order, and numbers as Python writes them: Java's 1.0E10 is 1e10 here."""
    return "null" if part is None else wanted(json.loads(part))


def wanted(value: Any) -> str:
    return json.dumps(value).replace(JAVA_17, JAVA_19)


def schema_of(source: str, part: GoldenPart) -> Any:
    return golden_schemas(source)[int.from_bytes(part.wire[1:5], "big")].connect


@each_source
def test_json_is_what_connects_converter_writes(source: str) -> None:
    for golden in golden_events(source):
        key, value = shown(source, "json", golden.event())
        assert key == wanted(golden.key and golden.key.json)
        assert value == wanted(golden.value and golden.value.json), golden.topic


@each_source
def test_a_schema_is_shown_as_connects_converter_shows_it(source: str) -> None:
    for schema in golden_schemas(source).values():
        assert json.dumps(connect_schema(schema.avro)) == json.dumps(schema.connect)


@each_source
def test_json_with_schemas_is_what_connects_converter_writes(source: str) -> None:
    for golden in golden_events(source):
        for part, made in zip(
            (golden.key, golden.value), shown(source, "json_with_schemas", golden.event()), strict=True
        ):
            whole = part and {"schema": schema_of(source, part), "payload": part.json}
            assert made == wanted(whole), golden.topic


@each_source
def test_a_cloud_event_is_debeziums_with_an_id_of_its_own(source: str) -> None:
    for golden in golden_events(source):
        key, value = shown(source, "cloudevents", golden.event())
        assert key == wanted(golden.key and golden.key.json)
        if golden.cloud_event is None or golden.value is None:
            continue
        made = json.loads(value)
        their_id, _, ours = made["id"].partition(";event:")
        assert ours.endswith("1/2")
        data = {name: golden.value.json[name] for name in ("before", "after")}
        whole = {**golden.cloud_event, "data": data}
        assert json.dumps({**made, "id": their_id}) == wanted(whole), golden.topic


def test_rows_of_one_log_event_have_cloud_events_of_their_own() -> None:
    golden = next(golden for golden in golden_events("mysql") if golden.cloud_event)
    event = golden.event()
    ids = {json.loads(shown("mysql", "cloudevents", event._replace(id=(1, nth)))[1])["id"] for nth in range(3)}
    assert len(ids) == 3


def test_a_ddl_statement_is_a_cloud_event_of_its_own_kind() -> None:
    golden = next(golden for golden in golden_events("mysql") if golden.value and "ddl" in golden.value.json)
    assert golden.value
    made = json.loads(shown("mysql", "cloudevents", golden.event())[1])
    assert made["type"] == "io.debezium.connector.mysql.SchemaChangeEvent"
    assert made["data"]["tableChanges"] == golden.value.json["tableChanges"]
    assert made["iodebeziumop"] is None


@each_source
def test_a_header_shows_the_other_key_as_connects_converter_does(source: str) -> None:
    texts = HeaderText(lambda schema_id: golden_schemas(source)[schema_id].avro)
    moved = [golden for golden in golden_events(source) if golden.moved()]
    assert len(moved) >= 12
    for deleted, tombstone, created in zip(moved[::3], moved[1::3], moved[2::3], strict=True):
        assert deleted.key and created.key
        assert texts.of(deleted.key.wire).decode() == created.headers[OLD_KEY]
        assert texts.of(created.key.wire).decode() == deleted.headers[NEW_KEY] == tombstone.headers[NEW_KEY]


def test_a_tombstone_is_null_in_every_format() -> None:
    tombstones = [golden for golden in golden_events("postgres") if golden.value is None]
    assert tombstones
    names: tuple[FormatName, ...] = ("json", "json_with_schemas", "cloudevents")
    for name in names:
        assert {shown("postgres", name, golden.event())[1] for golden in tombstones} == {"null"}
