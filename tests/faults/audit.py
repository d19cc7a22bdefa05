"""The verdict on what a sink holds after the writers' day, against their ledger. Invariants I1 to I5, I7 and I8:

I1 nothing lost, I2 nothing invented, I3 each key in order, I4 a repetition is a re-run from an earlier point,
I5 the stored offset covers only what the sink holds, I7 the fold is the table, I8 each event has its version's columns.

A table's expected events stand in one list, in the order of commits. Whenever the connector was opened again, a new
run begins; so each run must hold a part of that list without a hole, and begin no later than where the runs before it
ended. Between them stand rows of the snapshot, each in a form that the stream has not yet left behind.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from service.demo_events import differences, fold
from service.state import BUSY_TIMEOUT_S
from tests.faults.workload import LOOSE, Change, Day, Key

READ, CREATE, UPDATE, DELETE, TOMBSTONE = "r", "c", "u", "d", "tombstone"

Columns = tuple[str, ...]
Shape = tuple[tuple[str, str], ...]
"""(name, type) of a table's columns."""


class Expected(NamedTuple):
    """One event that the ledger promises. `ver` is None where the event does not show it.

    `transaction` is None where the ledger could not say it and no event of this entry was delivered.
    """

    seq: int
    transaction: str | None
    op: str
    key: Key
    ver: int | None
    shape: Shape


class Delivered(NamedTuple):
    """One event that the sink holds; a tombstone has neither transaction nor columns."""

    op: str
    key: Key
    ver: int | None
    transaction: str | None
    columns: Columns
    types: Mapping[str, str]
    raw: dict[str, Any]


class Glimpse(NamedTuple):
    """What was durable at one moment: the server's and our offset (None before the first), whole events by topic."""

    confirmed: int | None
    stored: int | None
    counts: Mapping[str, int]


class Truth:
    """What the ledger says was committed. `shapes` are the versions of each table."""

    def __init__(self, day: Day, first_shapes: Mapping[str, Shape], topics: "Topics") -> None:
        self.expected: dict[str, list[Expected]] = {name: [] for name in (*day.tables, "ledger")}
        self.shapes = {name: [shape] for name, shape in first_shapes.items()}
        told = told_by_ledger(topics)
        for seq, transaction, changes in sorted(day.transactions()):
            transaction = transaction or told.get(seq)
            for parts in json.loads(changes):
                change = Change(parts[0], parts[1], tuple(parts[2]), parts[3], tuple(parts[4]), parts[5])
                self._add(seq, transaction, change)
            self.expected["ledger"].append(Expected(seq, transaction, CREATE, (seq,), seq, first_shapes["ledger"]))

    def _add(self, seq: int, transaction: str | None, change: Change) -> None:
        expected = self.expected[change.table]
        if change.op == "columns":
            self.shapes[change.table].append(tuple((name, type_) for name, type_ in change.columns))
            return
        shape = self.shapes[change.table][-1]
        gone = change.old if change.op == "move" else change.key
        if change.op in ("delete", "move"):
            expected.append(Expected(seq, transaction, DELETE, gone, None, shape))
            expected.append(Expected(seq, transaction, TOMBSTONE, gone, None, ()))
        if change.op != "delete":
            op = UPDATE if change.op == "update" else CREATE
            expected.append(Expected(seq, transaction, op, change.key, change.ver, shape))


