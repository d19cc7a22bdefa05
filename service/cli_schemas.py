"""`tailrace schemas`: the versions of each table's events."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from schema.registry import RegisteredVersion, Registry
from schema.versions import diff as difference
from service.cli_offsets import DEFAULT_STATE, StateFolder, echo_table
from service.refused import Refused
from service.state import State

app = typer.Typer(no_args_is_help=True, help="Look at the versions of each table's events.")

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="`TOPIC-key` or `TOPIC-value`.")]
FINDINGS = 1


@app.command("list")
def list_(state: StateFolder = DEFAULT_STATE) -> None:
    """List every subject with its latest version."""
    with _registry(state) as registry:
        latest = [(subject, registry.versions(subject)[-1]) for subject in registry.subjects()]
    if not latest:
        typer.echo(f"no schemas are stored in {state}", err=True)
        return
    rows = [(subject, str(version.version), str(version.id)) for subject, version in latest]
    echo_table([("SUBJECT", "VERSION", "ID"), *rows])


@app.command()
def show(
    subject: Subject,
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", help="Default: the latest.")] = None,
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print one version as an Avro schema."""
    with _registry(state) as registry:
        found = _find(registry, subject, version)
        typer.echo(json.dumps(registry.schema(found.id), indent=2))


@app.command()
def diff(
    subject: Subject,
    old: Annotated[int | None, typer.Argument(metavar="[A", help="Default: the last but one.")] = None,
    new: Annotated[int | None, typer.Argument(metavar="B]", help="Default: the latest.")] = None,
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Say what changed between two versions; exit 1 where readers of B cannot read events of A."""
    with _registry(state) as registry:
        after = _find(registry, subject, new)
        before = _find(registry, subject, old if old is not None else max(1, after.version - 1))
        found = difference(registry.schema(before.id), registry.schema(after.id))
    typer.echo(f"{subject}: version {before.version} -> {after.version}")
    for change in found.changes or ["nothing changed"]:
        typer.echo(f"  {change}{' (not compatible)' if change in found.conflicts else ''}")
    if not found.is_compatible:
        typer.echo(f"not compatible: a reader of version {after.version} cannot read events of {before.version}")
        raise typer.Exit(FINDINGS)
    typer.echo(f"compatible: a reader of version {after.version} can read events of {before.version}")


def _find(registry: Registry, subject: str, version: int | None) -> RegisteredVersion:
    versions = registry.versions(subject)
    if not versions:
        known = ", ".join(registry.subjects()) or "none"
        raise Refused(f"{subject} is not a subject of this state", f"these are: {known}")
    found = [known for known in versions if version in (None, known.version)]
    if not found:
        raise Refused(f"{subject} has no version {version}", f"its versions are 1 to {versions[-1].version}")
    return found[-1]


@contextmanager
def _registry(directory: Path) -> Iterator[Registry]:
    with closing(State.open(directory, create=False).registry()) as registry:
        yield registry
