"""`tailrace offsets`: what is stored, and changing it by hand."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import typer

from offsets.errors import OffsetUnreadable
from offsets.origin import facts, same_log
from offsets.position import Offset, Position, Range
from offsets.sqlite import SqliteStore
from service.state import State

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


class Log(Protocol):
    """What a source class offers to these commands, as static methods; `config` is its `Config`.

    `positions` and `copied` ask the server and raise SourceError.
    """

    def positions(self, config: Any) -> Range:
        """How far back the server can go, and where its log ends now. Raises LogGap where that can never be read."""

    def position(self, token: str, origin: str) -> Position:
        """A user's word for a position of the log `origin`. Raises ValueError."""

    def copied(self, config: Any) -> Mapping[str, str]:
        """Snapshot progress that calls every captured table copied."""

    def progress(self, stored: str) -> str:
        """A table's stored snapshot progress in words."""


class Refused(Exception):
    """A command that would be wrong to carry out. `exit_code`: 2 for bad usage, 3 where the server cannot serve it."""

    retryable = False

    def __init__(self, message: str, hint: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class Target(NamedTuple):
    """A connector's log, and what the server says of it now."""

    log: Log
    config: Any
    reach: Range


@app.command("list")
def list_(state: StateFolder = DEFAULT_STATE) -> None:
    """List every connector with its stored position."""
    opened = State.open(state, create=False)
    with closing(opened.offsets()) as store:
        rows = [
            (
                stored.connector,
                stored.offset.position.token,
                _ago(stored.saved_at),
                opened.holder(stored.connector) or "-",
            )
            for stored in store.all()
        ]
    if not rows:
        typer.echo(f"no offsets are stored in {state}", err=True)
        return
    echo_table([("NAME", "POSITION", "SAVED", "RUNNING"), *rows])


@app.command()
def show(name: Name, state: StateFolder = DEFAULT_STATE) -> None:
    """Show one connector's position, its log, its snapshot, and what was changed by hand."""
    opened = State.open(state, create=False)
    with closing(opened.offsets()) as store:
        stored = next((stored for stored in store.all() if stored.connector == name), None)
        changes = store.changes(name)
        if stored is None and not changes:
            raise _unknown(store, name, state)
    lines: list[tuple[str, ...]] = [("connector", name)]
    if stored is None:
        lines.append(("position", "none: the next run starts as a new connector does"))
    else:
        lines.append(("position", stored.offset.position.token))
        lines.append(("saved", f"{_clock(stored.saved_at)} ({_ago(stored.saved_at)})"))
        origin = facts(stored.offset.position.origin)
        lines.extend((key, str(value)) for key, value in origin.items())
        lines.extend(
            (f"snapshot {table}", _in_words(origin, progress))
            for table, progress in sorted(stored.offset.snapshot.items())
        )
    lines.append(("running", opened.holder(name) or "no"))
    lines.extend(
        ("changed", f"{_clock(change.changed_at)} {change.command}: {_token(change.before)} -> {_token(change.after)}")
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
    with _stopped(state, name) as (opened, store):
        before = store.load(name)
        if before is None:
            raise _forgotten(name)
        target = _target(opened, name, config)
        found = _find(store, name, position, target)
        _refuse_unreachable(name, found, target.reach)
        _replace(store, name, Offset(found, before.snapshot), "seek", dry_run)


@app.command()
def reset(name: Name, state: StateFolder = DEFAULT_STATE, dry_run: DryRun = False) -> None:
    """Forget a stopped connector's position and snapshot: the next run starts as a new connector does."""
    with _stopped(state, name) as (_, store):
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
    with _stopped(state, name) as (opened, store):
        changes = store.changes(name, limit=1)
        if not changes:
            raise Refused(f"connector {name} has no change of its offset to undo", "`tailrace offsets list` names all")
        before = changes[0].before
        if before is not None and not offline:
            _refuse_unreachable(name, before.position, _target(opened, name, config).reach)
        _replace(store, name, before, "undo", dry_run, passed=changes[0].command != "undo")


@app.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Debezium's offset: JSON, or its offsets file.")],
    config: Config = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="PREFIX", help="Whose offset to take, where FILE holds several.")
    ] = None,
    state: StateFolder = DEFAULT_STATE,
    dry_run: DryRun = False,
) -> None:
    """Go on where a Debezium Postgres connector stopped; its slot must be the one in the connector file."""
    from offsets import debezium

    try:
        offsets = debezium.read(file.read_bytes(), str(file))
    except OffsetUnreadable as error:
        raise Refused(str(error), error.hint) from None
    except OSError as error:
        raise Refused(
            f"{file} cannot be read: {error.strerror}", "name the file that holds Debezium's offset"
        ) from None
    offsets = [offset for offset in offsets if server is None or offset.server == server]
    if len(offsets) != 1:
        listed = ", ".join(offset.server or "(no name)" for offset in offsets) or "none of that name"
        raise Refused(
            f"{file} holds several offsets or not the one asked for: {listed}", "choose one by --server PREFIX"
        )
    [taken] = offsets
    if taken.in_snapshot:
        raise Refused(
            f"{file}: Debezium's snapshot was not complete, so its offset covers only part of the tables",
            f"start {name} without an offset: it copies every table",
        )
    with _stopped(state, name, create=True) as (opened, store):
        target = _target(opened, name, config)
        earliest, latest = target.reach
        shown = (("lsn", taken.lsn), ("lsn_proc", taken.lsn_proc), ("lsn_commit", taken.lsn_commit))
        for key, lsn in shown:
            typer.echo(f"read {key:<10} {'-' if lsn is None else f'{lsn} = {_lsn(lsn)}'}")
        typer.echo(
            f"read txId {taken.transaction or '-'}, stored {_clock(taken.stored_at) if taken.stored_at else '-'}"
        )
        found = target.log.position(_lsn(taken.resume(earliest.order)), latest.origin)
        _refuse_unreachable(name, found, target.reach)
        copied = target.log.copied(target.config)
        typer.echo(f"{len(copied)} tables count as copied, by Debezium: {', '.join(sorted(copied)) or '-'}")
        _replace(store, name, Offset(found, copied), "import", dry_run)


