"""A Postgres source read in the test's own process, its events decoded."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from offsets.position import Offset
from tests.contract.engines import PostgresEngine, Reading, Shop
from tests.servers import Database


def reading(
    postgres: Database, folder: Path, after: Offset | None = None, **source: Any
) -> AbstractContextManager[Reading]:
    """The test's database, read from `after` on."""
    return Shop(PostgresEngine(postgres), folder).reading(after, **source)
