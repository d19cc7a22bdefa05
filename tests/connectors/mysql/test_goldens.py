"""Our events against a real Debezium engine's, schema by schema and value by value, on every server.

HOUSE_* name every difference, and nothing else may differ. The engine saw MySQL alone, for no package has its MariaDB
connector; what it showed there holds for MariaDB too.
"""

import json
from collections import defaultdict
from typing import Any

import pytest

from schema.registry import LocalRegistry
from tests.connectors.mysql.reading import reading
from tests.mysql_servers import MysqlDatabase
from tests.oracle.goldens import decoded
from tests.oracle.mysql_goldens import PREFIX, SCHEMA, GoldenEvent, golden_changes, golden_schemas, run

pytestmark = pytest.mark.mysql

NO_DAYS = "zeros"
"""Dates that are no dates: Debezium shows NULL or 1970 for them, and we nothing."""

HOUSE_SCHEMA = {
    # Its text of a default has quotes and backslashes doubled and NUL as two characters.
    ("defaults", "v"),
    ("defaults", "q"),
    ("defaults", "bi"),
    ("defaults", "vb"),
    ("defaults_required", "v"),
    ("defaults_required", "bi"),
    ("defaults_required", "vb"),
}
HOUSE_SCHEMA_OF_MARIADB = {
    # An expression that is a constant is a constant there.
    ("computed_defaults", "t")
}
HOUSE_KEY = "unique_two"
"""Of several indexes the first by name is the key here, the oldest there."""
HOUSE_VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    # Neither year 0 nor year 1 is one of another century.
    ("moments", "y"): {2000: 0, 1900: 0},
    ("moments", "dt4"): {978_307_200_000_000: -62_135_596_800_000_000},
}
AS_STREAMED = {
    # Its copy rounds a FLOAT to six digits, counts old days in the Julian calendar, and cuts the zeros off a fraction.
    *(("floats", name) for name in ("f", "f24", "fu")),
    *(("moments", name) for name in ("dt", "ts1", "ts2", "ts3", "ts4", "ts5", "ts6")),
    ("required", "ts6"),
    ("defaults", "ts6"),
}
AS_COPIED = {
    # Its stream takes Ї for a box and escapes the comma in a label.
    ("charsets", "koi8u"),
    ("commas", "e"),
}
SET_TO_NULL = ("defaults", "i4")
JSON = ("json_values", "j")
"""Here as the server writes it, there with less space and with all the digits of 1e300."""


def test_events_are_debeziums_by_copy_and_by_stream(mysql: MysqlDatabase) -> None:
    run(mysql, "catalogue")
    run(mysql, "rows")
    tables = {name for (name,) in mysql.execute("show tables")} - {NO_DAYS}
    goldens = {table: wanted(table) for table in golden_changes() if table in tables}
    copied = sum(value is not None and value["op"] == "r" for events in goldens.values() for _, value in events)
    ours: dict[str, list[tuple[bytes | None, Any]]] = defaultdict(list)
    with reading(mysql) as source:
        source.read_until(copied)
        run(mysql, "rows", offset=1000)
        run(mysql, "changes")
        source.read_until(sum(map(len, goldens.values())))
        source.catch_up()
        for event in source.events:
            table = event.topic.removeprefix(f"{PREFIX}.{mysql.name}.")
            value = None if event.value is None else decoded(event.value[5:], schema_of(source.registry, event.value))
            ours[table].append((event.key and event.key[5:], value))
        for table in goldens:
            compare_schemas(mysql, table, source.registry)
    assert set(ours) == set(goldens)
    for table, events in goldens.items():
        compare_events(mysql, table, ours[table], events)


def wanted(table: str) -> list[tuple[bytes | None, Any]]:
    """The engine's events of `table`, (key, value). A delete from a table without a key has no tombstone here."""
    schema = golden_schemas()[table].value
    events = [e for e in golden_changes()[table] if e != GoldenEvent(None, None)]
    return [(e.key, None if e.value is None else decoded(e.value, schema)) for e in events]


def schema_of(registry: LocalRegistry, wire: bytes) -> Any:
    return registry.schema(int.from_bytes(wire[1:5], "big"))