class Walk:
    """One topic's events against what was expected of its table. Fails with the run and the invariant."""

    def __init__(self, expected: list[Expected], shapes: list[Shape], avro_types: Mapping[str, str]) -> None:
        self._expected = expected
        self._shapes = shapes
        self._avro_types = avro_types
        self._start_of: dict[str | None, int] = {}
        self._made: dict[tuple[Key, int], int] = {}
        for i, event in enumerate(expected):
            self._start_of.setdefault(event.transaction, i)
            if event.ver is not None:
                self._made[event.key, event.ver] = i
        self._at = 0
        self.first: int | None = None
        self.ends: list[int] = []  # after each event: how many of `expected` are in the sink or came before the stream

    def run(self, name: str, events: Iterable[Delivered]) -> None:
        """The next run of the topic, in the order of writing."""
        is_new = True
        last_of: dict[Key, int] = {}
        for nth, event in enumerate(events, 1):
            where = f"{name}, event {nth} ({event.op} {event.key} {event.ver or ''})"
            if event.op == READ:
                i = self._read(where, event)
                assert i >= last_of.get(event.key, -1), f"I3: {where}: a newer form was delivered before it"
            else:
                i = self._at if self._fits(event, self._at) else self._again(where, event, is_new)
                assert i > last_of.get(event.key, -1), f"I3: {where}: a newer form was delivered before it"
                expected = self._expected[i]
                same = event.op == TOMBSTONE or self._has_shape(event, expected.shape)
                assert same, f"I8: {where} has {event.columns} as {event.types}, at its version {expected.shape}"
                self._at, is_new = i + 1, False
            last_of[event.key] = i
            self.ends.append(max(self._at, self.ends[-1] if self.ends else 0))

    def _fits(self, event: Delivered, at: int) -> bool:
        if self.first is None or at >= len(self._expected):
            return False
        expected = self._expected[at]
        same = (
            event.op == expected.op and event.key == expected.key and event.transaction in (expected.transaction, None)
        )
        return same and expected.ver in (event.ver, None)

    def _again(self, where: str, event: Delivered, is_new: bool) -> int:
        """The first event of a re-run, or of the whole stream."""
        at = self._start_of.get(event.transaction) if event.transaction else None
        assert at is not None, f"I2: {where}: transaction {event.transaction} was never committed"
        due = self._expected[self._at] if self._at < len(self._expected) else "nothing"
        assert is_new, f"I1, I4: {where} begins {at - self._at} events behind what the same run owed next: {due}"
        if self.first is None:
            self.first = at
        else:
            assert at <= self.ends[-1], f"I1, I5: {where}: {at - self.ends[-1]} events before it are missing"
        assert self._fits(event, at), f"I6: {where}: the transaction begins with {self._expected[at]}"
        return at

    def _read(self, where: str, event: Delivered) -> int:
        known = any(self._has_shape(event, shape) for shape in self._shapes)
        assert known, f"I8: {where}: {event.columns} as {event.types} were never the table's columns"
        if not event.ver:
            return -1  # from before the writers
        i = self._made.get((event.key, event.ver))
        assert i is not None, f"I2: {where}: no committed transaction made this row"
        return i

    def _has_shape(self, event: Delivered, shape: Shape) -> bool:
        """Exactly these columns, each as the Avro type that it should have (where it is known)."""
        same = event.columns == tuple(name for name, _ in shape)
        types = self._avro_types
        return same and all(event.types[name] == types.get(type_, event.types[name]) for name, type_ in shape)


def check(
    day: Day,
    topics: "Topics",
    first_shapes: Mapping[str, Shape],
    seen_seq: int,
    glimpses: list[Glimpse],
    entered: dict[int, int],
) -> None:
    """Every invariant.

    All entries behind `seen_seq` were committed when the stream had begun; `entered` gives an order of the log at or
    behind the commit of each entry.
    """
    truth = Truth(day, first_shapes, topics)
    for table, expected in truth.expected.items():
        name = next((topic for topic in topics if topic.endswith(f".{day.schema}.{table}")), None)
        assert name, f"I1: {table} has no events at all"
        if table == LOOSE.name:
            _check_loose(topics[name], expected)
            continue
        walk = Walk(expected, truth.shapes[table], day.avro_types)
        for run, events in topics[name]:
            walk.run(run, events)
        first = len(expected) if walk.first is None else walk.first
        due = next((i for i, event in enumerate(expected) if event.seq > seen_seq), len(expected))
        assert first <= due, f"I1: {table}: the stream begins with {expected[first]}, and {expected[due]} is missing"
        assert not walk.first or walk.ends[-1] == len(expected), f"I1: {table}: {expected[walk.ends[-1]]} is missing"
        for glimpse in glimpses:
            _check_glimpse(glimpse, name, table, walk, expected, entered)
    _check_fold(day, topics)


def _check_glimpse(
    glimpse: Glimpse, topic: str, table: str, walk: Walk, expected: list[Expected], entered: dict[int, int]
) -> None:
    if glimpse.stored is None:
        return
    assert (glimpse.confirmed or 0) <= glimpse.stored, f"I5: the server forgot more than we remember: {glimpse}"
    count = glimpse.counts.get(topic, 0)
    held = walk.ends[count - 1] if count else walk.first or 0
    missing = [e for e in expected[max(held, walk.first or 0) :] if entered.get(e.seq, 1 << 64) <= glimpse.stored]
    assert not missing, f"I5: the stored offset covers {missing[0]} of {table}, which the sink did not hold"


