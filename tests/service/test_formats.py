"""The two formats of the files sink, read by readers of their own."""

from typing import Any

from service.demo_events import differences
from tests.fold import fold, read_events
from tests.servers import Database, Tailrace


def without_names(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events of two connectors differ in their topic's first part, in when each was made, and in where each began."""
    for event in events:
        event["topic"] = event["topic"].partition(".")[2]
        for name in ("ts_ms", "ts_us", "ts_ns"):
            (event["value"] or {}).pop(name, None)
        source = (event["value"] or {"source": {}})["source"]
        for name in ("name", "sequence"):
            source.pop(name, None)
    return events


def test_avro_and_jsonl_hold_the_same_events(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute(
        "create table parts (id int primary key, price numeric(8,2), any_scale numeric, photo bytea, ratio float8,"
        " made timestamptz, tags text[], spec jsonb)"
    )
    connectors = []
    for form in ("avro", "jsonl"):
        directory = str(postgres.folder / form)
        sink = {"type": "files", "directory": directory, "format": form}
        connectors.append(postgres.connector(form, sink=sink, source={"snapshot": "never"}))
        tailrace.catch_up(connectors[-1])
    values = "(1, 12.50, 1e20, '\\x00ff', 'NaN', '2026-01-02 03:04:05.678+02', '{a,NULL}', '{\"a\": 1}')"
    postgres.execute(f"insert into parts values {values}, (2, null, 0.10, null, '-Infinity', null, null, null)")
    postgres.execute("update parts set id = 3, price = 0 where id = 2")
    postgres.execute("insert into parts (id) values (4)")
    postgres.execute("delete from parts where id = 4")
    for connector in connectors:
        tailrace.catch_up(connector)
    avro, jsonl = (read_events(postgres.folder / form) for form in ("avro", "jsonl"))
    assert [event["value"] and event["value"]["op"] for event in jsonl] == ["c", "c", "d", None, "c", "c", "d", None]
    assert without_names(avro) == without_names(jsonl)


def test_what_was_copied_and_changed_folds_to_the_table(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute("create table parts (id int primary key, price numeric(8,2) not null)")
    postgres.execute("insert into parts select n, n / 3.0 from generate_series(1, 1000) n")
    connector = postgres.connector()
    tailrace.catch_up(connector)
    postgres.execute("update parts set price = price + 1 where id <= 10")
    postgres.execute("delete from parts where id > 990")
    tailrace.catch_up(connector)
    rows = postgres.execute("select id, price from parts")
    table = {f'{{"id": {key}}}': {"id": key, "price": price} for key, price in rows}
    assert differences(table, fold(postgres.folder / "out")["public.parts"]) == []
