"""What is wrong with a connector file, in sentences that name the file, the path in it and what is accepted."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Loc = tuple[int | str, ...]

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a string",
    "path": "a path, as a string",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "model": "an object",
    "dict": "an object",
}


class Problem(NamedTuple):
    """`loc` is the path inside the file, as pydantic gives it; empty where the file as a whole is meant."""

    loc: Loc
    text: str

    def __str__(self) -> str:
        return f"{dotted(self.loc)}: {self.text}" if self.loc else self.text


class ConfigError(Exception):
    """Every problem of a file, or of several: one line each, which begins with the file."""

    retryable = False

    def __init__(self, lines: Iterable[str], hint: str = "") -> None:
        self.lines = tuple(lines)
        self.hint = hint or "correct this; docs/configuration.md and `tailrace config schema` list every key"
        super().__init__("\n".join(self.lines))

    @classmethod
    def of(cls, file: Path, *problems: Problem, hint: str = "") -> "ConfigError":
        return cls([f"{file}: {problem}" for problem in problems], hint)


def dotted(loc: Loc) -> str:
    """``("source", "tables", 1)`` -> ``source.tables[1]``."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def nearest(word: object, accepted: Iterable[str]) -> str:
    """What may stand instead of `word`, with the likeliest first: ``did you mean "slot"? accepted: ...``."""
    names = list(accepted)
    close = get_close_matches(word, names, 1) if isinstance(word, str) else []
    guess = f'did you mean "{close[0]}"? ' if close else ""
    return f"{guess}accepted: {', '.join(names)}"


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # only because what stands in it is wrong, which is said of each
        yield Problem(details["loc"], _sentence(details, model))


def _sentence(details: ErrorDetails, model: type[BaseModel]) -> str:
    owner, field = _find(model, details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(details['loc'][-1], keys(owner))}"
    described = _described(field)
    if kind == "missing":
        return f"is missing; accepted: {described}"
    context = details.get("ctx", {})
    shown = "this value" if is_secret(field) else _shown(details["input"])
    if kind == "literal_error":
        words = [str(word) for word in _literals(field)] or [context["expected"]]
        return f"{shown} is not known; {nearest(details['input'], words)}"
    if kind == "value_error":  # a model's own sentence
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{shown} does not fit; accepted: {described}"
    if kind in ("too_short", "string_too_short"):
        return f"is empty; accepted: {described}"
    if kind == "string_too_long":
        return f"{shown} is longer than {context['max_length']} characters; accepted: {described}"
    wanted = next((text for name, text in _KINDS.items() if kind.startswith(f"{name}_")), "")
    if wanted and kind.endswith(("_type", "_parsing", "_from_float", "_attributes_type")):
        return f"{shown} is not {wanted}; accepted: {wanted}: {described}"
    return f"{shown} {_must(details['msg'])}; accepted: {described}"


def keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def is_secret(field: FieldInfo | None) -> bool:
    return field is not None and SecretStr in _flat(field.annotation)


def _find(model: type[BaseModel], loc: Loc) -> tuple[type[BaseModel], FieldInfo | None]:
    """The innermost model on the way to `loc`, and the field at its end."""
    field: FieldInfo | None = None
    for part in loc:
        if isinstance(part, int):
            continue
        inner = [t for t in _flat(field.annotation) if _is_model(t)] if field else []
        model = inner[0] if inner else model
        field = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
    return model, field


def _flat(annotation: Any) -> list[Any]:
    """The plain types inside unions, lists and annotations."""
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple, list):
        return [inner for argument in get_args(annotation) for inner in _flat(argument)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _literals(field: FieldInfo | None) -> list[Any]:
    return [word for t in _flat(field.annotation) for word in get_args(t)] if field else []


def _described(field: FieldInfo | None) -> str:
    return (field.description or "").rstrip(".") if field else "see docs/configuration.md"


def _must(message: str) -> str:
    return message.replace("Input should", "should", 1)


def _shown(value: object) -> str:
    if isinstance(value, (dict, list, tuple)):
        return "this value"
    return json.dumps(value, default=str)
