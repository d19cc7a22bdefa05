"""SQL as words, names and signs; comments are left out, but for those that servers execute.

Source: MySQL manual, "Comment Syntax", "String Literals", "Schema Object Names"; MariaDB adds ``/*M!``.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

Name = tuple[str, str]
"""Database and table, as written; the database is the session's where the statement names none."""

# Between the marks of a comment that servers execute, /*!50000 and */, are words like any other. Whether double quotes
# hold a name or a text depends on sql_mode; where a name must stand they hold one.
_TOKEN: Final = re.compile(
    r"""\s+ | \#[^\n]* | --(?:[\s\x00-\x1f][^\n]*|$) | (?P<executed>/\*M?!\d*) | /\*.*?(?:\*/|$)
    | (?P<name>`(?:[^`]|``)*` | "(?:[^"\\]|""|\\.)*")
    | (?P<string>'(?:[^'\\]|''|\\.)*')
    | (?P<word>[\w$\udc80-\udcff]+)
    | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_ANY_WORD: Final = re.compile(r"[\w$\udc80-\udcff]+")
_ANY_QUOTED: Final = re.compile(r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"")


class Token(NamedTuple):
    """`word` is in capitals, empty for what stands in quotes; a sign is a word of its own."""

    text: str
    word: str
    is_name: bool


_END: Final = Token("", "", False)


class Tokens:
    """What is left of a statement, read no further than it is looked at."""

    def __init__(self, sql: str) -> None:
        self._more = self._split(sql)
        self._tokens: list[Token] = []
        self._at = 0
        self._is_clear = True

    def _split(self, sql: str) -> Iterator[Token]:
        executed = at = 0
        while found := _TOKEN.match(sql, at):
            start, at = found.span()
            kind, text = found.lastgroup, found[0]
            if kind in ("name", "string", "sign"):
                self._is_clear &= "\\" not in text and text not in "'\"`"
            if kind == "executed":
                executed += 1
            elif kind == "sign" and executed and sql.startswith("*/", start):
                executed -= 1
                at = start + 2
            elif kind == "name":
                yield Token(text[1:-1].replace(text[0] * 2, text[0]), "", True)
            elif kind == "word":
                yield Token(text, text.upper(), True)
            elif kind is not None:
                yield Token(text, text if kind == "sign" else "", False)

    @property
    def is_clear(self) -> bool:
        """Whether the statement's quotes mean the same in every sql_mode."""
        self._tokens.extend(self._more)
        return self._is_clear

    @property
    def is_at_end(self) -> bool:
        return self.peek() is _END

    def peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        while at >= len(self._tokens):
            token = next(self._more, None)
            if token is None:
                return _END
            self._tokens.append(token)
        return self._tokens[at]

    def step(self) -> Token:
        token = self.peek()
        self._at += 1
        return token

    def take(self, *words: str) -> str:
        """Step over the next token where it is one of `words`; empty where it is none."""
        word = self.peek().word
        if not word or word not in words:
            return ""
        self._at += 1
        return word

    def skip(self, words: frozenset[str]) -> None:
        while self.peek().word in words:
            self._at += 1

    def skip_until(self, word: str) -> bool:
        """Step behind the next `word`; False, at the end, where there is none."""
        while not self.is_at_end:
            if self.step().word == word:
                return True
        return False

    def name(self, database: str) -> Name | None:
        """``table`` or ``database.table``; None, and no step, where no name stands here."""
        first = self.peek()
        if not first.is_name:
            return None
        if self.peek(1).word == "." and self.peek(2).is_name:
            second = self.peek(2).text
            self._at += 3
            return first.text, second
        self._at += 1
        return database, first.text

    def names(self, database: str) -> tuple[Name, ...]:
        """Separated by commas."""
        found: list[Name] = []
        while (name := self.name(database)) is not None:
            found.append(name)
            if not self.take(","):
                break
        return tuple(found)

    def ends_with(self, *words: str) -> bool:
        self._tokens.extend(self._more)
        return tuple(token.word for token in self._tokens[-len(words) :]) == words


def words_of(sql: str) -> frozenset[str]:
    """Whatever may be a name, with the words in strings and comments: too many do no harm."""
    quoted = [text[1:-1].replace(text[0] * 2, text[0]) for text in _ANY_QUOTED.findall(sql)]
    return frozenset((*_ANY_WORD.findall(sql), *quoted))
