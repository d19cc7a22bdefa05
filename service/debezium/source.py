"""A Debezium connector's source keys as the `source` of a connector file.

Source: Debezium's pages of its Postgres, MySQL and MariaDB connectors, "Connector properties".
"""

from typing import Any

from connectors.patterns import selected
from service.debezium.globs import translate
from service.debezium.keys import Kind
from service.debezium.notes import STAND_IN, Notes
from service.refused import Refused

CLASSES = {
    "io.debezium.connector.postgresql.PostgresConnector": "postgres",
    "io.debezium.connector.mysql.MySqlConnector": "mysql",
    "io.debezium.connector.mariadb.MariaDbConnector": "mariadb",
}
_SNAPSHOTS = {
    "initial": "initial",
    "initial_only": "only",
    "never": "never",
    "no_data": "never",
    "schema_only": "never",
    "recovery": "initial",
    "schema_only_recovery": "initial",
}
_TLS_MODES = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
    "trust": "require",
}
_TIME = {"postgres": ("adaptive",), "mysql": ("adaptive_time_microseconds",)}
_MOST_PARALLEL = 16


def source(notes: Notes) -> dict[str, Any]:
    """Raises Refused for a connector of another database, or without what every source needs."""
    settings = notes.settings
    kind = CLASSES.get(settings.get("connector.class"))
    if kind is None:
        raise Refused(
            f'connector.class is "{settings.get("connector.class")}"; only Postgres, MySQL and MariaDB are read here',
            "give the configuration of a Debezium connector for one of these",
        )
    settings.take("connector.class")
    if kind == "mysql" and settings.take("connector.adapter", "provider").lower() == "mariadb":
        kind = "mariadb"
    made: dict[str, Any] = {"type": kind, "host": _needed(notes, "database.hostname")}
    _port(notes, made)
    if kind == "postgres":
        made["database"] = _needed(notes, "database.dbname")
    made["user"] = _needed(notes, "database.user")
    if password := notes.secret("DATABASE_PASSWORD", "database.password"):
        made["password"] = password
    _tls(notes, kind, made)
    if kind == "postgres":
        _postgres_tables(notes, made)
        made["slot"] = notes.plain("slot.name") or "debezium"
        made["publication"] = notes.plain("publication.name") or "dbz_publication"
        _plugin(notes)
    else:
        _mysql(notes, made)
    _snapshot(notes, made)
    _times(notes, kind)
    return made


def _needed(notes: Notes, key: str) -> str:
    value = notes.plain(key)
    if not value:
        raise Refused(
            f"{notes.settings.shown(key)} is missing", "give the whole configuration that the connector runs with"
        )
    return value


def _port(notes: Notes, made: dict[str, Any]) -> None:
    port = notes.plain("database.port")
    if port.isdecimal():
        made["port"] = int(port)
    elif port and STAND_IN not in port:
        raise Refused(f"{notes.settings.shown('database.port')} is {port}", "give the port as a number")


def _tls(notes: Notes, kind: str, made: dict[str, Any]) -> None:
    key = "database.sslmode" if kind == "postgres" else "database.ssl.mode"
    tls = {}
    if (given := notes.plain(key).lower()) and given != STAND_IN:
        tls["mode"] = _TLS_MODES.get(given, given)
    elif not given:
        notes.add(
            key, Kind.DIFFERS, "not set: tailrace wants verify-full of a server elsewhere; source.tls.mode says else"
        )
    for name, theirs in (("ca", "database.sslrootcert"), ("cert", "database.sslcert"), ("key", "database.sslkey")):
        if file := notes.plain(theirs):
            tls[name] = file
            if name == "key" and file.endswith((".pk8", ".der")):
                notes.add(theirs, Kind.DECIDE, "source.tls.key must be in PEM: openssl pkcs8 -inform DER -nocrypt")
    for theirs, ours in (("database.ssl.truststore", "ca"), ("database.ssl.keystore", "cert and source.tls.key")):
        if file := notes.plain(theirs):
            notes.add(
                theirs,
                Kind.DECIDE,
                f"a Java key store is not read: export it as PEM, and name that as source.tls.{ours}",
            )
    if tls:
        made["tls"] = tls


def _plugin(notes: Notes) -> None:
    if not notes.settings.get("plugin.name"):
        notes.add(
            "plugin.name",
            Kind.DECIDE,
            "not set, which means decoderbufs: a slot of another plugin than pgoutput"
            " cannot be read: give source.slot a new name and copy the tables anew",
        )


