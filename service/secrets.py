"""Secrets stand in a connector file only as references; the value is read when it is used.

Models mark them as pydantic's SecretStr, which shows no value when it is printed or logged.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, SecretStr

from service.problems import Loc, Problem

Model = TypeVar("Model", bound=BaseModel)

_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")
HINT = "let each reference lead to a value where tailrace runs, as its user, and start it again"
ACCEPTED = "accepted: ${env:NAME} or ${file:PATH}"


class SecretMissing(Exception):
    """The reference leads nowhere. Says which variable or file, never a value."""

    retryable = False
    hint = HINT


def resolve(model: Model) -> Model:
    """A copy with every secret's value in place of its reference. Raises SecretMissing."""
    updates: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            updates[name] = resolve(value)
        elif isinstance(value, SecretStr):
            updates[name] = SecretStr(_read(value.get_secret_value()))
    return model.model_copy(update=updates)


def values(model: BaseModel) -> Iterator[str]:
    """Every secret's value, for a log to hide. Raises SecretMissing."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from values(value)
        elif isinstance(value, SecretStr):
            yield _read(value.get_secret_value())


def problems(model: BaseModel, loc: Loc = ()) -> Iterator[Problem]:
    """Secrets in clear text, references that lead nowhere, references where no secret belongs."""
    for name, field in type(model).model_fields.items():
        value, here = getattr(model, name), (*loc, field.alias or name)
        if isinstance(value, BaseModel):
            yield from problems(value, here)
        elif isinstance(value, SecretStr):
            try:
                _read(value.get_secret_value())
            except SecretMissing as missing:
                yield Problem(here, str(missing))
        elif isinstance(value, str) and _REFERENCE.search(value):
            yield Problem(here, f"{value} is not read here, only secrets are references; accepted: the value itself")


def _read(reference: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise SecretMissing(
            f"a secret in clear text is refused; put it into an environment variable or a file; {ACCEPTED}"
        )
    kind, name = match.groups()
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            state = "is empty" if name in os.environ else "is not set"
            raise SecretMissing(f"the environment variable {name} {state}; {ACCEPTED}")
        return value
    try:
        value = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SecretMissing(f"the file {name} cannot be read: {reason}; {ACCEPTED}") from None
    if not value:
        raise SecretMissing(f"the file {name} is empty; {ACCEPTED}")
    return value
