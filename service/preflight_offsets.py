"""`tailrace check` of where the offset is kept."""

from collections.abc import Iterator

import offsets
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
    if _is_captured(connector):
        yield Finding(
            "warn",
            f"offsets are kept in a database that is captured: each save would be a change of {place}",
            f'keep them elsewhere, or exclude their tables: "tables": ["!{_tables(connector)}"]',
        )
    if connector.registry_type == "local":
        yield Finding(
            "warn",
            "the versions of events are kept in the state folder: on another machine their ids would begin anew",
            'set "registry" to one that every machine reaches, or keep the state folder',
        )


def _is_captured(connector: config.Connector) -> bool:
    """Whether source and store are one database, as far as their addresses tell, and its tables are not excluded."""
    source, store = connector.source, connector.offsets
    families = {"mariadb": "mysql"}
    if families.get(connector.source_type, connector.source_type) != connector.offsets_type:
        return False
    same = all(getattr(source, key, None) == getattr(store, key, None) for key in ("host", "port"))
    if connector.offsets_type == "postgres":
        same = same and getattr(source, "database", None) == getattr(store, "database", None)
    return same and f"!{_tables(connector)}" not in (getattr(source, "tables", None) or ())


def _tables(connector: config.Connector) -> str:
    """A glob over the store's tables, as `source.tables` has it."""
    prefix = str(getattr(connector.offsets, "prefix", ""))
    if connector.offsets_type == "postgres":
        return f"{prefix}*" if "." in prefix else f"public.{prefix}*"
    return f"{getattr(connector.offsets, 'database', '')}.{prefix}*"