def _check_loose(runs: list[tuple[str, list[Delivered]]], expected: list[Expected]) -> None:
    """A table without a key: its copy and the stream share its rows, and no key tells them apart."""
    index = {event.ver: i for i, event in enumerate(expected)}
    for run, events in runs:
        versions = [event.ver for event in events if event.ver]
        assert len(versions) == len(set(versions)), f"I4: {run}: a row stands twice in one run"
        streamed = [index.get(event.ver, -1) for event in events if event.op == CREATE]
        assert -1 not in streamed, f"I2: {run}: a row that was never committed"
        assert streamed == sorted(streamed), f"I3: {run}: not in the order of the commits"
    held = {event.ver for _, events in runs for event in events if event.ver}
    assert held == index.keys(), f"I1, I2: loose: {held ^ index.keys()}"


def _check_fold(day: Day, topics: "Topics") -> None:
    for events in topics.values():
        folded = fold(event.raw for _, run in events for event in run)
        (table,) = folded
        name = table.partition(".")[2]
        key = day.tables[name].key if name in day.tables else ("seq",)
        if key:
            source = {json.dumps({k: row[k] for k in key}, sort_keys=True): row for row in day.rows(name)}
            assert not (found := differences(source, folded[table])), f"I7: {table}: {len(found)} rows: {found[:5]}"


def told_by_ledger(topics: "Topics") -> dict[int, str]:
    """Which transaction delivered each entry of the ledger, by its `seq`."""
    ledger = next((runs for topic, runs in topics.items() if topic.endswith(".ledger")), [])
    told: dict[int, str] = {}
    for event in (event for _, events in ledger for event in events if event.op == CREATE):
        assert event.transaction and event.ver
        same = told.setdefault(event.ver, event.transaction)
        assert same == event.transaction, f"I2: entry {event.ver} comes from {same} and from {event.transaction}"
    assert len(set(told.values())) == len(told), "I2: two entries of the ledger come from one transaction"
    return told


def glimpse(day: Day, state: Path, counts: Callable[[], Mapping[str, int]], connector: str) -> Glimpse:
    """In the order in which a promise is kept backwards, so that it may be taken while everything runs."""
    return Glimpse(day.confirmed(), stored_offset(state, connector), counts())


def _open(state: Path) -> sqlite3.Connection:
    """As patient as tailrace is with whoever makes, recovers or closes the file."""
    return sqlite3.connect(state / "tailrace.db", timeout=BUSY_TIMEOUT_S)


def has_state(state: Path) -> bool:
    """Offsets and progress can be asked for."""
    if not (state / "tailrace.db").exists():
        return False
    with closing(_open(state)) as db:
        tables = {name for (name,) in db.execute("select name from sqlite_master")}
    return tables >= {"offset_current", "snapshot_progress"}


def stored_offset(state: Path, connector: str) -> int | None:
    with closing(_open(state)) as db:
        row = db.execute("select position from offset_current where connector = ?", (connector,)).fetchone()
    return row[0] if row else None


def stored_progress(state: Path, connector: str) -> dict[str, bool]:
    """Whether each table's copy is done. What else a source stores with its offset is no list."""
    with closing(_open(state)) as db:
        rows = db.execute("select table_name, progress from snapshot_progress where connector = ?", (connector,))
        return {table: json.loads(progress)[1] for table, progress in rows if progress.startswith("[")}


Topics = dict[str, list[tuple[str, list[Delivered]]]]
"""By topic: the runs in the order of writing, each with a name for an error and its events."""


def delivered(day: Day, event: dict[str, Any], types: Mapping[str, str]) -> Delivered:
    value = event["value"]
    key = tuple(event["key"].values()) if event["key"] else ()
    if value is None:
        return Delivered(TOMBSTONE, key, None, None, (), types, event)
    row = value["after"] or value["before"]
    ver = row.get("ver", row.get("seq")) if value["after"] else None
    transaction = None if value["op"] == READ else day.transaction(value["source"])
    return Delivered(value["op"], key, ver, transaction, tuple(row), types, event)


def column_types(envelope: Any) -> dict[str, str]:
    """The Avro type of each column's non-null value, from an envelope's schema."""
    row = record(next(field["type"] for field in envelope["fields"] if field["name"] == "before"))
    return {field["name"]: _plain_type(field["type"]) for field in row["fields"]}


def record(union: list[Any]) -> Any:
    return next(branch for branch in union if isinstance(branch, dict))


def _plain_type(type_: Any) -> str:
    if isinstance(type_, list):
        type_ = next(branch for branch in type_ if branch != "null")
    return str(type_["type"] if isinstance(type_, dict) else type_)


def first_shapes(day: Day) -> dict[str, Shape]:
    """Before the writers begin."""
    return {name: tuple(day.columns(name)) for name in (*day.tables, "ledger")}
