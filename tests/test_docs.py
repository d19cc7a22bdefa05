"""The documents name every key and every command, and none that does not exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

import connectors
import offsets
import schema
import sinks
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


Rows = dict[str, str]
SECTIONS = {"postgres": "Keys of a Postgres source", "mysql": "Keys of a MySQL or MariaDB source"}
SECTIONS["mariadb"] = SECTIONS["mysql"]
STORE_SECTIONS = {
    "postgres": "Keys of a Postgres offset store",
    "mysql": "Keys of a MySQL or MariaDB offset store",
    "redis": "Keys of a Redis offset store",
    "kafka": "Keys of a Kafka offset store",
}


def documented(file: str, section: str = "") -> Rows:
    """The second column of each table row by the name in its first, in one section or in the whole file."""
    text = (DOCS / file).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", text, re.MULTILINE)
    return {name: default.strip("` ") for name, default in rows}


def gives_defaults(rows: Rows, model: type[BaseModel], prefix: str = "") -> bool:
    """Whether each default that is a number or a word is told as it is."""
    known = {
        path: json.dumps(default).strip('"')
        for path, default in keys(model, prefix)
        if isinstance(default, int) or (isinstance(default, str) and default)
    }
    return known.items() <= rows.items()


def test_configuration_documents_every_key_of_a_connector_and_no_other() -> None:
    rows = documented("configuration.md", "Keys of the connector")
    assert set(rows) == {*dict(keys(Connector)), "source.type", "sink.type", "registry.type", "offsets.type"}
    assert gives_defaults(rows, Connector)


@pytest.mark.parametrize("name", list(connectors.SOURCES))
def test_configuration_documents_every_key_of_a_source_and_no_other(name: str) -> None:
    config = connectors.load(name).Config
    rows = documented("configuration.md", SECTIONS[name])
    assert set(rows) == {path for path, _ in keys(config, "source.")} - {"source.type"}
    assert gives_defaults(rows, config, "source.")


def test_configuration_documents_every_key_of_a_registry_and_no_other() -> None:
    config = schema.load("confluent").Config
    rows = documented("configuration.md", "Keys of a Confluent registry")
    assert set(rows) == {path for path, _ in keys(config, "registry.")} - {"registry.type"}
    assert gives_defaults(rows, config, "registry.")


@pytest.mark.parametrize("name", list(STORE_SECTIONS))
def test_configuration_documents_every_key_of_an_offset_store_and_no_other(name: str) -> None:
    config = offsets.load(name).Config
    rows = documented("configuration.md", STORE_SECTIONS[name])
    assert set(rows) == {path for path, _ in keys(config, "offsets.")} - {"offsets.type"}
    assert gives_defaults(rows, config, "offsets.")


def test_every_offset_store_is_documented() -> None:
    rows = documented("offset-stores.md")
    assert set(rows) >= set(offsets.STORES)


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
