"""Runs in PyFlink's own environment: follows a table of a topic to the topic's end.

    flink_table.py CREATE_TABLE JAR...

Prints each change of `orders` as a JSON line: its kind (+I, -U, +U, -D), then the columns; decimals as text, bytes as
hex, dates as days since 1970.
"""

import json
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyflink.table import EnvironmentSettings, TableEnvironment


def main(create_table: str, *jars: str) -> None:
    flink = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = {
        "pipeline.jars": ";".join(Path(jar).as_uri() for jar in jars),
        "parallelism.default": "1",
        "table.exec.source.cdc-events-duplicate": "true",  # at least once: Flink drops what it has seen
        "taskmanager.memory.managed.size": "16m",
    }
    for name, value in settings.items():
        flink.get_config().set(name, value)
    flink.execute_sql(create_table)
    with flink.execute_sql("select * from orders").collect() as changes:
        for change in changes:
            print(json.dumps([str(change.get_row_kind()), *map(_plain, change)]))


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case bytes() | bytearray():
            return value.hex()
        case date():
            return (value - date(1970, 1, 1)).days
        case _:
            return value


if __name__ == "__main__":
    main(*sys.argv[1:])
