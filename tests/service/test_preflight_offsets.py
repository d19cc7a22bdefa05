"""What `tailrace check` says of a store whose tables the source would capture."""

from pathlib import Path
from typing import Any

import pytest

from service import config
from service.preflight_offsets import captured
from tests.service.test_config import write

POSTGRES = {"type": "postgres", "host": "db", "database": "shop", "user": "me"}
MYSQL = {"type": "mysql", "host": "db", "user": "me"}
STORE = {"type": "mysql", "host": "db", "user": "me", "database": "ops"}


@pytest.mark.parametrize(
    ("source", "store", "tables"),
    [
        (POSTGRES, {**POSTGRES}, "public.tailrace_*"),
        (POSTGRES, {**POSTGRES, "prefix": "cdc.t_"}, "cdc.t_*"),
        (POSTGRES, {**POSTGRES, "database": "ops"}, ""),
        (POSTGRES, {**POSTGRES, "host": "other"}, ""),
        ({**POSTGRES, "tables": ["!public.tailrace_*"]}, {**POSTGRES}, ""),
        ({**POSTGRES, "tables": ["public.orders"]}, {**POSTGRES}, ""),
        (POSTGRES, STORE, ""),
        (MYSQL, STORE, "ops.tailrace_*"),
        ({**MYSQL, "type": "mariadb"}, STORE, "ops.tailrace_*"),
        ({**MYSQL, "databases": ["shop"]}, STORE, ""),
        ({**MYSQL, "tables": ["!ops.*"]}, STORE, ""),
        (MYSQL, {"type": "sqlite"}, ""),
        (MYSQL, {"type": "redis", "host": "db"}, ""),
    ],
)
def test_tables_of_a_store_are_captured_where_source_and_store_meet(
    tmp_path: Path, source: dict[str, Any], store: dict[str, Any], tables: str
) -> None:
    file = write(tmp_path, {"name": "shop", "source": source, "sink": {"type": "stdout"}, "offsets": store})
    assert captured(config.load(file)) == tables
