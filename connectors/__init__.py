"""Sources by the name that a connector file gives as `source.type`. Nothing is imported until it is named."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

SOURCES = {
    "postgres": "connectors.postgres.source:PostgresSource",
    "mysql": "connectors.mysql.source:MysqlSource",
    "mariadb": "connectors.mysql.source:MariadbSource",
}
ENTRY_POINTS = "tailrace.sources"


def names() -> list[str]:
    """Every name that `load` knows, the built-in ones first."""
    return [*SOURCES, *sorted(e.name for e in entry_points(group=ENTRY_POINTS) if e.name not in SOURCES)]


def load(name: str) -> Any:
    """The source class, which carries its pydantic `Config`. Raises KeyError for a name that nothing provides."""
    if name in SOURCES:
        module, _, attribute = SOURCES[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry.load()
    raise KeyError(name)
