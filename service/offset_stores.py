"""Where a connector's offset is kept: in the state, or on a server that other machines reach, too."""

import offsets
from offsets.base import OffsetStore
from service import config, secrets
from service.state import State


def open_store(connector: config.Connector, state: State) -> OffsetStore:
    """Raises OffsetError, SecretMissing."""
    if connector.offsets_type == "sqlite":
        return state.offsets()
    store: OffsetStore = offsets.load(connector.offsets_type)(secrets.resolve(connector.offsets))
    return store
