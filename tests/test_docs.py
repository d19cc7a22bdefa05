"""The documents name every key and every command, and none that does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

import sinks
from connectors.postgres.config import PostgresConfig
from service import cli
from service.config import Connector

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(path, default) of every key that holds a value."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{path}.")
        else:
            yield path, field.default


def commands(app: typer.Typer, prefix: str = "tailrace") -> Iterator[str]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{prefix} {command.name or command.callback.__name__.strip('_')}"
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{prefix} {group.name}")


def documented(file: str) -> dict[str, str]:
    """The second column of each table row by the name in its first."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", (DOCS / file).read_text(), re.MULTILINE)
    return {name: text.strip("` ") for name, text in rows}


def test_configuration_documents_every_key_and_no_other() -> None:
    known = {*dict(keys(Connector)), *dict(keys(PostgresConfig, "source.")), "sink.type"} - {"source", "sink"}
    assert set(documented("configuration.md")) == known


def test_configuration_gives_the_defaults_as_they_are() -> None:
    rows = documented("configuration.md")
    for path, default in [*keys(Connector), *keys(PostgresConfig, "source.")]:
        if isinstance(default, int) or (isinstance(default, str) and default):
            assert rows[path] == str(default), path


@pytest.mark.parametrize("name", list(sinks.SINKS))
def test_every_key_of_a_sink_is_documented(name: str) -> None:
    text = (DOCS / "sinks.md").read_text()
    assert all(f"`{path}`" in text for path, _ in keys(sinks.load(name).Config))


def test_every_command_is_documented_and_no_other() -> None:
    named = set(documented("commands.md"))
    assert {name for name in named if name.startswith("tailrace ")} == set(commands(cli.with_subcommands()))


def test_documents_name_no_command_that_does_not_exist() -> None:
    first_words = {name.split()[1] for name in commands(cli.with_subcommands())}
    for file in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        named = set(re.findall(r"`tailrace ([a-z]+)", file.read_text()))
        assert named <= first_words, file.name
