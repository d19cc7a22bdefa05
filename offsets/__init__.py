"""Offset stores by the name that a connector file gives as `offsets.type`. Nothing is imported until it is named."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

STORES = {
    "sqlite": "offsets.sqlite:SqliteStore",
    "postgres": "offsets.postgres:PostgresStore",
    "mysql": "offsets.mysql:MysqlStore",
    "redis": "offsets.redis:RedisStore",
    "kafka": "offsets.kafka:KafkaStore",
}
ENTRY_POINTS = "tailrace.offsets"


def names() -> list[str]:
    """Every name that `load` knows, the built-in ones first."""
    return [*STORES, *sorted(e.name for e in entry_points(group=ENTRY_POINTS) if e.name not in STORES)]


def load(name: str) -> Any:
    """The store's class, which carries its pydantic `Config`. Raises KeyError for a name that nothing provides."""
    if name in STORES:
        module, _, attribute = STORES[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry.load()
    raise KeyError(name)
