"""What offset commands know of a connector's log: where it can be read, and what a user's word for a position means."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from offsets.base import OffsetStore
from offsets.origin import facts, same_log
from offsets.position import Offset, Position, Range
from service.refused import Refused
from service.state import State

if TYPE_CHECKING:
    from service.config import Connector


class Log(Protocol):
    """What a source class offers to these commands, as static methods; `config` is its `Config`.

    The first three ask the server and raise SourceError.
    """

    def positions(self, config: Any) -> Range:
        """How far back the server can go, and where its log ends now. Raises LogGap where that can never be read."""

    def position(self, config: Any, word: str, reach: Range) -> Position:
        """A user's word for a position of the log whose `positions` are `reach`. Raises ValueError."""

    def copied(self, config: Any) -> Mapping[str, str]:
        """Snapshot progress that calls every captured table copied."""

    def copies(self, snapshot: Mapping[str, str]) -> Mapping[str, str]:
        """The progress of tables in what is stored with an offset, without what holds at its position only."""

    def progress(self, stored: str) -> str:
        """A table's stored snapshot progress in words."""

    def size_bytes(self, one: Position, other: Position) -> int | None:
        """How much log lies between two positions of one log, None where they do not tell."""


class Target(NamedTuple):
    """A connector's log, and what the server says of it now."""

    log: Log
    config: Any
    reach: Range


def ask(state: State | None, name: str, file: Path | None) -> Target:
    """Of a connector whose server is asked now. Raises Refused, ConfigError, SourceError."""
    import connectors
    from service import exits, secrets

    connector = config_of(state, name, file)
    log: Log = connectors.load(connector.source_type)
    source = secrets.resolve(connector.source)
    with exits.about(name):
        return Target(log, source, log.positions(source))


def config_of(state: State | None, name: str, file: Path | None) -> "Connector":
    """`file`, or the one that the connector last ran with. Raises Refused, ConfigError."""
    from service.offset_stores import load_named

    path = file or (state.config_path(name) if state else None)
    if path is None:
        raise Refused(
            f"connector {name} has not run{f' in {state.directory}' if state else ''}, so its file is not known",
            "add --config FILE",
        )
    return load_named(name, path)


def log_of(origin: str) -> Log | None:
    """Of a stored position; None for a type of source that nothing provides any more."""
    import connectors

    try:
        log: Log = connectors.load(facts(origin).get("type", ""))
    except KeyError:
        return None
    return log


def copies(offset: Offset | None) -> Mapping[str, str]:
    """The progress of the tables that are stored with an offset."""
    if offset is None:
        return {}
    log = log_of(offset.position.origin)
    return log.copies(offset.snapshot) if log else offset.snapshot


def find(store: OffsetStore, name: str, word: str, target: Target) -> Position:
    """POSITION as a user gives it. Raises Refused, SourceError."""
    earliest, latest = target.reach
    if word == "start":
        return earliest
    if word == "end":
        return latest
    if word.startswith("@"):
        return _find_moment(store, name, word[1:])
    from service import exits

    try:
        with exits.about(name):
            return target.log.position(target.config, word, target.reach)
    except ValueError:
        raise Refused(
            f'"{word}" is not a position', f"give what `tailrace offsets show {name}` prints, or start, end, @TIMESTAMP"
        ) from None


def _find_moment(store: OffsetStore, name: str, text: str) -> Position:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f'"{text}" is not a time', "give it as @2026-11-22T14:30:00, in UTC or with its zone") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise Refused(f"{clock(moment)} lies in the future", "give a time in the past, or `end`")
    found = store.position_at(name, moment)
    if found is None:
        raise Refused(
            f"where connector {name} stood at {clock(moment)} is not known",
            "positions are kept for seven days of a connector's runs; give a later time, a position, or `start`",
        )
    return found


def refuse_unreachable(name: str, position: Position, reach: Range) -> None:
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


def consequence(before: Offset | None, after: Offset | None, passed: bool) -> str:
    """What the next run delivers again, or leaves out."""
    if after is None:
        copied = copies(before)
        tables = f" ({', '.join(sorted(copied))})" if copied else ""
        return f"to be read again: every table is copied anew{tables}, and the log is followed as by a new connector"
    to = after.position
    if before is None:
        return f"to be read: everything committed after {to.token}"
    old = before.position
    if not same_log(old.origin, to.origin):
        return f"to be read: everything committed after {to.token} on another log than before, which is not compared"
    log = log_of(to.origin)
    size_bytes = log.size_bytes(old, to) if log else None
    size = "" if size_bytes is None else f", {size_bytes:,} bytes of log"
    if to.order < old.order:
        return f"to be read again: everything committed after {to.token} up to {old.token}{size}"
    if to.order > old.order:
        skipped = f"everything committed after {old.token} up to {to.token}{size}"
        return f"not to be read again: {skipped}" if passed else f"NEVER to be delivered: {skipped}"
    return "to be read again: nothing, the position is the same"


def clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
