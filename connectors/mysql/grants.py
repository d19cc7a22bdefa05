"""What the connected user may do, as SHOW GRANTS tells it, active roles included."""

import re
from typing import Any, NamedTuple, Self

import pymysql

from connectors.mysql.connection import run

_GRANT = re.compile(r"GRANT (.*) ON (?:TABLE )?(.*)\.\* TO ")
_IN_PARENTHESES = re.compile(r"\([^)]*\)")


class Grants(NamedTuple):
    """`account` is the user as SQL names it: ``'tailrace'@'%'``. `granted` maps ``*`` and patterns of databases, as
    GRANT has them, to privileges in capitals."""

    account: str
    granted: dict[str, frozenset[str]]

    @classmethod
    def of(cls, connection: "pymysql.connections.Connection[Any]") -> Self:
        """Raises pymysql.MySQLError."""
        granted: dict[str, frozenset[str]] = {}
        [(user,)] = run(connection, "select current_user()")
        for (line,) in run(connection, "show grants"):
            if found := _GRANT.match(line):
                privileges = _IN_PARENTHESES.sub("", found[1]).split(", ")
                database = found[2].strip("`").replace("``", "`")
                granted[database] = granted.get(database, frozenset()) | {name.strip() for name in privileges}
        name, _, host = user.rpartition("@")
        return cls(f"{quoted(name)}@{quoted(host)}", granted)

    def everywhere(self, privilege: str) -> bool:
        return _has(self.granted.get("*", frozenset()), privilege)

    def on(self, database: str, privilege: str) -> bool:
        """On a whole database."""
        return any(
            _has(privileges, privilege) and (pattern == "*" or re.fullmatch(_expression(pattern), database))
            for pattern, privileges in self.granted.items()
        )


def quoted(text: str) -> str:
    """As an SQL string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _has(privileges: frozenset[str], privilege: str) -> bool:
    return privilege in privileges or "ALL PRIVILEGES" in privileges


def _expression(pattern: str) -> str:
    """GRANT's pattern of a database, in which ``_`` is any character and ``%`` any number of them."""
    pieces = re.findall(r"\\(.)|(.)", pattern)
    return "".join({"%": ".*", "_": "."}.get(sign) or re.escape(literal or sign) for literal, sign in pieces)
