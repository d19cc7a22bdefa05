"""What a statement in the log does, told from its words: no grammar, and no guess.

What a statement does to a table's columns is for the log or the catalogue to say; here it is enough to know which
tables it may concern. Where that is not clear, every word of it counts as a table's name.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from connectors.mysql.tokens import Name, Tokens, words_of


class Kind(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SAVEPOINT = auto()
    """Set, or released: without a name."""
    ROLLBACK_TO = auto()
    """A savepoint; in the log where the rows behind it are there, too."""
    XA_START = auto()
    XA_END = auto()
    XA_COMMIT = auto()
    XA_ROLLBACK = auto()
    DML = auto()
    TRUNCATE = auto()
    RENAME = auto()
    """And nothing else: the columns stay."""
    DROP = auto()
    DDL = auto()
    OTHER = auto()
    """Nothing that rows or columns depend on: views, routines, users."""


class Statement(NamedTuple):
    """`tables` are those it concerns, `renames` pairs of old and new in their order, `databases` those it drops.

    `words` are not empty where `tables` may not be all. `xid` is as the log shows it: ``X'7831',X'',1``.
    `opens_transaction`: rows follow, up to the commit. `moves_rows`: rows come or go without being in the log.
    """

    kind: Kind
    tables: tuple[Name, ...] = ()
    renames: tuple[tuple[Name, Name], ...] = ()
    databases: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    xid: str = ""
    savepoint: str = ""
    opens_transaction: bool = False
    moves_rows: bool = False

    def concerns(self, database: str, name: str) -> bool:
        """Whether it may touch a table."""
        return (database, name) in self.tables or database in self.databases or name in self.words

    def folded(self) -> "Statement":
        """For a server with lower_case_table_names, which stores names in lower case: its names as stored."""
        return self._replace(
            tables=tuple(map(_folded, self.tables)),
            renames=tuple((_folded(old), _folded(new)) for old, new in self.renames),
            databases=tuple(map(str.lower, self.databases)),
            words=frozenset(map(str.lower, self.words)),
        )


def _folded(name: Name) -> Name:
    return name[0].lower(), name[1].lower()


_IN_BEGINNINGS: Final = frozenset(
    {
        *("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE", "ONLINE", "OFFLINE", "CONCURRENT", "LOCAL"),
        *("TEMPORARY", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "OR", "REPLACE"),
    }
)
_MOVES: Final = frozenset(("DROP", "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT", "CONVERT"))
_ATTRIBUTES: Final = 24
"""So many tokens before the word that says what is created."""
_OBJECTS: Final = frozenset(
    {
        *("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE"),
        *("SEQUENCE", "PACKAGE", "RESOURCE", "INSTANCE", "PREPARE", "LIBRARY", "CATALOG"),
    }
)
_HARMLESS: Final = frozenset(
    {
        *("GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "CHECK", "CHECKSUM", "INSTALL", "UNINSTALL", "SHUTDOWN"),
        *("KILL", "RESET", "PURGE", "CHANGE", "STOP", "CLONE", "LOCK", "UNLOCK", "USE", "SHOW", "EXPLAIN", "DESCRIBE"),
        *("DESC", "HELP", "BINLOG", "CACHE", "COMMENT", "SIGNAL", "RESIGNAL"),
    }
)


def statement(sql: str, database: str) -> Statement:
    """What `sql`, run with the default `database`, does."""
    tokens = Tokens(sql)
    if tokens.peek().word == "SET" and tokens.peek(1).word == "STATEMENT":
        tokens.skip_until("FOR")
    while tokens.take("("):
        pass
    verb = tokens.peek().word
    read = _READERS.get(verb)
    if read is None:
        return Statement(Kind.OTHER) if verb in _HARMLESS or not verb else _unclear(Kind.DDL, sql)
    tokens.take(verb)
    said = read(tokens, database)
    if said is None:
        said = _unclear(Kind.DML if verb in _DML else Kind.DDL, sql)
    elif said.kind in (Kind.DDL, Kind.RENAME) and not tokens.is_clear:
        said = said._replace(kind=Kind.DDL, words=words_of(sql))
    return said


def _unclear(kind: Kind, sql: str) -> Statement:
    return Statement(kind, words=words_of(sql))


_Reader = Callable[[Tokens, str], Statement | None]
"""Reads behind the verb. None: it is not clear which tables are concerned."""


def _begin(tokens: Tokens, database: str) -> Statement | None:
    tokens.take("WORK")
    return Statement(Kind.BEGIN) if tokens.is_at_end else None


def _start(tokens: Tokens, database: str) -> Statement | None:
    return Statement(Kind.BEGIN if tokens.take("TRANSACTION") else Kind.OTHER)


def _commit(tokens: Tokens, database: str) -> Statement | None:
    return Statement(Kind.COMMIT)


def _rollback(tokens: Tokens, database: str) -> Statement | None:
    tokens.take("WORK")
    if not tokens.take("TO"):
        return Statement(Kind.ROLLBACK)
    tokens.take("SAVEPOINT")
    return Statement(Kind.ROLLBACK_TO, savepoint=tokens.step().text.lower())


def _savepoint(tokens: Tokens, database: str) -> Statement | None:
    return Statement(Kind.SAVEPOINT, savepoint=tokens.step().text.lower())


def _release(tokens: Tokens, database: str) -> Statement | None:
    return Statement(Kind.SAVEPOINT)


def _xa(tokens: Tokens, database: str) -> Statement | None:
    kinds = {"START": Kind.XA_START, "BEGIN": Kind.XA_START, "END": Kind.XA_END}
    kinds |= {"COMMIT": Kind.XA_COMMIT, "ROLLBACK": Kind.XA_ROLLBACK}
    kind = kinds.get(tokens.take(*kinds))
    if kind is None:
        return Statement(Kind.OTHER)
    xid = ""
    while not tokens.is_at_end and tokens.peek().word not in ("ONE", "JOIN", "RESUME", "SUSPEND"):
        xid += tokens.step().text
    return Statement(kind, xid=xid)


def _insert(tokens: Tokens, database: str) -> Statement | None:
    tokens.skip(_IN_BEGINNINGS)
    tokens.take("INTO")
    return _one_table(Kind.DML, tokens, database)


def _load(tokens: Tokens, database: str) -> Statement | None:
    if not tokens.skip_until("INTO") or not tokens.take("TABLE"):
        return None
    return _one_table(Kind.DML, tokens, database)


def _update(tokens: Tokens, database: str) -> Statement | None:
    """One table; where there are several, which of them change only a grammar could tell."""
    tokens.skip(_IN_BEGINNINGS)
    said = _one_table(Kind.DML, tokens, database)
    return said if tokens.peek().word == "SET" else None


def _delete(tokens: Tokens, database: str) -> Statement | None:
    tokens.skip(_IN_BEGINNINGS)
    if not tokens.take("FROM"):
        return None
    said = _one_table(Kind.DML, tokens, database)
    is_one = tokens.is_at_end or tokens.peek().word in ("WHERE", "ORDER", "LIMIT", "PARTITION", "RETURNING")
    return said if is_one else None


def _several(tokens: Tokens, database: str) -> Statement | None:
    return None


def _rebuild(tokens: Tokens, database: str) -> Statement | None:
    """Writes the table anew, columns in an old format in the new one."""
    tokens.take("NO_WRITE_TO_BINLOG", "LOCAL")
    return Statement(Kind.DDL, tokens.names(database)) if tokens.take("TABLE", "TABLES") else Statement(Kind.OTHER)


def _truncate(tokens: Tokens, database: str) -> Statement | None:
    tokens.take("TABLE")
    return _one_table(Kind.TRUNCATE, tokens, database)


def _one_table(kind: Kind, tokens: Tokens, database: str) -> Statement | None:
    name = tokens.name(database)
    return None if name is None else Statement(kind, (name,))


def _rename(tokens: Tokens, database: str) -> Statement | None:
    if not tokens.take("TABLE", "TABLES"):
        return Statement(Kind.OTHER) if tokens.peek().word in _OBJECTS else None
    _if_exists(tokens)
    renames: list[tuple[Name, Name]] = []
    while True:
        old = tokens.name(database)
        if tokens.take("WAIT"):
            tokens.step()
        tokens.take("NOWAIT")
        new = tokens.name(database) if tokens.take("TO") else None
        if old is None or new is None:
            return None
        renames.append((old, new))
        if not tokens.take(","):
            break
    return Statement(Kind.RENAME, tuple(name for pair in renames for name in pair), tuple(renames))


def _drop(tokens: Tokens, database: str) -> Statement | None:
    is_temporary = tokens.peek().word == "TEMPORARY"
    tokens.skip(_IN_BEGINNINGS)
    what = tokens.take("TABLE", "TABLES", "DATABASE", "SCHEMA", "INDEX")
    _if_exists(tokens)
    if what == "INDEX":
        return _one_table(Kind.DDL, tokens, database) if tokens.skip_until("ON") else None
    if what in ("DATABASE", "SCHEMA"):
        name = tokens.name("")
        return None if name is None else Statement(Kind.DROP, databases=(name[1],))
    if what:
        return Statement(Kind.OTHER) if is_temporary else Statement(Kind.DROP, tokens.names(database))
    return Statement(Kind.OTHER) if tokens.peek().word in _OBJECTS else None


def _create(tokens: Tokens, database: str) -> Statement | None:
    if _defines_no_table(tokens):
        return Statement(Kind.OTHER)
    is_temporary = "TEMPORARY" in (tokens.peek().word, tokens.peek(2).word)
    tokens.skip(_IN_BEGINNINGS)
    if tokens.take("INDEX"):
        return _one_table(Kind.DDL, tokens, database) if tokens.skip_until("ON") else None
    if tokens.take("DATABASE", "SCHEMA"):
        return Statement(Kind.OTHER)
    if not tokens.take("TABLE"):
        return None
    if is_temporary:
        return Statement(Kind.OTHER)
    _if_exists(tokens)
    said = _one_table(Kind.DDL, tokens, database)
    return said and said._replace(opens_transaction=tokens.ends_with("START", "TRANSACTION"))


def _alter(tokens: Tokens, database: str) -> Statement | None:
    if _defines_no_table(tokens) or tokens.take("DATABASE", "SCHEMA"):
        return Statement(Kind.OTHER)
    tokens.skip(_IN_BEGINNINGS)
    if not tokens.take("TABLE"):
        return None
    _if_exists(tokens)
    old = tokens.name(database)
    if old is None:
        return None
    begins = tokens.peek().word
    named: list[Name] = []
    renames: tuple[tuple[Name, Name], ...] = ()
    moves_rows = False
    while not tokens.is_at_end:
        word = tokens.step().word
        follows = tokens.peek().word
        is_renamed = word == "RENAME" and follows not in ("COLUMN", "INDEX", "KEY")
        if is_renamed:
            tokens.take("TO", "AS", "=")
        elif word not in ("WITH", "TO", "CONVERT") or not tokens.take("TABLE"):
            moves_rows |= word in _MOVES and follows in ("PARTITION", "TABLESPACE")
            continue
        if (name := tokens.name(database)) is not None:
            named.append(name)
            renames = ((old, name),) if is_renamed else renames
            if begins == "RENAME" and tokens.is_at_end:
                return Statement(Kind.RENAME, (old, name), ((old, name),))
    return Statement(Kind.DDL, (old, *named), renames, moves_rows=moves_rows)


def _defines_no_table(tokens: Tokens) -> bool:
    """``CREATE OR REPLACE DEFINER = ... SQL SECURITY INVOKER VIEW``: what is defined stands behind its attributes."""
    for ahead in range(_ATTRIBUTES):
        word, follows = tokens.peek(ahead).word, tokens.peek(ahead + 1).word
        if word in ("TABLE", "INDEX", "DATABASE", "SCHEMA", "("):
            return False
        if word in _OBJECTS or (word == "SPATIAL" and follows == "REFERENCE"):
            return True
    return False


def _if_exists(tokens: Tokens) -> None:
    if tokens.take("IF"):
        tokens.take("NOT")
        tokens.take("EXISTS")


_DML: Final[Mapping[str, _Reader]] = {
    "INSERT": _insert,
    "REPLACE": _insert,
    "UPDATE": _update,
    "DELETE": _delete,
    "LOAD": _load,
    **dict.fromkeys(("WITH", "CALL", "DO", "SELECT", "VALUES", "TABLE", "HANDLER", "EXECUTE", "IMPORT"), _several),
}
_READERS: Final[Mapping[str, _Reader]] = {
    **_DML,
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "XA": _xa,
    "TRUNCATE": _truncate,
    "RENAME": _rename,
    "DROP": _drop,
    "CREATE": _create,
    "ALTER": _alter,
    "OPTIMIZE": _rebuild,
    "REPAIR": _rebuild,
}
