"""Our events against a real Debezium engine's, value by value and schema by schema.

HOUSE names every difference, and nothing else may differ.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.postgres.envelope import SOURCE_SCHEMA, SourceBlock
from schema.avro import adjusted_name, key_schema, topic_name, value_schema
from schema.change import UNCHANGED, Column, Value, completed
from schema.encoder import TableEncoder, clock
from schema.errors import Unencodable
from tests.oracle.goldens import GoldenChange, decoded, golden_changes, golden_tables

HOUSE_TEXT = {
    # Debezium drops these columns, or shows other values than the table holds; here they are the server's text.
    "public.extras": {"mr", "li", "ls", "bx", "pa", "po", "ci", "tq", "comp", "lsn", "x8", "rc", "jp", "lq"}
    | {"iv", "ov"},
    "public.odd_arrays": {"m", "iv", "x", "b1", "b8", "vb", "pt", "p", "pr", "nm", "comp"},
    "public.toasted": {"po"},
    "public.toasted_full": {"po"},
}
HOUSE_SCHEMA = {
    # A NULL among the elements loses the whole array there; here its elements are optional.
    "public.arrays": {"e", "lt"},
    "public.odd_arrays": {"e3"},
    "public.toasted": {"ea"},
    "public.toasted_full": {"ea"},
    # Avro has no decimal with a negative scale or with more digits behind the point than in all.
    "public.decimals": {"neg", "s"},
    # Expressions that are no constants are read there as if they were, infinities as some other day.
    "public.computed_defaults": {"t", "cat", "cast3", "b", "dinf", "tinf"},
}
HOUSE_VALUES: dict[tuple[str, str], dict[str, Any]] = {
    # Their snapshot counts old days in the Julian calendar, their stream does not.
    ("public.moments", "d"): {"0044-03-15 BC": -735160, "1582-10-10": -141432, "4713-11-24 BC": -2440222},
    # The end of a day is not its beginning.
    ("public.moments", "tz"): {"24:00:00+00": "24:00:00Z"},
    ("public.moments", "tz0"): {"24:00:00+00": "24:00:00Z"},
    # Elements are what the same values are in a column of their own.
    ("public.arrays", "da"): {'{2020-01-01,"0044-03-15 BC"}': [18262, -735160]},
    ("public.arrays", "ti"): {"{12:34:56.789,24:00:00}": [45296789000, 86400000000]},
    ("public.arrays", "tz"): {"{12:00:00+02,00:00:00.5-01}": ["10:00:00Z", "01:00:00.5Z"]},
    ("public.arrays", "e"): {"{sad,ok,NULL}": ["sad", "ok", None], "{NULL}": [None]},
    ("public.arrays", "lt"): {"{a.b,NULL}": ["a.b", None], "{NULL}": [None]},
    # name: their stream shows NULL, their snapshot the value.
    ("public.extras", "nm"): {"nm": "nm", "": "", 'with "q': 'with "q'},
    ("public.decimals", "neg"): {
        text: int(text).to_bytes((int(text).bit_length() + 8) // 8, "big", signed=True)
        for text in ("9999900", "-9999900", "200", "300")
    }
    | {"100": b"d", "-100": b"\x9c"},
}
REFUSED: dict[tuple[str, str], set[str]] = {
    # Debezium wraps or clamps these to another day or duration.
    ("public.moments", "d"): {"infinity", "-infinity"},
    ("public.computed_defaults", "dinf"): {"-infinity"},
    ("public.moments", "ts4"): {"294276-12-31 23:59:59.9999"},
    ("public.moments", "ts6"): {"294276-12-31 23:59:59.999999"},
    ("public.intervals", "iv"): {"178000000 years"},
    ("public.intervals", "iv0"): {"-178000000 years"},
    # A boolean has no third value.
    ("public.misc", "vb1"): {""},
}


def topics() -> list[str]:
    return sorted(golden_tables())


@pytest.mark.parametrize("name", topics())
def test_schemas_are_debeziums_to_the_order_of_attributes(name: str) -> None:
    golden = golden_tables()[name]
    house = HOUSE_TEXT.get(name, set()) | HOUSE_SCHEMA.get(name, set())
    assert topic_name("p", name) == golden.topic
    assert json.dumps(key_schema(golden.table, golden.topic)) == json.dumps(golden.key_schema)
    ours = value_schema(golden.table, golden.topic, SOURCE_SCHEMA)
    assert json.dumps(without(ours, house)) == json.dumps(without(golden.value_schema, house))


def without(envelope: Any, names: set[str]) -> Any:
    before, *rest = envelope["fields"]
    row = before["type"][1]
    fields = [field for field in row["fields"] if field["name"] not in names]
    shown = {**before, "type": ["null", {**row, "fields": fields}]}
    return {**envelope, "fields": [shown, *rest]}


def ids() -> list[str]:
    return [f"{i}-{change.table}-{change.kind}" for i, change in enumerate(golden_changes())]


@pytest.mark.parametrize("change", golden_changes(), ids=ids())
def test_events_are_debeziums_value_by_value(change: GoldenChange) -> None:
    golden = golden_tables()[change.table]
    # Where the primary key is not in the index that identifies rows, Debezium shows 0 for it.
    by_index = change.table == "public.by_index_and_key"
    encoder = TableEncoder(replace(golden.table, key=(1,)) if by_index else golden.table, 1, 2)
    change = change._replace(new=without_refused(change, encoder))
    ours = encoded(change, encoder)
    schema = value_schema(golden.table, golden.topic, SOURCE_SCHEMA)
    for (our_key, our_value), (key, value) in zip(ours, change.events, strict=True):
        if not golden.key_schema:
            assert our_key is None
        elif not by_index:
            assert our_key is not None and our_key[:5] == b"\x00\x00\x00\x00\x01"
            assert our_key[5:] == key
        if value is None:
            assert our_value is None
        else:
            assert our_value is not None and our_value[:5] == b"\x00\x00\x00\x00\x02"
            compare(change, decoded(our_value[5:], schema), decoded(value, golden.value_schema))


def without_refused(change: GoldenChange, encoder: TableEncoder) -> list[Value] | None:
    """The new row with NULL for the values that no event can hold, each of which must be refused by name."""
    row = change.new
    for i, column in enumerate(encoder.table.columns):
        refused = REFUSED.get((change.table, column.name), set())
        if row is not None and isinstance(text := row[i], bytes) and text.decode() in refused:
            with pytest.raises(Unencodable, match=rf"^{change.table}\.{column.name}: ") as caught:
                encoder.row(row)
            assert (caught.value.table, caught.value.column) == (change.table, column.name)
            row = [None if j == i else value for j, value in enumerate(row)]
    return row


def encoded(change: GoldenChange, encoder: TableEncoder) -> list[tuple[bytes | None, bytes | None]]:
    """The events of one change, as a source makes them."""
    block = SourceBlock("1", "p", "postgres", "s", "t")
    block.begin(1, 2, 3, 4)
    source, now = block.change(5), clock(6)
    old = None if change.old is None else encoder.row(change.old, key_only=change.image == "K")
    if change.new is None or (old is not None and len(change.events) > 1):
        assert old is not None
        deleted = [(encoder.key(old), encoder.delete(old, source, now)), (encoder.key(old), None)]
        if change.new is None:
            return deleted
        new = encoder.row(with_old(change.new, change))
        return [*deleted, (encoder.key(new), encoder.create(new, source, now))]
    new = encoder.row(with_old(change.new, change))
    if change.kind == "u":
        return [(encoder.key(new), encoder.update(old, new, source, now))]
    write = encoder.read if change.kind == "r" else encoder.create
    return [(encoder.key(new), write(new, source, now))]


def with_old(new: list[Value], change: GoldenChange) -> list[Value]:
    return completed(new, change.old) if change.image == "O" and change.old else new


def compare(change: GoldenChange, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["op"] == theirs["op"]
    for image, row in (("before", change.old), ("after", change.new)):
        if theirs[image] is None:
            assert ours[image] is None
            continue
        assert row is not None
        for column, value in zip(golden_tables()[change.table].table.columns, row, strict=True):
            name = adjusted_name(column.name)
            shown = theirs[image].get(name)
            wanted = house_value(change, column, value, image, shown)
            # repr tells -0.0 from 0.0 and equals itself for NaN.
            assert repr(ours[image][name]) == repr(wanted), f"{image} {name}: {value!r}"


def house_value(change: GoldenChange, column: Column, value: Value, image: str, theirs: Any) -> Any:
    """What an event shows for `value`: Debezium's own, but for the house differences."""
    key_image = image == "before" and change.image == "K"
    if value is None:
        # A NULL is a NULL, also where the column has a default.
        garbled = column.default is not None and column.name in HOUSE_SCHEMA.get(change.table, set())
        return None if column.optional else column.default.json if garbled and column.default else theirs
    if value is UNCHANGED and change.image == "O" and change.old:
        value = change.old[golden_tables()[change.table].table.columns.index(column)]
        return house_value(change, column, value, image, theirs)
    if value is UNCHANGED:
        return theirs if theirs is not None else column_placeholder(column)
    text = value.decode()
    if column.name in HOUSE_TEXT.get(change.table, set()) and not key_image:
        return text
    return HOUSE_VALUES.get((change.table, column.name), {}).get(text, theirs)


def column_placeholder(column: Column) -> Any:
    assert column.type.unavailable is not None
    return decoded(column.type.unavailable, column.type.avro)
