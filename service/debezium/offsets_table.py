"""Debezium's offsets in a database's table: `io.debezium.storage.jdbc.offset.JdbcOffsetBackingStore`.

Source: its `JdbcOffsetBackingStoreConfig`: the table debezium_offset_storage with id, offset_key, offset_val,
record_insert_ts and record_insert_seq; key and value are the JSON that Kafka Connect would write.
"""

from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import psycopg
import pymysql
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr, ValidationError

from connectors.errors import SourceError
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import connect as connect_mysql
from connectors.postgres.config import PostgresConfig
from connectors.postgres.stream import connect as connect_postgres
from offsets.debezium import DebeziumOffset, decode
from service import secrets
from service.refused import Refused

DEFAULT_TABLE = "debezium_offset_storage"
_SQL = "select offset_key, offset_val from {} order by record_insert_ts, record_insert_seq"
_ENGINES = {"postgresql": "postgres", "postgres": "postgres", "mysql": "mysql", "mariadb": "mariadb"}
_PORTS = {"postgres": 5432, "mysql": 3306, "mariadb": 3306}
_ACCEPTED = "give postgresql://USER@HOST:PORT/DATABASE or mysql://..., with ?sslmode=MODE&sslrootcert=FILE where needed"
_APPLICATION = "tailrace offsets import"


class Table(NamedTuple):
    """Where the table is. `config` reaches its database; `shown` names it in errors."""

    config: PostgresConfig | MysqlConfig
    database: str
    name: str
    shown: str


def is_url(word: str) -> bool:
    return word.removeprefix("jdbc:").partition("://")[0] in _ENGINES


def locate(url: str, table: str, password: str | None) -> Table:
    """`password` is a reference, ``${env:NAME}`` or ``${file:PATH}``; `table` may name its schema. Raises Refused,
    SecretMissing."""
    try:
        parts = urlsplit(url.removeprefix("jdbc:"))
        options = {name.lower(): value for name, value in parse_qsl(parts.query)}
        if parts.password or "password" in options:
            raise Refused(
                "the URL holds a password, which every process of this machine can see",
                "leave it out, and give --password '${env:NAME}'",
            )
        return _located(parts, options, table, password)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise Refused(f"{url}: {wrong['loc'][-1]}: {wrong['msg']}", _ACCEPTED) from None
    except ValueError as error:
        raise Refused(f"{url} is not the URL of a database: {error}", _ACCEPTED) from None


def _located(parts: SplitResult, options: dict[str, str], table: str, password: str | None) -> Table:
    kind = _ENGINES[parts.scheme]
    database = unquote(parts.path.lstrip("/"))
    user = unquote(parts.username or "") or options.pop("user", "")
    tls = {"mode": options.pop("sslmode", None), "ca": options.pop("sslrootcert", None)}
    if options:
        raise ValueError(f"{', '.join(options)} is not known")
    if not (parts.hostname and database and user):
        raise ValueError("it lacks the user, the host or the database")
    reach: dict[str, Any] = {
        "type": kind,
        "host": parts.hostname,
        "port": parts.port or _PORTS[kind],
        "user": user,
        "password": SecretStr(password) if password else None,
        "tls": tls,
    }
    shown = f"the table {table} in {parts.hostname}:{reach['port']}/{database}"
    config: PostgresConfig | MysqlConfig
    if kind == "postgres":
        config = PostgresConfig.model_validate({**reach, "database": database})
    else:
        config = MysqlConfig.model_validate({**reach, "type": "mysql"})
    return Table(secrets.resolve(config), database, table, shown)


def read_table(table: Table) -> list[DebeziumOffset]:
    """Every offset that it holds. Raises Refused, OffsetUnreadable."""
    try:
        rows = _postgres(table) if isinstance(table.config, PostgresConfig) else _mysql(table)
    except SourceError as error:
        code = 4 if error.retryable else 3
        raise Refused(f"{table.shown} cannot be read: {error}", "correct the URL or --password", code) from None
    except (psycopg.Error, pymysql.MySQLError) as error:
        reason = " ".join(str(error.args[-1] if error.args else error).split())
        raise Refused(
            f"{table.shown} cannot be read: {reason}",
            "name the one of offset.storage.jdbc.table.name by --table, and let the user read it",
            3,
        ) from None
    return decode([(_bytes(key), _bytes(value)) for key, value in rows], table.shown)


def _postgres(table: Table) -> list[tuple[Any, ...]]:
    assert isinstance(table.config, PostgresConfig)
    # Debezium writes the name without quotes, which folds it.
    name = SQL(".").join(Identifier(part.lower()) for part in table.name.split("."))
    with closing(connect_postgres(table.config, application=_APPLICATION)) as connection:
        return connection.execute(SQL(_SQL).format(name)).fetchall()


def _mysql(table: Table) -> list[tuple[Any, ...]]:
    assert isinstance(table.config, MysqlConfig)
    name = ".".join(f"`{part.replace('`', '``')}`" for part in table.name.split("."))
    with closing(connect_mysql(table.config, application=_APPLICATION)) as connection, connection.cursor() as cursor:
        connection.select_db(table.database)
        cursor.execute(_SQL.format(name))
        return list(cursor.fetchall())


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
