"""Registries by the name that a connector file gives as `registry.type`. Nothing is imported until it is named."""

from importlib import import_module
from typing import Any

REGISTRIES = {
    "local": "schema.registry:LocalRegistry",
    "confluent": "schema.confluent:ConfluentRegistry",
}


def names() -> list[str]:
    return list(REGISTRIES)


def load(name: str) -> Any:
    """The registry class, which carries its pydantic `Config`. Raises KeyError for a name that nothing provides."""
    module, _, attribute = REGISTRIES[name].partition(":")
    return getattr(import_module(module), attribute)
