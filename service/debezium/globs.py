"""Debezium's lists of regular expressions as globs.

Source: Debezium's pages, `table.include.list`: expressions with commas between, each against the whole name, without
regard to case. A glob takes at least what its expression takes; where it takes more, that is said.
"""

import itertools
import re
from typing import NamedTuple

_COMMA = re.compile(r"(?<!\\),")
_PARTS = re.compile(r"\[[^\]]+\]|.")
_QUALIFIED = re.compile(r"[^.]+\..+")
_MOST_BRANCHES = 64
_SPECIAL = "\\.[](){}*+?|^$"
_CLASSES = {"d": "[0-9]", "w": "[a-zA-Z0-9_]"}


class Globs(NamedTuple):
    """What one expression became. `exact` is False where the globs take names that it does not."""

    expression: str
    globs: tuple[str, ...]
    exact: bool


class _TooMuch(Exception):
    """The expression says what no glob can."""


def translate(expressions: str, *, qualified: bool = True) -> list[Globs]:
    """`qualified`: of ``schema.table``, else of a schema's or database's name alone."""
    found = (part.strip().replace("\\,", ",") for part in _COMMA.split(expressions))
    return [_translate(expression, qualified) for expression in found if expression]


def _translate(expression: str, qualified: bool) -> Globs:
    try:
        globs = _Parser(_without_anchors(expression)).parse()
        exact = True
    except _TooMuch:
        globs, exact = [_beginning(expression)], False
    if qualified:
        globs = [dotted for glob in globs for dotted in _dotted(glob)]
    return Globs(expression, tuple(dict.fromkeys(globs)), exact)


def _without_anchors(expression: str) -> str:
    expression = expression.removeprefix("^")
    return expression if expression.endswith("\\$") else expression.removesuffix("$")


def _beginning(expression: str) -> str:
    """What every name begins with, and anything behind it: takes more, never less."""
    literal = re.match(r"(?:[\w-]|\\\W)*", expression.removeprefix("^"))
    text = literal.group() if literal else ""
    behind = expression.removeprefix("^")[len(text) :]
    if "|" in expression:
        text = ""
    elif behind[:1] in ("*", "?", "{") and text:
        text = text[:-2] if text[-2:-1] == "\\" else text[:-1]
    return re.sub(r"\\(\W)", r"\1", text) + "*"


def _dotted(glob: str) -> list[str]:
    """The same names by globs that show the dot which every name has; none where the glob takes no such name."""
    globs = [glob]
    if "." not in glob:
        parts = _PARTS.findall(glob)
        globs = [
            "".join([*parts[:place], "*.*" if part == "*" else ".", *parts[place + 1 :]])
            for place, part in enumerate(parts)
            if part in ("*", "?")
        ]
    return [glob for glob in globs if _QUALIFIED.fullmatch(glob)]


class _Parser:
    """The part of Java's expressions that globs can say: characters, classes, branches, and `.*`, `.+`, `?`."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0

    def parse(self) -> list[str]:
        globs = self._branches()
        if self._at < len(self._text):
            raise _TooMuch
        return globs

    def _branches(self) -> list[str]:
        globs = self._sequence()
        while self._next() == "|":
            self._at += 1
            globs = [*globs, *self._sequence()]
        return globs

    def _sequence(self) -> list[str]:
        globs = [""]
        while self._next() not in ("", "|", ")"):
            globs = [one + other for one, other in itertools.product(globs, self._repeated(self._atom()))]
            if len(globs) > _MOST_BRANCHES:
                raise _TooMuch
        return globs

    def _atom(self) -> list[str]:
        match self._take():
            case "\\":
                escaped = self._take()
                if escaped.isalnum() and escaped not in _CLASSES:
                    raise _TooMuch
                return [_CLASSES.get(escaped) or _literal(escaped)]
            case ".":
                return ["?"]
            case "[":
                return [self._class()]
            case "(":
                return self._group()
            case character if character not in _SPECIAL:
                return [_literal(character)]
        raise _TooMuch

    def _repeated(self, atom: list[str]) -> list[str]:
        match self._next():
            case "*" if atom == ["?"]:
                atom = ["*"]
            case "+" if atom == ["?"]:
                atom = ["?*"]
            case "?":
                atom = [*atom, ""]
            case "*" | "+" | "{":
                raise _TooMuch
            case _:
                return atom
        self._at += 1
        if self._next() == "?":  # reluctant: against a whole name it takes the same
            self._at += 1
        return atom

    def _class(self) -> str:
        end = self._text.find("]", self._at)
        content = self._text[self._at : end]
        if end < 0 or not re.fullmatch(r"\^?[\w -]+", content) or content == "^":
            raise _TooMuch
        self._at = end + 1
        return f"[!{content[1:]}]" if content.startswith("^") else f"[{content}]"

    def _group(self) -> list[str]:
        if self._next() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise _TooMuch
            self._at += 2
        globs = self._branches()
        if self._take() != ")":
            raise _TooMuch
        return globs

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._next()
        if not character:
            raise _TooMuch
        self._at += 1
        return character


def _literal(character: str) -> str:
    return f"[{character}]" if character in "*?[" else character
