"""Events and their offset in one Kafka transaction: what a connector file must hold, and how both come together."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from service.problems import Problem


def asked_for(sink: BaseModel) -> bool:
    return bool(getattr(sink, "exactly_once", False))


def problems(sink: Any, offsets: Any) -> Iterator[Problem]:
    """Why a connector file cannot have what it asks for."""
    if not asked_for(sink):
        return
    place = ("sink", "exactly_once")
    if offsets.type != "kafka":
        accepted = 'accepted: true with "offsets": {"type": "kafka", ...} on the cluster of the sink'
        yield Problem(place, f"offsets are in {offsets.type}, which knows no transaction of Kafka; {accepted}")
    elif sink.servers != offsets.servers:
        accepted = "accepted: true where offsets.bootstrap_servers are those of the sink"
        yield Problem(place, f"a transaction cannot span two clusters, and offsets are on another one; {accepted}")


def shared(sink: Any) -> dict[str, Any]:
    """What the store is built with beside its own configuration: the one producer is as the sink wants it."""
    return {"producer": sink.transactional()}


def join(connector: str, sink: Any, store: Any) -> None:
    """Let the sink write into the transactions that the store commits. Raises OffsetError."""
    sink.join(store.transactions(connector))