def _postgres_tables(notes: Notes, made: dict[str, Any]) -> None:
    tables = _included(notes, "table.include.list", "table.whitelist")
    schemas = _included(notes, "schema.include.list", "schema.whitelist", qualified=False)
    if tables and schemas:
        outside = [glob for glob in tables if not selected(schemas, glob.partition(".")[0])]
        if outside:
            notes.add(
                "schema.include.list", Kind.DECIDE, f"{', '.join(outside)} may lie outside it and is captured too"
            )
    elif schemas:
        tables = [f"{schema}.*" for schema in schemas]
    tables += [f"!{glob}" for glob in _excluded(notes, "table.exclude.list", "table.blacklist")]
    tables += [f"!{glob}.*" for glob in _excluded(notes, "schema.exclude.list", "schema.blacklist", qualified=False)]
    if tables:
        made["tables"] = tables


def _mysql(notes: Notes, made: dict[str, Any]) -> None:
    databases = _included(notes, "database.include.list", "database.whitelist", qualified=False)
    databases += [
        f"!{glob}" for glob in _excluded(notes, "database.exclude.list", "database.blacklist", qualified=False)
    ]
    tables = _included(notes, "table.include.list", "table.whitelist")
    tables += [f"!{glob}" for glob in _excluded(notes, "table.exclude.list", "table.blacklist")]
    made |= {name: globs for name, globs in (("databases", databases), ("tables", tables)) if globs}
    server_id = notes.plain("database.server.id")
    if server_id.isdecimal():
        made["server_id"] = int(server_id)
    if notes.plain("include.query").lower() == "true":
        made["query"] = True
    if (notes.plain("include.schema.changes").lower() or "true") == "true":
        made["ddl"] = True
    if not notes.settings.get("bigint.unsigned.handling.mode"):
        notes.add(
            "bigint.unsigned.handling.mode", Kind.DIFFERS, "not set, which means long: such a column comes as a decimal"
        )


def _included(notes: Notes, *keys: str, qualified: bool = True) -> list[str]:
    """Globs that take at least what the expressions take."""
    value = notes.plain(*keys)
    found = translate(value, qualified=qualified)
    for each in found:
        if not each.exact:
            notes.add(
                keys[0],
                Kind.DECIDE,
                f"{each.expression} is no glob: {', '.join(each.globs)} stands for it and takes more",
            )
        elif not each.globs:
            notes.add(keys[0], Kind.DECIDE, f"{each.expression} fits no name of two parts, and is left out")
    if value != value.lower():
        notes.add(keys[0], Kind.DIFFERS, "Debezium passes over upper and lower case in names, globs do not")
    globs = [glob for each in found for glob in each.globs]
    return globs or (["*.*" if qualified else "*"] if found else [])


def _excluded(notes: Notes, *keys: str, qualified: bool = True) -> list[str]:
    """Globs that take exactly what the expressions take; one that would take more is left out."""
    globs: list[str] = []
    for each in translate(notes.plain(*keys), qualified=qualified):
        if each.exact:
            globs += each.globs
        else:
            notes.add(keys[0], Kind.DECIDE, f"{each.expression} is no glob and is left out: what it hid is captured")
    return globs


def _snapshot(notes: Notes, made: dict[str, Any]) -> None:
    mode = notes.plain("snapshot.mode").lower() or "initial"
    made["snapshot"] = _SNAPSHOTS.get(mode, "initial")
    if mode == "when_needed":
        notes.add(
            "snapshot.mode",
            Kind.DIFFERS,
            "when_needed: where the log is lost tailrace stops with the gap; it copies"
            " anew after `tailrace offsets reset NAME`",
        )
    elif mode not in _SNAPSHOTS:
        notes.add(
            "snapshot.mode",
            Kind.DECIDE,
            f"{mode}: initial stands for it: one copy at the first start; `tailrace snapshot NAME TABLE` makes others",
        )
    threads = notes.plain("snapshot.max.threads")
    if threads.isdecimal() and int(threads) > 1:
        made["snapshot_parallel"] = min(int(threads), _MOST_PARALLEL)


def _times(notes: Notes, kind: str) -> None:
    mode = notes.plain("time.precision.mode").lower()
    same = _TIME["postgres" if kind == "postgres" else "mysql"]
    if mode == "adaptive_time_microseconds" and kind == "postgres":
        notes.add("time.precision.mode", Kind.DECIDE, "time(0) to time(3) come in milliseconds; all else is the same")
    elif mode and mode not in same:
        notes.add(
            "time.precision.mode",
            Kind.DECIDE,
            f"{mode}: events have no other form for this: readers must take {same[0]}",
        )
