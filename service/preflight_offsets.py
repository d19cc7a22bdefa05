"""`tailrace check` of where the offset is kept."""

from collections.abc import Iterator
from typing import Any

import offsets
from connectors.patterns import selected
from offsets.errors import OffsetError
from schema.preflight import Finding
from service import config, secrets
from service.offset_stores import LOCAL


def offset_findings(connector: config.Connector) -> Iterator[Finding]:
    """Of a store on a server; the state folder is looked at when it is opened."""
    if connector.offsets_type == LOCAL:
        return
    store = offsets.load(connector.offsets_type)
    place = getattr(connector.offsets, "place", connector.offsets_type)
    try:
        doubts = store.check(secrets.resolve(connector.offsets))
    except OffsetError as error:
        yield Finding("fail", str(error), error.hint)
        return
    yield Finding("ok", f"offsets are kept in {place}")
    for doubt in doubts:
        yield Finding("warn", doubt.text, doubt.mend)
    if tables := captured(connector):
        yield Finding(
            "warn",
            f"offsets are kept in a database that is captured: each save would be a change of {tables}",
            f'keep them elsewhere, or exclude them: "tables": ["!{tables}"]',
        )
    if connector.registry_type == "local":
        yield Finding(
            "warn",
            "the versions of events are kept in the state folder: on another machine their ids would begin anew",
            'set "registry" to one that every machine reaches, or keep the state folder',
        )


def captured(connector: config.Connector) -> str:
    """A glob over the store's tables where the source captures them, as far as the addresses tell; else ""."""
    source: Any = connector.source
    store: Any = connector.offsets
    kinds = {"postgres": ("postgres",), "mysql": ("mysql", "mariadb")}
    if connector.source_type not in kinds.get(connector.offsets_type, ()):
        return ""
    if (source.host, source.port) != (store.host, store.port):
        return ""
    if connector.offsets_type == "postgres":
        is_captured = source.database == store.database
        tables = f"{store.prefix}*" if "." in store.prefix else f"public.{store.prefix}*"
    else:
        is_captured = selected(source.databases, store.database)
        tables = f"{store.database}.{store.prefix}*"
    return tables if is_captured and selected(source.tables, tables.replace("*", "offset_current")) else ""