def _replace(
    store: SqliteStore, name: str, after: Offset | None, command: str, dry_run: bool, *, passed: bool = False
) -> None:
    """`passed`: the connector had come as far as `after` before."""
    before = store.load(name)
    typer.echo(f"{name}: {_token(before)} -> {_token(after)}")
    typer.echo(_consequence(before, after, passed))
    if dry_run:
        typer.echo("dry run: nothing was changed")
        return
    store.replace(name, after, command)
    typer.echo(f"done; `tailrace offsets undo {name}` puts the old value back")


def _consequence(before: Offset | None, after: Offset | None, passed: bool) -> str:
    """What the next run delivers again, or leaves out."""
    if after is None:
        tables = f" ({', '.join(sorted(before.snapshot))})" if before and before.snapshot else ""
        return f"to be read again: every table is copied anew{tables}, and the log follows from where the slot begins"
    to = after.position
    if before is None:
        return f"to be read: everything committed after {to.token}"
    old = before.position
    size_bytes = abs(old.order - to.order)
    if not same_log(old.origin, to.origin):
        return f"to be read: everything committed after {to.token} on another log than before, which is not compared"
    if to.order < old.order:
        return f"to be read again: everything committed after {to.token} up to {old.token}, {size_bytes:,} bytes of log"
    if to.order > old.order:
        skipped = f"everything committed after {old.token} up to {to.token}, {size_bytes:,} bytes of log"
        return f"not to be read again: {skipped}" if passed else f"NEVER to be delivered: {skipped}"
    return "to be read again: nothing, the position is the same"


def _find(store: SqliteStore, name: str, word: str, target: Target) -> Position:
    """POSITION as a user gives it."""
    earliest, latest = target.reach
    if word == "start":
        return earliest
    if word == "end":
        return latest
    if word.startswith("@"):
        return _find_moment(store, name, word[1:])
    try:
        return target.log.position(word, latest.origin)
    except ValueError:
        raise Refused(
            f'"{word}" is not a position', f"give what `tailrace offsets show {name}` prints, or start, end, @TIMESTAMP"
        ) from None


def _find_moment(store: SqliteStore, name: str, text: str) -> Position:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f'"{text}" is not a time', "give it as @2026-11-22T14:30:00, in UTC or with its zone") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise Refused(f"{_clock(moment)} lies in the future", "give a time in the past, or `end`")
    found = store.position_at(name, moment)
    if found is None:
        raise Refused(
            f"where connector {name} stood at {_clock(moment)} is not known",
            "positions are kept for seven days of a connector's runs; give a later time, a position, or `start`",
        )
    return found


def _refuse_unreachable(name: str, position: Position, reach: Range) -> None:
    """Raise Refused for a position that the server cannot resume from."""
    earliest, latest = reach
    if not same_log(position.origin, latest.origin):
        raise Refused(
            f"{position.token} belongs to another log than the one that connector {name} reads now",
            f"run `tailrace offsets reset {name}` to copy every table anew, or name the right server in its file",
            3,
        )
    if position.order < earliest.order:
        raise Refused(
            f"the server no longer has what follows {position.token}; the earliest position is {earliest.token}",
            f"seek to {earliest.token} or later, or run `tailrace offsets reset {name}` to copy every table anew",
            3,
        )
    if position.order > latest.order:
        raise Refused(
            f"{position.token} lies ahead of the server's log, which ends at {latest.token}",
            f"give a position up to {latest.token}",
            3,
        )


def _target(state: State, name: str, file: Path | None) -> Target:
    import connectors
    from service import config, secrets

    path = file or state.config_path(name)
    if path is None:
        raise Refused(
            f"connector {name} has not run in {state.directory}, so its file is not known", "add --config FILE"
        )
    connector = config.load(path)
    if connector.name != name:
        raise Refused(
            f"{path} is the file of connector {connector.name}, not of {name}", "name the right one by --config"
        )
    log: Log = connectors.load(connector.source_type)
    source = secrets.resolve(connector.source)
    return Target(log, source, log.positions(source))


@contextmanager
def _stopped(directory: Path, name: str, create: bool = False) -> Iterator[tuple[State, SqliteStore]]:
    """The state, with the connector kept from running meanwhile."""
    state = State.open(directory, create=create)
    with closing(state.offsets()) as store:
        if not create and store.load(name) is None and not store.changes(name, limit=1):
            raise _unknown(store, name, directory)
        with state.hold(name):
            yield state, store


def _unknown(store: SqliteStore, name: str, state: Path) -> Refused:
    known = ", ".join(stored.connector for stored in store.all())
    hint = f"these have: {known}; or name another state" if known else "none has one there; name the state it runs with"
    return Refused(f"connector {name} has no offset in {state.absolute()}", f"{hint} by --state")


def _forgotten(name: str) -> Refused:
    return Refused(
        f"connector {name} has no offset now: a command took it away",
        f"`tailrace offsets undo {name}` puts it back, or the next run starts as a new connector does",
    )


def _in_words(origin: Mapping[str, Any], progress: str) -> str:
    import connectors

    try:
        log: Log = connectors.load(origin.get("type", ""))
    except KeyError:
        return progress
    return log.progress(progress)


def _token(offset: Offset | None) -> str:
    return offset.position.token if offset else "none"


def _lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


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
