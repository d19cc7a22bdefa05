"""`tailrace dlq`: changes and events that were put aside because nothing could take them."""

from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from schema.event import StoredLetter
from service.cli_offsets import DEFAULT_STATE, Config, DryRun, StateFolder, echo_table
from service.dead_letters import ELSEWHERE
from service.offset_target import clock, config_of
from service.refused import Refused
from service.state import State

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, deliver or drop them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Letters, as `dlq list` numbers them.")]
SHOWN_BYTES = 2000
LISTED = 20


@app.command("list")
def list_(name: Name, state: StateFolder = DEFAULT_STATE) -> None:
    """List a connector's dead letters, in the order they came."""
    letters = _letters(name, state)
    if not letters:
        typer.echo(f"connector {name} has no dead letters in {state}", err=True)
        return
    rows = [
        (
            str(letter.id),
            letter.dead.table,
            letter.dead.position,
            str(letter.attempt),
            _state(letter),
            letter.dead.error,
        )
        for letter in letters
    ]
    echo_table([("ID", "TABLE", "POSITION", "ATTEMPT", "STATE", "ERROR"), *rows])


@app.command()
def show(
    name: Name,
    letter_id: Annotated[int, typer.Argument(metavar="ID", help="As `dlq list` numbers it.")],
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print one dead letter with its raw bytes."""
    (letter,) = _chosen(name, _letters(name, state), [letter_id])
    dead = letter.dead
    facts = {
        "table": dead.table,
        "topic": dead.topic,
        "key": _shown(dead.key),
        "value": _shown(dead.value),
        "schema id": "-" if dead.schema_id is None else str(dead.schema_id),
        "position": dead.position,
        "error": dead.error,
        "failed": clock(datetime.fromtimestamp(letter.failed_at_ms / 1000, UTC)),
        "attempt": str(letter.attempt),
        "state": _state(letter),
    }
    echo_table(list(facts.items()))


@app.command()
def replay(
    name: Name,
    ids: Ids = None,
    config: Config = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
) -> None:
    """Deliver a stopped connector's dead letters again, in the order of each key; exit 1 where some have to stay."""
    from service.exits import FINDINGS
    from service.offset_stores import moved_position, open_store
    from service.registries import open_registry
    from service.replay import deliver, plan, row_now

    opened = State.open(state, create=False)
    letters = _letters(name, state)
    chosen = {letter.id for letter in (_chosen(name, letters, ids) if ids else letters)}
    connector = config_of(opened, name, config)
    with (
        opened.hold(name),
        closing(opened.dead_letters()) as dead_letters,
        closing(open_store(connector, opened)) as offsets,
        closing(open_registry(connector, opened)) as registry,
    ):
        offsets.hold(name)
        moved = moved_position(connector, offsets)
        missed = dead_letters.missed(name, moved) if moved else []
        found = plan(dead_letters.of(name), chosen, offsets.load(name), row_now(registry), missed)
        kept = found.keep
        if dry_run:
            typer.echo(f"dry run: nothing was changed; to be delivered again: {_listed(found.deliver)}")
        elif found.deliver:
            refused = deliver(connector, registry, dead_letters, found.deliver)
            kept = [*kept, *refused]
            delivered = [letter for letter in found.deliver if letter not in [each.letter for each in refused]]
            typer.echo(f"delivered again: {_listed(delivered)}")
        else:
            typer.echo("delivered again: none")
    for each in kept:
        dead = each.letter.dead
        typer.echo(
            f"letter {each.letter.id} of {dead.table} at {dead.position} stays: {each.why}\n{each.hint}", err=True
        )
    if kept:
        raise typer.Exit(FINDINGS)


@app.command()
def drop(
    name: Name,
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="Every letter of the connector.")] = False,
    table: Annotated[str | None, typer.Option("--table", metavar="T", help="With --all: of this table only.")] = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
) -> None:
    """Forget dead letters for good."""
    if bool(ids) == every or (table is not None and not every):
        raise Refused("what to drop is not said", "name letters by their ID, or give --all, with --table or without")
    letters = _letters(name, state)
    chosen = _chosen(name, letters, ids) if ids else [each for each in letters if table in (None, each.dead.table)]
    if not dry_run:
        with closing(State.open(state, create=False).dead_letters()) as dead_letters:
            dead_letters.remove([letter.id for letter in chosen])
    count = f"{len(chosen)} of {len(letters)} dead letters of connector {name}"
    typer.echo(f"dry run: nothing was changed; to be dropped: {count}" if dry_run else f"dropped {count}")


def _letters(name: str, state: Path) -> list[StoredLetter]:
    """Raises Refused for a name that the state has never heard."""
    opened = State.open(state, create=False)
    with closing(opened.dead_letters()) as dead_letters, closing(opened.offsets()) as offsets:
        letters = dead_letters.of(name)
        known = {*opened.connectors(), *(stored.connector for stored in offsets.all())}
    if not letters and name not in known:
        hint = f"these have: {', '.join(sorted(known))}; or name another" if known else "none has; name another"
        raise Refused(f"connector {name} has never run with the state in {state}", f"{hint} state by --state")
    return letters


def _chosen(name: str, letters: list[StoredLetter], ids: Iterable[int]) -> list[StoredLetter]:
    by_id = {letter.id: letter for letter in letters}
    if missing := [str(id_) for id_ in ids if id_ not in by_id]:
        raise Refused(f"connector {name} has no dead letter {', '.join(missing)}", f"run `tailrace dlq list {name}`")
    return [by_id[id_] for id_ in dict.fromkeys(ids)]


def _state(letter: StoredLetter) -> str:
    if not letter.dead.is_event:
        return "no event"
    if letter.superseded_by == letter.dead.position:
        return "came again"
    if letter.superseded_by == ELSEWHERE:
        return f"superseded {ELSEWHERE}"
    return f"superseded by {letter.superseded_by}" if letter.superseded_by else "waits"


def _shown(data: bytes | None) -> str:
    return "-" if data is None else repr(data[:SHOWN_BYTES])[2:-1]


def _listed(letters: list[StoredLetter]) -> str:
    ids = ", ".join(str(letter.id) for letter in letters[:LISTED])
    more = f" and {len(letters) - LISTED} more" if len(letters) > LISTED else ""
    return f"{len(letters)} ({ids}{more})" if letters else "none"
