"""Where a connector's offset is kept: in the state, or on a server that other machines reach, too."""

import offsets
from offsets.base import OffsetStore
from service import config, exactly_once, secrets
from service.state import State


def open_store(connector: config.Connector, state: State) -> OffsetStore:
    """Raises OffsetError, SecretMissing."""
    if connector.offsets_type == "sqlite":
        return state.offsets()
    store_class = offsets.load(connector.offsets_type)
    place = secrets.resolve(connector.offsets)
    if exactly_once.asked_for(connector.sink):
        store: OffsetStore = store_class(place, producer=exactly_once.producer(secrets.resolve(connector.sink)))
    else:
        store = store_class(place)
    return store
