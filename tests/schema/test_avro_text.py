"""The text of a schema is the one that Java's Avro writes: what Debezium registers, to the byte."""

import json
from typing import Any

import pytest

from schema.avro_text import schema_text
from tests.oracle.mysql_goldens import golden_schemas


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0005, "5.0E-4"),
        (0.001, "0.001"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (12345678.0, "1.2345678E7"),
        (123456789012.5, "1.234567890125E11"),
        (1e16, "1.0E16"),
        (-2.5e-9, "-2.5E-9"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (100, "100"),
        (None, "null"),
        (False, "false"),
        ("é /\u2028\x7f😀", '"é /\u2028\x7f😀"'),
        ('\x1f\n"\\', '"\\u001F\\n\\"\\\\"'),
        ("\\u001f", '"\\\\u001f"'),
    ],
)
def test_a_default_is_written_as_java_writes_it(value: Any, text: str) -> None:
    """`text` is what Schema.toString of Avro 1.11.3 made of these defaults."""
    field = {"name": "c", "type": "double", "default": value}
    assert schema_text(field) == f'{{"name":"c","type":"double","default":{text}}}'


def test_every_schema_that_debezium_made_is_the_same_again() -> None:
    for golden in golden_schemas().values():
        for schema in filter(None, (golden.key, golden.value)):
            assert json.loads(schema_text(schema)) == schema
            assert list(json.loads(schema_text(schema))) == list(schema)
