"""`tailrace offsets`: what is stored, and changing it by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offsets.base import OffsetStore
from offsets.origin import facts
from offsets.position import Offset
from service.offset_stores import everywhere, store_of
from service.offset_target import ask, clock, config_of, consequence, copies, find, log_of, refuse_unreachable
from service.problems import ConfigError
from service.refused import Refused
from service.state import State

if TYPE_CHECKING:
    from offsets.debezium import DebeziumOffset

app = typer.Typer(no_args_is_help=True, help="Read and change stored offsets.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector.")]
StateFolder = Annotated[
    Path,
    typer.Option("--state", envvar="TAILRACE_STATE", metavar="DIR", help="The state folder that tailrace runs with."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The connector's file. Default: the one it last ran with."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would happen and change nothing.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do not ask the server whether it still has the position.")]
DEFAULT_STATE = Path("tailrace-state")
FINDINGS = 1


@app.command("list")
def list_(config: Config = None, state: StateFolder = DEFAULT_STATE) -> None:
    """List every connector with its stored position."""
    found = everywhere(state, config)
    for error in found.unread:
        typer.echo(f"not listed, where its offset is elsewhere: {error}", err=True)
    rows = [
        (
            listed.stored.connector,
            listed.stored.offset.position.token,
            _ago(listed.stored.saved_at),
            listed.holder or "-",
            listed.place,
        )
        for listed in found.listed
    ]
    if not rows:
        typer.echo(f"no offsets are stored in {config or state}", err=True)
    else:
        columns = 4 if len({listed.place for listed in found.listed}) == 1 else 5
        echo_table([row[:columns] for row in [("NAME", "POSITION", "SAVED", "RUNNING", "STORE"), *rows]])
    if any(not isinstance(error, ConfigError) for error in found.unread):
        raise typer.Exit(FINDINGS)


@app.command()
def show(name: Name, config: Config = None, state: StateFolder = DEFAULT_STATE) -> None:
    """Show one connector's position, its log, its snapshot, and what was changed by hand."""
    with store_of(name, state, config) as found:
        stored = next((stored for stored in found.store.all() if stored.connector == name), None)
        changes = found.store.changes(name)
        if stored is None and not changes:
            raise _unknown(found.store, name)
        holder = found.holder(name)
        place = found.store.place
    lines: list[tuple[str, ...]] = [("connector", name)]
    if stored is None:
        lines.append(("position", "none: the next run starts as a new connector does"))
    else:
        lines.append(("position", stored.offset.position.token))
        lines.append(("store", place))
        lines.append(("saved", f"{clock(stored.saved_at)} ({_ago(stored.saved_at)})"))
        lines.extend((key, str(value)) for key, value in facts(stored.offset.position.origin).items())
        lines.extend(
            (f"snapshot {table}", _in_words(stored.offset.position.origin, progress))
            for table, progress in sorted(copies(stored.offset).items())
        )
    lines.append(("running", holder or "no"))
    lines.extend(
        ("changed", f"{clock(change.changed_at)} {change.command}: {_token(change.before)} -> {_token(change.after)}")
        for change in changes
    )
    echo_table(lines)


@app.command()
def seek(
    name: Name,
    position: Annotated[
        str, typer.Argument(metavar="POSITION", help="What `show` prints, or start, end, or @TIMESTAMP (UTC).")
    ],
    config: Config = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
) -> None:
    """Move a stopped connector's offset; the copy of tables stays as it is."""
    with _stopped(state, name, config) as (opened, store):
        before = store.load(name)
        if before is None:
            raise _forgotten(name)
        target = ask(opened, name, config)
        found = find(store, name, position, target)
        refuse_unreachable(name, found, target.reach)
        _replace(store, name, Offset(found, copies(before)), "seek", dry_run)


@app.command()
def reset(name: Name, config: Config = None, state: StateFolder = DEFAULT_STATE, dry_run: DryRun = False) -> None:
    """Forget a stopped connector's position and snapshot: the next run starts as a new connector does."""
    with _stopped(state, name, config) as (_, store):
        if store.load(name) is None:
            raise _forgotten(name)
        _replace(store, name, None, "reset", dry_run)


