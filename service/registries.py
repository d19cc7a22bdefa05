"""Where the versions of a connector's events are kept: in the state, or in a registry of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

import schema
from schema.avro import adjusted_full_name
from schema.registry import Registry
from service import config, secrets
from service.problems import ConfigError
from service.state import State


def open_registry(connector: config.Connector, state: State) -> Registry:
    """Raises RegistryFailed, SecretMissing."""
    if connector.registry_type == "local":
        return state.registry()
    config = secrets.resolve(connector.registry)
    registry: Registry = schema.load(connector.registry_type)(config, state.decisions(connector.name))
    return registry


class KnownRegistry(NamedTuple):
    """A registry; of one that others use too, only the subjects that begin with one of `prefixes`."""

    name: str
    registry: Registry
    prefixes: tuple[str, ...] = ("",)

    def subjects(self) -> list[str]:
        return [subject for subject in self.registry.subjects() if subject.startswith(self.prefixes)]


class Everywhere(NamedTuple):
    """The state's registry first, then those of the connectors that ran with it; `unread` says which cannot be had."""

    known: list[KnownRegistry]
    unread: list[ConfigError]


@contextmanager
def everywhere(state: State) -> Iterator[Everywhere]:
    with ExitStack() as opened:
        found = Everywhere([KnownRegistry("local", opened.enter_context(closing(state.registry())))], [])
        for file in state.config_paths():
            try:
                connector = config.load(file)
            except ConfigError as error:
                found.unread.append(error)
                continue
            if connector.registry_type != "local":
                registry = opened.enter_context(closing(open_registry(connector, state)))
                found.known.append(KnownRegistry(f"of {connector.name}", registry, _prefixes(connector.topic_prefix)))
        yield found


def _prefixes(topic_prefix: str) -> tuple[str, ...]:
    return f"{topic_prefix}.", f"{topic_prefix}-", f"{adjusted_full_name(topic_prefix)}."