def compare_schemas(mysql: MysqlDatabase, table: str, registry: LocalRegistry) -> None:
    golden = golden_schemas()[table]
    house = HOUSE_SCHEMA | (HOUSE_SCHEMA_OF_MARIADB if mysql.flavor == "mariadb" else set())
    parts = (("key", golden.key), ("value", golden.value))
    for part, theirs in parts:
        versions = registry.versions(f"{PREFIX}.{mysql.name}.{table}-{part}")
        if theirs is None:
            assert not versions
            continue
        if (table, part) == (HOUSE_KEY, "key"):
            continue
        (version,) = versions
        shown = json.dumps(without(registry.schema(version.id), table, house))
        named = json.dumps(without(theirs, table, house)).replace(f"{PREFIX}.{SCHEMA}.", f"{PREFIX}.{mysql.name}.")
        assert shown == named.replace("connector.mysql", f"connector.{mysql.flavor}"), f"{part} of {table}"


def without(schema: Any, table: str, columns: set[tuple[str, str]]) -> Any:
    if schema["name"] == "Key":
        return schema
    before, *rest = schema["fields"]
    row = before["type"][1]
    fields = [field for field in row["fields"] if (table, field["name"]) not in columns]
    return {**schema, "fields": [{**before, "type": ["null", {**row, "fields": fields}]}, *rest]}


def compare_events(
    mysql: MysqlDatabase, table: str, ours: list[tuple[bytes | None, Any]], theirs: list[tuple[bytes | None, Any]]
) -> None:
    copied = [value["after"] for _, value in theirs if value is not None and value["op"] == "r"]
    inserted = [value["after"] for _, value in theirs if value is not None and value["op"] == "c"]
    assert len(ours) == len(theirs), table
    for nth, ((our_key, our_value), (key, value)) in enumerate(zip(ours, theirs, strict=True)):
        assert our_key == key or table == HOUSE_KEY, f"{table}, event {nth}"
        if value is None or our_value is None:
            assert value is our_value is None, f"{table}, event {nth}"
            continue
        assert our_value["op"] == value["op"], f"{table}, event {nth}"
        for image in ("before", "after"):
            # The rows of rows.sql are copied and streamed in one order.
            twins = inserted if value["op"] == "r" else copied
            twin = twins[nth % len(copied)] if nth < len(copied) + len(inserted) and twins else None
            op = "before" if image == "before" else value["op"]
            compare_rows(mysql, table, our_value[image], value[image], op, twin)
        compare_sources(mysql, our_value["source"], value["source"])


def compare_rows(mysql: MysqlDatabase, table: str, ours: Any, theirs: Any, op: str, twin: Any) -> None:
    assert (ours is None) == (theirs is None)
    for name, value in (theirs or {}).items():
        wanted = house_value(table, name, value, op, twin, theirs)
        shown = ours[name]
        if (table, name) == JSON and value is not None and (mysql.flavor == "mariadb" or op in ("before", "u")):
            # MariaDB keeps a document as it was written.
            shown, wanted = (json.dumps(json.loads(text), sort_keys=True) for text in (shown, wanted))
        if mysql.kind.name == "mariadb1011" and isinstance(wanted, float):
            # It reads a literal -0.0 as 0.
            shown, wanted = shown + 0.0, wanted + 0.0
        # repr tells -0.0 from 0.0.
        assert repr(shown) == repr(wanted), f"{op} {table}.{name} of {next(iter(theirs.values()))}"


def house_value(table: str, name: str, theirs: Any, op: str, twin: Any, row: Any) -> Any:
    """What an event shows: Debezium's own, but for the house differences."""
    column = (table, name)
    if (table == "defaults" and row["id"] in (2, 1002) and name != "id") or (column == SET_TO_NULL and op == "u"):
        return None  # where Debezium shows the default
    if column in AS_STREAMED and op == "r":
        return twin[name]
    if (column in AS_COPIED or column == JSON) and op == "c":
        return twin[name]
    return HOUSE_VALUES.get(column, {}).get(theirs, theirs) if not isinstance(theirs, (dict, list)) else theirs


def compare_sources(mysql: MysqlDatabase, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    is_copy = theirs["snapshot"] != "false"
    assert (ours["version"], ours["connector"], ours["name"]) == ("0", mysql.flavor, PREFIX)
    assert (ours["db"], ours["table"]) == (mysql.name, theirs["table"])
    assert ours["snapshot"] == ("true" if is_copy else "false")
    assert (ours["sequence"], ours["query"]) == (None, None)
    assert (ours["row"], ours["server_id"]) == (theirs["row"], theirs["server_id"])
    assert ours["ts_ms"] == ours["ts_us"] // 1000 == ours["ts_ns"] // 1_000_000 > 0
    assert ours["pos"] >= 4 and "." in ours["file"]
    assert (ours["gtid"] is None) == (theirs["gtid"] is None)
    if mysql.flavor == "mysql":
        assert (ours["thread"] is None) == (theirs["thread"] is None)
