"""A database with a log: seeded writers, and the events that a correct connector delivers for them.

Row LSNs of transactions that run side by side interleave; the server decodes whole transactions in the order of
their commits. The rows of one COPY share an LSN. Two writers never hold the same key, as row locks see to.
"""

from itertools import count
from random import Random
from typing import NamedTuple

from offsets.position import Position
from schema.change import UNCHANGED, Value
from schema.event import NEW_KEY, NO_OTHER, OLD_KEY, Event, OtherKey, other_key

TABLE = "shop.items"
ORIGIN = '{"system":"7","timeline":1,"database":"shop","slot":"tailrace_shop"}'
KEYS = ("a", "b", "c", "d", "e")


class Change(NamedTuple):
    """`op` as in the events, and "k" for a new key, which is three events. `version` counts a key's changes."""

    lsn: int
    op: str
    key: str
    version: int
    note: Value = b"note"
    new_key: str = ""
    new_version: int = 0


class Transaction(NamedTuple):
    """`end_lsn` is where the log goes on behind the commit: what a slot is told."""

    changes: tuple[Change, ...]
    commit_lsn: int
    end_lsn: int

    @property
    def position(self) -> Position:
        return position_at(self.end_lsn)


def position_at(lsn: int) -> Position:
    return Position(lsn, f"0/{lsn:X}", ORIGIN)


START = position_at(0)


def events_of(transaction: Transaction) -> list[Event]:
    """The events of one transaction, in order."""
    return [event for _, events in events_by_change(transaction) for event in events]


def events_by_change(transaction: Transaction) -> list[tuple[Change, list[Event]]]:
    nth = count()
    return [
        (
            change,
            [
                Event(f"shop.{TABLE}", TABLE, key.encode(), value, (transaction.commit_lsn, next(nth)), headers)
                for key, value, headers in _parts(change)
            ],
        )
        for change in transaction.changes
    ]


def _parts(change: Change) -> list[tuple[str, bytes | None, OtherKey]]:
    """Key, value and headers of each event."""
    if change.op in "cu":
        return [(change.key, row(change.op, change.key, change.version, change.note), NO_OTHER)]
    moves = change.op == "k"
    headers = other_key(NEW_KEY, change.new_key.encode()) if moves else NO_OTHER
    gone: list[tuple[str, bytes | None, OtherKey]] = [
        (change.key, row("d", change.key), headers),
        (change.key, None, headers),
    ]
    if moves:
        created = row("c", change.new_key, change.new_version, change.note)
        gone.append((change.new_key, created, other_key(OLD_KEY, change.key.encode())))
    return gone


def row(op: str, key: str, version: int = 0, note: Value = None) -> bytes:
    """An event's value. A delete shows the key alone, as the log does."""
    shown = b"(unavailable)" if note is UNCHANGED else note or b"(null)"
    return f"{op} {key} {version} ".encode() + shown


class _Open:
    """A transaction that has not ended: what it wrote, and its rows where they differ from the committed ones."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.rows: dict[str, tuple[bool, int]] = {}
        self.length = 0


def write_log(rng: Random, transactions: int) -> list[Transaction]:
    """`transactions` commits in their order, written by up to three writers at a time."""
    log: list[Transaction] = []
    committed: dict[str, tuple[bool, int]] = dict.fromkeys(KEYS, (False, 0))
    writers: list[_Open] = []
    lsn = 100
    while len(log) < transactions:
        if len(writers) < 3 and rng.random() < 0.5:
            writers.append(_Open())
            writers[-1].length = rng.choice((0, 1, 1, 2, 3, rng.randint(8, 16)))
        if not writers:
            continue
        writer = rng.choice(writers)
        if len(writer.changes) < writer.length:
            lsn = _write(rng, writer, writers, committed, lsn)
            continue
        writers.remove(writer)
        if rng.random() < 0.2:
            continue  # rolled back: in the log, never decoded
        committed.update(writer.rows)
        log.append(Transaction(tuple(writer.changes), lsn + 1, lsn + 2))
        lsn += 3
    return log


def _write(rng: Random, writer: _Open, writers: list[_Open], committed: dict[str, tuple[bool, int]], lsn: int) -> int:
    """One change by `writer`, if a row is free; the LSN where the log then ends."""
    rows = committed | writer.rows
    free = [key for key in KEYS if not any(key in other.rows for other in writers if other is not writer)]
    if not free:
        writer.length = len(writer.changes)
        return lsn
    key = rng.choice(free)
    alive, version = rows[key]
    last = writer.changes[-1] if writer.changes else None
    copied = not alive and last is not None and last.op == "c" and last.lsn == lsn and rng.random() < 0.7
    lsn = lsn if copied else lsn + rng.randint(1, 3)
    dead = [other for other in free if not rows[other][0]]
    op = rng.choice("uuudk" if dead else "uuud") if alive else "c"
    note: Value = rng.choice((UNCHANGED, b"long", None)) if op == "u" else b"note"
    change = Change(lsn, op, key, version + 1, note)
    if op == "k":
        new_key = rng.choice(dead)
        change = change._replace(new_key=new_key, new_version=rows[new_key][1] + 1)
        writer.rows[new_key] = (True, change.new_version)
    writer.rows[key] = (op in "cu", version + 1)
    writer.changes.append(change)
    return lsn
