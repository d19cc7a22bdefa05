"""`tailrace dlq`: changes and events that were put aside because nothing could take them."""

from contextlib import closing
from typing import Annotated

import typer

from schema.event import DeadLetter
from service.cli_offsets import DEFAULT_STATE, StateFolder, echo_table
from service.refused import Refused
from service.state import State

app = typer.Typer(no_args_is_help=True, help="Look at dead letters.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector.")]
SHOWN_BYTES = 2000


@app.command("list")
def list_(name: Name, state: StateFolder = DEFAULT_STATE) -> None:
    """List a connector's dead letters, oldest first."""
    letters = _letters(name, state)
    if not letters:
        typer.echo(f"connector {name} has no dead letters in {state}", err=True)
        return
    rows = [(str(i), letter.table, letter.position, letter.error) for i, letter in enumerate(letters, 1)]
    echo_table([("N", "TABLE", "POSITION", "ERROR"), *rows])


@app.command()
def show(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="N", min=1, help="As `dlq list` counts.")],
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print one dead letter with its raw bytes."""
    letters = _letters(name, state)
    if number > len(letters):
        raise Refused(
            f"connector {name} has {len(letters)} dead letters, so there is no number {number}",
            f"run `tailrace dlq list {name}`",
        )
    letter = letters[number - 1]
    for field, value in zip(letter._fields, letter, strict=True):
        shown = repr(value[:SHOWN_BYTES])[2:-1] if isinstance(value, bytes) else value
        typer.echo(f"{field:<9} {'-' if value is None else shown}")


def _letters(name: str, state: StateFolder) -> list[DeadLetter]:
    with closing(State.open(state, create=False).dead_letters()) as dead_letters:
        return dead_letters.of(name)
