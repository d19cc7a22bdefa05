"""Tables by name: which are the user's, which of them a connector captures."""

import re
from typing import Final, NamedTuple

from connectors.mysql.config import MysqlConfig
from connectors.patterns import selected

SYSTEM_DATABASES: Final = frozenset({"mysql", "sys", "information_schema", "performance_schema"})

# gh-ost's _t_gho, _t_ghc and _t_del; pt-online-schema-change's _t_new and _t_old, which it may give more underscores.
_SHADOW: Final = re.compile(r"_.+_(?:gho|ghc|del|new|old)", re.DOTALL)


class TableName(NamedTuple):
    database: str
    name: str
    row_estimate: int = 0

    @property
    def full(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def id(self) -> str:
        return self.full


def is_captured(config: MysqlConfig, database: str, name: str) -> bool:
    """Whether the connector delivers a table. Shadow tables only where a pattern names them without a glob."""
    if database.lower() in SYSTEM_DATABASES:
        return False
    full = f"{database}.{name}"
    if is_shadow(name) and full not in (config.tables or ()):
        return False
    return selected(config.databases, database) and selected(config.tables, full)


def is_shadow(name: str) -> bool:
    """Whether an online schema change tool fills such a table, to rename it over the real one."""
    return _SHADOW.fullmatch(name) is not None


def quoted(name: str) -> str:
    """As SQL names it."""
    return "`" + name.replace("`", "``") + "`"
