"""`tailrace schemas`: the versions of each table's events."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from schema.decisions import Decision
from schema.registry import RegisteredVersion, Registry
from schema.versions import diff as difference
from service.cli_offsets import DEFAULT_STATE, StateFolder, echo_table
from service.refused import Refused
from service.registries import KnownRegistry, everywhere
from service.state import State

app = typer.Typer(no_args_is_help=True, help="Look at the versions of each table's events.")

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="As `schemas list` names it.")]
FINDINGS = 1


@app.command("list")
def list_(state: StateFolder = DEFAULT_STATE) -> None:
    """List every subject with its latest version, and what was decided last where the registry said no."""
    with _everywhere(state) as registries, closing(State.open(state, create=False).decisions()) as decisions:
        rows = [
            (subject, str(version.version), str(version.id), one.name, _last(decisions.of(subject)))
            for one in registries
            for subject in one.subjects()
            for version in one.registry.versions(subject)[-1:]
        ]
    if not rows:
        typer.echo(f"no schemas are stored in {state}", err=True)
        return
    columns = 3 if len(registries) == 1 else 5
    echo_table([row[:columns] for row in [("SUBJECT", "VERSION", "ID", "REGISTRY", "DECIDED"), *rows]])


@app.command()
def show(
    subject: Subject,
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", help="Default: the latest.")] = None,
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print one version as an Avro schema; what was decided about the subject's versions goes to standard error."""
    with _everywhere(state) as registries, closing(State.open(state, create=False).decisions()) as decisions:
        registry = _holder(registries, subject)
        found = _find(registry, subject, version)
        typer.echo(json.dumps(registry.schema(found.id), indent=2))
        for decision in decisions.of(subject):
            if version in (None, decision.version):
                typer.echo(_told(decision), err=True)


@app.command()
def diff(
    subject: Subject,
    old: Annotated[int | None, typer.Argument(metavar="[A", help="Default: the last but one.")] = None,
    new: Annotated[int | None, typer.Argument(metavar="B]", help="Default: the latest.")] = None,
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Say what changed between two versions; exit 1 where readers of B cannot read events of A."""
    with _everywhere(state) as registries:
        registry = _holder(registries, subject)
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


def _last(decisions: list[Decision]) -> str:
    """The last decision, where it followed a no."""
    last = decisions[-1] if decisions else None
    return f"{last.outcome}: {'; '.join(last.reasons)}" if last and last.reasons else "-"


def _told(decision: Decision) -> str:
    """``2026-11-23 09:30:00 shop: version 2 (id 7): widen: note may no longer be null``."""
    at = datetime.fromtimestamp(decision.decided_at_ms / 1000, UTC)
    which = "no version" if decision.version is None else f"version {decision.version} (id {decision.schema_id})"
    why = "".join(f": {reason}" for reason in ["; ".join(decision.reasons)] if reason)
    return f"{at:%Y-%m-%d %H:%M:%S}Z {decision.connector}: {which}: {decision.outcome}{why}"


def _holder(registries: list[KnownRegistry], subject: str) -> Registry:
    for one in registries:
        if one.registry.versions(subject):
            return one.registry
    known = ", ".join(subject for one in registries for subject in one.subjects()) or "none"
    raise Refused(f"{subject} is not a subject of this state", f"these are: {known}")


def _find(registry: Registry, subject: str, version: int | None) -> RegisteredVersion:
    versions = registry.versions(subject)
    found = [known for known in versions if version in (None, known.version)]
    if not found:
        raise Refused(f"{subject} has no version {version}", f"its versions are 1 to {versions[-1].version}")
    return found[-1]


@contextmanager
def _everywhere(directory: Path) -> Iterator[list[KnownRegistry]]:
    with everywhere(State.open(directory, create=False)) as found:
        for error in found.unread:
            typer.echo(f"not shown, where its registry is another: {error}", err=True)
        yield found.known
