"""`tailrace check` for MySQL and MariaDB: what `run` would stumble over, with the SQL or setting that mends it."""

from collections.abc import Iterator
from contextlib import closing

import pymysql

from connectors.errors import SourceError
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import connect, source_error
from connectors.mysql.look import Look
from connectors.mysql.opening import FIRST_VERSION, NAMES
from connectors.mysql.preflight_tables import check_tables
from schema.preflight import Finding

_DAY_S = 86_400
SHORTEST_EXPIRY_S = 2 * _DAY_S
_REPLICA_WORD_SINCE = (8, 0, 22)
_GTID_STEPS = (
    "enforce_gtid_consistency = ON",
    "gtid_mode = OFF_PERMISSIVE",
    "gtid_mode = ON_PERMISSIVE",
    "gtid_mode = ON",
)
_PRIVILEGES = {
    "REPLICATION SLAVE": ("REPLICATION SLAVE", "REPLICATION REPLICA"),
    "REPLICATION CLIENT": ("REPLICATION CLIENT", "BINLOG MONITOR"),
}
"""As GRANT knows them on every server, and as SHOW GRANTS may call them."""


def check(config: MysqlConfig) -> Iterator[Finding]:
    """Findings in the order in which `run` would meet them. Changes nothing; never raises SourceError."""
    try:
        with closing(connect(config, application="tailrace check")) as connection:
            yield from _checked(Look.at(config, connection))
    except SourceError as error:
        yield Finding("fail", str(error), error.hint)
    except (pymysql.MySQLError, OSError) as error:
        mapped = source_error(error, config)
        yield Finding("fail", str(mapped), mapped.hint)


def _checked(look: Look) -> Iterator[Finding]:
    yield from _server(look)
    if look.is_on("log_bin"):
        yield Finding("ok", "log_bin is ON")
        yield from _content(look)
        yield from _kept(look)
    else:
        yield Finding("fail", "log_bin is OFF: the server keeps no log of changes", "log_bin = binlog in my.cnf")
    yield from _identity(look)
    yield from _reader(look)
    yield from _privileges(look)
    yield Finding("ok", "times are read in UTC, whatever time zone the server or a session has")
    yield from check_tables(look)


def _server(look: Look) -> Iterator[Finding]:
    flavor, version, config = look.server.flavor, look.server.version, look.config
    yield Finding("ok", f"connected to {look.engine} {'.'.join(map(str, version))} as {config.user}")
    if config.type != flavor:
        yield Finding("fail", f"the server is {look.engine} and not {NAMES[config.type]}", f'write "type": "{flavor}"')
    if version < FIRST_VERSION[flavor]:
        oldest = ".".join(map(str, FIRST_VERSION[flavor]))
        yield Finding("fail", f"the server is older than {look.engine} {oldest}", "upgrade the server")


def _content(look: Look) -> Iterator[Finding]:
    """What the log tells of a change."""
    style = look.settings.get("binlog_format", "ROW")
    if style == "ROW":
        yield Finding("ok", "binlog_format is ROW; for a session that sets another there is source.statements")
    else:
        yield Finding(
            "warn" if look.config.statements == "skip" else "fail",
            f"binlog_format is {style}: a change that is logged as a statement has no rows",
            look.set("binlog_format", "ROW"),
        )
    image = look.settings.get("binlog_row_image", "FULL")
    if image.startswith("FULL"):  # MariaDB 11.4 has FULL_NODUP, too
        yield Finding("ok", f"binlog_row_image is {image}")
    else:
        yield Finding(
            "warn",
            f"binlog_row_image is {image}: updates and deletes come without the columns that the log leaves out",
            look.set("binlog_row_image", "FULL"),
        )
    metadata = look.settings.get("binlog_row_metadata", "FULL")
    if metadata == "FULL":
        yield Finding("ok", "binlog_row_metadata is FULL")
    else:
        yield Finding(
            "warn",
            f"binlog_row_metadata is {metadata}: the log does not name columns, so that a table which is altered while "
            "the connector is stopped may have to be copied anew",
            look.set("binlog_row_metadata", "FULL"),
        )
    if look.settings.get("binlog_row_value_options") and not image.startswith("FULL"):
        yield Finding(
            "fail",
            f"binlog_row_value_options is PARTIAL_JSON and binlog_row_image is {image}: the log has parts of JSON "
            "values and not what they belong to",
            look.set("binlog_row_value_options", "''"),
        )


