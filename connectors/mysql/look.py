"""A server that `tailrace check` looks at."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import pymysql

from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import Server, identify, run
from connectors.mysql.grants import Grants
from connectors.mysql.opening import NAMES


class Look(NamedTuple):
    """`settings` are the server's global variables, their names in small letters."""

    config: MysqlConfig
    connection: "pymysql.connections.Connection[Any]"
    server: Server
    settings: Mapping[str, str]
    grants: Grants

    @classmethod
    def at(cls, config: MysqlConfig, connection: "pymysql.connections.Connection[Any]") -> Self:
        """Raises SourceError, pymysql.MySQLError."""
        settings = {name.lower(): value for name, value in run(connection, "show global variables")}
        return cls(config, connection, identify(connection), settings, Grants.of(connection))

    @property
    def engine(self) -> str:
        """Its name as people write it."""
        return NAMES[self.server.flavor]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Raises pymysql.MySQLError."""
        return run(self.connection, sql, values or None)

    def is_on(self, *names: str) -> bool:
        """Whether any of the settings is on; one that the server does not know is off."""
        return any(self.settings.get(name, "OFF").upper() in ("ON", "1") for name in names)

    def set(self, name: str, value: str) -> str:
        """The statement that changes a setting for sessions to come and keeps it, as far as a statement can."""
        if self.server.flavor == "mysql":
            return f"set persist {name} = {value}"
        return f"set global {name} = {value} -- and in my.cnf"
