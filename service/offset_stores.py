"""Where a connector's offset is kept: in the state, or on a server that other machines reach, too."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import offsets
from offsets.base import OffsetStore
from offsets.history import Stored
from offsets.position import Position
from service import config, exactly_once, exits, secrets
from service.problems import ConfigError
from service.refused import Refused
from service.state import FILE, State

LOCAL = "sqlite"


def open_store(connector: config.Connector, state: State | None) -> OffsetStore:
    """`state` is needed where the offset is kept in it. Raises OffsetError, SecretMissing."""
    if connector.offsets_type == LOCAL:
        assert state is not None
        return state.offsets()
    with exits.about(connector.name):
        shared = exactly_once.shared(secrets.resolve(connector.sink)) if exactly_once.asked_for(connector.sink) else {}
        store: OffsetStore = offsets.load(connector.offsets_type)(secrets.resolve(connector.offsets), **shared)
    return store


def move_in(connector: str, store: OffsetStore, state: State) -> bool:
    """Take over the offset that the state still has from before the connector file named `store`.

    Nothing happens where `store` knows the connector, even if an operator took its offset away.
    """
    if store.load(connector) is not None or store.changes(connector, limit=1):
        return False
    with closing(state.offsets()) as local:
        offset = local.load(connector)
        if offset is None:
            return False
        store.save(connector, *offset)
        local.replace(connector, None, f"move to {store.place}")
    return True


def moved_position(connector: config.Connector, store: OffsetStore) -> Position | None:
    """Where the connector resumes, if its offset may have been moved from another machine. Raises OffsetError."""
    offset = store.load(connector.name) if connector.offsets_type != LOCAL else None
    return offset.position if offset else None


class ConnectorStore(NamedTuple):
    """The store of one connector. `state` is None where there is none and a store on a server needs none."""

    store: OffsetStore
    state: State | None

    def holder(self, connector: str) -> str | None:
        """Who runs `connector` now, in words; None for nobody."""
        return self.store.holder(connector) or (self.state.holder(connector) if self.state else None)

    @contextmanager
    def hold(self, connector: str) -> Iterator[None]:
        """Keep `connector` from running, here and elsewhere, until the store is closed. Raises ConnectorRunning."""
        with ExitStack() as held:
            if self.state is not None:
                held.enter_context(self.state.hold(connector))
            self.store.hold(connector)
            yield


@contextmanager
def store_of(connector: str, directory: Path, file: Path | None, create: bool = False) -> Iterator[ConnectorStore]:
    """The store that the connector's file names: `file`, or the one that it last ran with.

    Raises Refused, ConfigError, StateError, OffsetError.
    """
    if file is not None:
        found = load_named(connector, file)
        state = None
        if found.offsets_type == LOCAL or (directory / FILE).exists():
            state = State.open(directory, create=create)
        with closing(open_store(found, state)) as store:
            yield ConnectorStore(store, state)
        return
    state = State.open(directory, create=create)
    with closing(_remembered(connector, state)) as store:
        yield ConnectorStore(store, state)


def load_named(connector: str, file: Path) -> config.Connector:
    """Raises Refused where it is the file of another connector, ConfigError."""
    found = config.load(file)
    if found.name != connector:
        raise Refused(
            f"{file} is the file of connector {found.name}, not of {connector}", "name the right one by --config"
        )
    return found


def _remembered(connector: str, state: State) -> OffsetStore:
    """Without its file the state is asked, which is right as long as it has an offset."""
    local = state.offsets()
    try:
        path = state.config_path(connector)
        if path is None:
            return local
        found = load_named(connector, path)
    except (ConfigError, Refused):
        if local.load(connector) is not None:
            return local
        local.close()
        raise
    if found.offsets_type == LOCAL:
        return local
    local.close()
    return open_store(found, state)


class Listed(NamedTuple):
    stored: Stored
    place: str
    holder: str | None


class Everywhere(NamedTuple):
    """Offsets of the state and of every store that its connectors use; `unread` are the errors of the others."""

    listed: list[Listed]
    unread: list[Exception]


def everywhere(directory: Path, file: Path | None) -> Everywhere:
    """With `file` only those of the store that it names. Raises StateError, ConfigError."""
    found = Everywhere([], [])
    connectors: list[config.Connector] = []
    state = None
    if file is not None:
        connectors = [config.load(file)]
    if file is None or connectors[0].offsets_type == LOCAL:
        state = State.open(directory, create=False)
        with closing(state.offsets()) as local:
            found.listed.extend(Listed(stored, local.place, state.holder(stored.connector)) for stored in local.all())
        for path in state.config_paths() if file is None else ():
            try:
                connectors.append(config.load(path))
            except ConfigError as error:
                found.unread.append(error)
    seen: list[object] = []
    for connector in connectors:
        if connector.offsets_type == LOCAL or connector.offsets in seen:
            continue
        seen.append(connector.offsets)
        try:
            with closing(open_store(connector, state)) as store:
                for stored in store.all():
                    found.listed.append(Listed(stored, store.place, store.holder(stored.connector)))
        except Exception as error:
            if not hasattr(error, "hint"):
                raise
            found.unread.append(error)
    return found