def _kept(look: Look) -> Iterator[Finding]:
    """For how long the log is there."""
    expiry_s = float(look.settings.get("binlog_expire_logs_seconds", "0"))
    if not expiry_s or look.settings.get("binlog_expire_logs_auto_purge") == "OFF":
        yield Finding("ok", "binlogs do not expire")
    elif expiry_s >= SHORTEST_EXPIRY_S:
        yield Finding("ok", f"binlogs expire after {expiry_s / _DAY_S:.4g} days")
    else:
        yield Finding(
            "warn",
            f"binlogs expire after {expiry_s / 3_600:.4g} hours: a connector that is stopped for longer loses changes",
            look.set("binlog_expire_logs_seconds", str(7 * _DAY_S)),
        )
    for name in ("max_binlog_total_size", "binlog_space_limit"):
        size_bytes = int(look.settings.get(name, "0"))
        if size_bytes:
            yield Finding(
                "warn",
                f"{name} is {size_bytes:,}: a connector that is stopped while more bytes of log are written loses "
                "changes",
                look.set(name, "0"),
            )
            return  # MariaDB has one setting under both names


def _identity(look: Look) -> Iterator[Finding]:
    """Whether another server can take this one's place."""
    if look.server.gtids:
        yield Finding("ok", "transactions have GTIDs: the connector can follow a failover")
    else:
        yield Finding(
            "warn",
            f"gtid_mode is {look.settings.get('gtid_mode', 'OFF')}: no other server knows our position, so that every "
            "table is copied anew after a failover",
            "; ".join(f"set persist {step}" for step in _GTID_STEPS),
        )
    if _is_replica(look) and not look.is_on("log_replica_updates", "log_slave_updates"):
        yield Finding(
            "fail",
            "the server is a replica, and with log_replica_updates = OFF its log lacks what it replicates",
            "point source.host at its source, or log_replica_updates = ON in my.cnf",
        )


def _is_replica(look: Look) -> bool:
    if look.server.flavor == "mariadb":  # SHOW REPLICA STATUS wants a privilege that nothing else here needs
        return bool(look.settings.get("gtid_slave_pos"))
    try:
        return bool(look.rows(f"show {_replica_word(look)} status"))
    except pymysql.err.OperationalError:  # no REPLICATION CLIENT: a finding of its own
        return False


def _replica_word(look: Look) -> str:
    is_old = look.server.flavor == "mysql" and look.server.version < _REPLICA_WORD_SINCE
    return "slave" if is_old else "replica"


def _reader(look: Look) -> Iterator[Finding]:
    """Our id among those that read the log."""
    ours = look.config.server_id
    if look.server.server_id == 0:
        yield Finding("fail", "server_id is 0: the server lets nobody read its log", look.set("server_id", "1"))
    elif ours == look.server.server_id:
        yield Finding("fail", f"source.server_id {ours} is the server's own", "choose another, or leave it out")
    elif ours in _readers(look):
        yield Finding(
            "warn",
            f"a reader with server id {ours} is connected; unless it is this connector, each throws the other out",
            "choose another source.server_id, or leave it out",
        )


def _readers(look: Look) -> set[int]:
    """The ids of the readers that introduced themselves; empty where we may not ask."""
    statement = "show replicas" if look.server.flavor == "mysql" else "show replica hosts"
    if _replica_word(look) == "slave":
        statement = "show slave hosts"
    try:
        return {int(row[0]) for row in look.rows(statement)}
    except pymysql.err.OperationalError:
        return set()


def _privileges(look: Look) -> Iterator[Finding]:
    lacking = [name for name, known_as in _PRIVILEGES.items() if not any(map(look.grants.everywhere, known_as))]
    if lacking:
        listed = ", ".join(lacking)
        yield Finding(
            "fail", f"{look.config.user} lacks {listed}", f"grant {listed.lower()} on *.* to {look.grants.account}"
        )
    else:
        yield Finding("ok", f"{look.config.user} may read the log")