@app.command()
def undo(
    name: Name,
    config: Config = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
    offline: Offline = False,
) -> None:
    """Put back what the last seek, reset, import or undo replaced."""
    with _stopped(state, name, config) as (opened, store):
        changes = store.changes(name, limit=1)
        if not changes:
            raise Refused(f"connector {name} has no change of its offset to undo", "`tailrace offsets list` names all")
        before = changes[0].before
        if before is not None and not offline:
            refuse_unreachable(name, before.position, ask(opened, name, config).reach)
        _replace(store, name, before, "undo", dry_run, passed=changes[0].command != "undo")


@app.command("import")
def import_(
    name: Name,
    origin: Annotated[
        str,
        typer.Argument(
            metavar="FROM",
            help="Debezium's offset: a file, JSON or its offsets file; kafka:TOPIC of Connect's offsets; "
            "or the URL of the database with the table of its JDBC store.",
        ),
    ],
    config: Config = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="PREFIX", help="Debezium's topic prefix. Default: this one's own.")
    ] = None,
    debezium_name: Annotated[
        str | None, typer.Option("--debezium-name", metavar="NAME", help="Debezium's connector, of several.")
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="For kafka:TOPIC. Default: those of the sink."),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="For a URL. Default: debezium_offset_storage.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="REF", help="For a URL, as '${env:NAME}' or '${file:PATH}'."),
    ] = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
) -> None:
    """Go on where a Debezium connector stopped; on Postgres its slot must be the one in the connector file."""
    from service.debezium.offsets import Asked, choose, open_store

    asked = Asked(bootstrap_servers, table, password, debezium_name, server)
    read = open_store(origin, asked)
    with _stopped(state, name, config, create=True) as (opened, store):
        connector = config_of(opened, name, config)
        taken = choose(read(connector), asked, connector.topic_prefix, origin)
        _refuse_half_a_snapshot(taken, name, origin)
        target = ask(opened, name, config)
        if not taken.suits(target.config.type):
            raise Refused(
                f"{origin} holds the offset of another database than {target.config.type}, which {name} reads",
                "give the offset of a Debezium connector for the same database",
            )
        for key, text in taken.facts():
            typer.echo(f"read {key:<10} {text}")
        typer.echo(f"stored {clock(taken.stored_at) if taken.stored_at else '-'}")
        found = find(store, name, taken.resume(target.reach.earliest), target)
        refuse_unreachable(name, found, target.reach)
        copied = target.log.copied(target.config)
        typer.echo(f"{len(copied)} tables count as copied, by Debezium: {', '.join(sorted(copied)) or '-'}")
        _replace(store, name, Offset(found, copied), "import", dry_run)


def _refuse_half_a_snapshot(taken: "DebeziumOffset", name: str, origin: str) -> None:
    if taken.in_snapshot:
        raise Refused(
            f"{origin}: Debezium's snapshot was not complete, so its offset covers only part of the tables",
            f"start {name} without an offset: it copies every table",
        )


def _replace(
    store: OffsetStore, name: str, after: Offset | None, command: str, dry_run: bool, *, passed: bool = False
) -> None:
    """`passed`: the connector had come as far as `after` before."""
    before = store.load(name)
    typer.echo(f"{name}: {_token(before)} -> {_token(after)}")
    typer.echo(consequence(before, after, passed))
    if dry_run:
        typer.echo("dry run: nothing was changed")
        return
    store.replace(name, after, command)
    typer.echo(f"done; `tailrace offsets undo {name}` puts the old value back")


@contextmanager
def _stopped(
    directory: Path, name: str, config: Path | None, create: bool = False
) -> Iterator[tuple[State | None, OffsetStore]]:
    """The connector's store, and the state where there is one, with the connector kept from running meanwhile."""
    with store_of(name, directory, config, create) as found:
        if not create and found.store.load(name) is None and not found.store.changes(name, limit=1):
            raise _unknown(found.store, name)
        with found.hold(name):
            yield found.state, found.store


def _unknown(store: OffsetStore, name: str) -> Refused:
    known = ", ".join(stored.connector for stored in store.all())
    hint = f"these have: {known}; or name another state" if known else "none has one there; name the state it runs with"
    return Refused(f"connector {name} has no offset in {store.place}", f"{hint} by --state, or its file by --config")


def _forgotten(name: str) -> Refused:
    return Refused(
        f"connector {name} has no offset now: a command took it away",
        f"`tailrace offsets undo {name}` puts it back, or the next run starts as a new connector does",
    )


def _in_words(origin: str, progress: str) -> str:
    log = log_of(origin)
    return log.progress(progress) if log else progress


def _token(offset: Offset | None) -> str:
    return offset.position.token if offset else "none"


def _ago(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def echo_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
