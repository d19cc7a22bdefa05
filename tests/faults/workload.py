"""Seeded writers that keep a ledger: what each committed transaction did, in the order of the commits.

Every writer owns its keys, so that what it does depends on nothing but its seed. The last thing that a transaction
writes is its row of the ledger, under a lock that is held until after the commit: `seq` grows as commits do.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from random import Random
from threading import Event, Thread
from typing import Any, NamedTuple, Protocol

WRITERS = 3
ROLLED_BACK = 0.2
SAVEPOINT = 0.15
ALTER = 0.03
MOST_EXTRAS = 5
HOT = 20
"""So many of a writer's rows in a table get most of the updates."""

Key = tuple[Any, ...]
Values = dict[str, Any]


class Shape(NamedTuple):
    """A table as the writers see it. `fresh` gives a new row without key and version, `edit` what an update sets."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    fresh: Callable[[Random], Values]
    edit: Callable[[Random], Values]


def _long(random: Random) -> str:
    return f"{random.random():.12f} long " * 450


def _edit_wide(random: Random) -> Values:
    """Mostly not the long values: the log then leaves them out."""
    edits: Values = {"note": f"edited {random.random()}"}
    if random.random() < 0.3:
        edits["body"] = random.choice([None, _long(random)])
    if random.random() < 0.2:
        edits["photo"] = random.randbytes(9_000)
    return edits


def _edit_complete(random: Random) -> Values:
    return {"price": random.random()} if random.random() < 0.7 else {"body": _long(random)}


NARROW = Shape(
    "narrow",
    ("id",),
    ("id", "ver", "amount", "name", "flag"),
    lambda random: {"amount": random.choice([None, random.randint(0, 99_999)]), "name": "new", "flag": True},
    lambda random: {"amount": random.randint(0, 9_999) / 4, "name": random.choice([None, "", 'a "b"\t\\c', "日本語"])},
)
WIDE = Shape(
    "wide",
    ("id",),
    ("id", "ver", "note", "body", "photo", "tags"),
    lambda random: {"note": "new", "body": _long(random), "photo": random.randbytes(9_000), "tags": ["a", None, "b,c"]},
    _edit_wide,
)
PAIR = Shape(
    "pair",
    ("region", "number"),
    ("region", "number", "ver", "total", "due", "placed"),
    lambda random: {"total": random.randint(1, 10**9), "due": None, "placed": "2026-11-04 12:34:56.789012"},
    lambda random: {"total": random.choice([None, "0.000", "-12345678901234567890.5"]), "due": "1969-12-31"},
)
COMPLETE = Shape(
    "complete",
    ("id",),
    ("id", "ver", "price", "body"),
    lambda random: {"price": random.random(), "body": _long(random)},
    _edit_complete,
)
SHIFTING = Shape(
    "shifting",
    ("id",),
    ("id", "ver", "fixed"),
    lambda random: {"fixed": "new"},
    lambda random: {"fixed": f"edited {random.random()}"},
)
LOOSE = Shape(
    "loose", (), ("ver", "line", "at"), lambda random: {"line": "a line", "at": "2026-11-04 12:00:00"}, lambda _: {}
)
TABLES = {shape.name: shape for shape in (NARROW, WIDE, PAIR, COMPLETE, SHIFTING, LOOSE)}
FILLED = {"pair": 300, "complete": 300, "shifting": 60}
"""So many rows these tables have before a connector starts."""


class Change(NamedTuple):
    """What one statement did. `op`: insert, update, delete, move (to `key` from `old`), columns (a new shape)."""

    table: str
    op: str
    key: Key
    ver: int
    old: Key = ()
    columns: tuple[tuple[str, str], ...] = ()  # (name, type)


class Day(Protocol):
    """One database and its kind of server, as the writers, the killer and the judge see them.

    `tables` has all but the ledger, `schema` stands before each in topics; `avro_types` gives the Avro type of a
    column's type where the judge knows it.
    """

    tables: Mapping[str, Shape]
    schema: str
    avro_types: Mapping[str, str]

    def fill(self, narrow: int, wide: int) -> dict[str, int]:
        """Make the tables and the rows that are there before a connector starts, `ver` 0; how many each has."""

    def writer(self, number: int, seed: int, rows: dict[str, int], stop: Event) -> "Writer": ...

    def connector(self, name: str, sink: Mapping[str, Any]) -> dict[str, Any]: ...

    def strikes(self) -> Sequence[tuple[Callable[[], None], int]]:
        """What the killer may do to the server, and how often beside all else."""

    def execute(self, sql: str) -> list[tuple[Any, ...]]: ...

    def columns(self, table: str) -> list[tuple[str, str]]:
        """(name, type) as the catalogue has them now."""

    def rows(self, table: str) -> list[dict[str, Any]]: ...

    def last_entry(self) -> int:
        """The last `seq` of the ledger (0: none), with nothing behind it that the log holds and nobody sees yet."""

    def nothing_prepared(self) -> AbstractContextManager[None]:
        """Meanwhile no transaction is prepared: one that is when a connector starts for the first time, and commits
        later, has every table copied again."""

    def transactions(self) -> list[tuple[int, str | None, str]]:
        """The ledger in order: seq, which transaction (None: only its events tell), its changes."""

    def confirmed(self) -> int | None:
        """Up to where the server may forget, as an order; None where it does not ask us."""

    def transaction(self, source: Mapping[str, Any]) -> str:
        """Which transaction an event's `source` names."""


class RolledBack(Exception):
    """Raised inside a transaction or savepoint that is to be rolled back."""


class Writer(ABC):
    """One of WRITERS, in a thread of its own.

    `entered` holds, for each committed transaction, its `seq` and an order of the log at or behind its commit.
    """

    def __init__(self, day: Day, number: int, seed: int, rows: dict[str, int], stop: Event) -> None:
        self.entered: list[tuple[int, int]] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._write, name=f"writer-{number}", daemon=True)
        self._day = day
        self._keyed = [shape for shape in day.tables.values() if shape.key]
        self._shifting = day.tables["shifting"]
        self._number = number
        self._random = Random(f"{seed}/{number}")
        self._halt = stop
        self._ver = 0
        self._next = max(rows.values()) + number - max(rows.values()) % WRITERS
        self._live = {table: [_filled(table, n) for n in range(rows[table]) if n % WRITERS == number] for table in rows}
        self._dead: dict[str, list[Key]] = {table: [] for table in rows}
        self._changes: list[Change] = []

    @abstractmethod
    def _committed(self) -> AbstractContextManager[None]:
        """A transaction with its entry in the ledger; RolledBack inside it ends here."""

    @abstractmethod
    def _savepoint(self) -> AbstractContextManager[None]:
        """RolledBack inside it ends here."""

    @abstractmethod
    def _alter(self) -> None:
        """Change the shape of a table between two changes, in transactions of its own."""

    @abstractmethod
    def _columns(self) -> list[tuple[str, str]]:
        """(name, type) of `shifting` as this transaction sees it."""

    @abstractmethod
    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]: ...

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for its last transaction. Raises what stopped it before."""
        self._thread.join()
        if self._error:
            raise self._error

    def settle(self) -> None:
        """Write every row of `shifting` once more, in its last shape: what ALTER filled in is in no event of its own.

        For all writers behind the `join` of the last, so that no ALTER comes after it.
        """
        entries = len(self.entered)
        while self._live["shifting"] and len(self.entered) == entries:  # some transactions are rolled back
            with self._committed():
                self._touch_shifting()

    @abstractmethod
    def close(self) -> None: ...

    def _write(self) -> None:
        try:
            while not self._halt.wait(self._random.uniform(0.0, 0.01)):
                self._alter() if self._random.random() < ALTER else self._transaction()
        except BaseException as error:  # noqa: BLE001 (raised by `join`)
            self._error = error

    def _transaction(self) -> None:
        with self._committed():
            for _ in range(self._random.randint(1, 6)):
                if self._random.random() < SAVEPOINT:
                    with self._savepoint():
                        self._change()
                        if self._random.random() < 0.5:
                            raise RolledBack
                else:
                    self._change()
            self._maybe_roll_back()

    def _maybe_roll_back(self) -> None:
        if self._random.random() < ROLLED_BACK:
            raise RolledBack

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        """Where the block is rolled back, so is what we know of our rows."""
        live = {table: list(keys) for table, keys in self._live.items()}
        dead = {table: list(keys) for table, keys in self._dead.items()}
        changes = list(self._changes)
        try:
            yield
        except BaseException:
            self._live, self._dead, self._changes = live, dead, changes
            raise

    def _entry(self) -> str:
        """What the ledger says of this transaction."""
        return json.dumps(self._changes)

    def _change(self) -> None:
        if self._random.random() < 0.15:
            self._insert(self._day.tables[LOOSE.name])
        else:
            self._change_in(self._random.choice(self._keyed))

    def _change_in(self, shape: Shape) -> None:
        change = self._random.choices((self._insert, self._update, self._delete, self._move), (4, 6, 2, 1))[0]
        if change != self._insert and not self._live[shape.name]:
            change = self._insert
        change(shape)

    def _insert(self, shape: Shape) -> None:
        key = self._new_key(shape) if shape.key else ()
        row = {**dict(zip(shape.key, key, strict=True)), "ver": self._new_ver(), **shape.fresh(self._random)}
        self._run(f"insert into {shape.name} ({', '.join(row)}) values ({_marks(row)})", *row.values())
        self._note(shape, "insert", key)

    def _update(self, shape: Shape) -> None:
        keys = self._live[shape.name]
        key = self._random.choice(keys if self._random.random() < 0.3 else keys[-HOT:])
        self._set(shape, key, {"ver": self._new_ver(), **shape.edit(self._random)})
        self._note(shape, "update", key)

    def _delete(self, shape: Shape) -> None:
        key = self._leave(shape)
        self._run(f"delete from {shape.name} where {_is(shape)}", *key)
        self._note(shape, "delete", key)

    def _move(self, shape: Shape) -> None:
        """Another key for a row; what is long in it is often left alone."""
        key = self._new_key(shape)
        old = self._leave(shape)
        edits = shape.edit(self._random) if self._random.random() < 0.5 else {}
        self._set(shape, old, {**dict(zip(shape.key, key, strict=True)), "ver": self._new_ver(), **edits})
        self._note(shape, "move", key, old)

    def _note_columns(self) -> None:
        self._changes.append(Change("shifting", "columns", (), 0, (), tuple(self._columns())))

    def _touch_shifting(self) -> None:
        for key in self._live["shifting"]:
            self._set(self._shifting, key, {"ver": self._new_ver()})
            self._note(self._shifting, "update", key)

    def _set(self, shape: Shape, key: Key, values: Values) -> None:
        sets = ", ".join(f"{name} = %s" for name in values)
        self._run(f"update {shape.name} set {sets} where {_is(shape)}", *values.values(), *key)

    def _note(self, shape: Shape, op: str, key: Key, old: Key = ()) -> None:
        if op in ("insert", "move") and shape.key:
            self._live[shape.name].append(key)
        self._changes.append(Change(shape.name, op, key, self._ver, old))

    def _leave(self, shape: Shape) -> Key:
        """A key of ours that will be free."""
        keys = self._live[shape.name]
        at = self._random.randrange(len(keys))
        keys[at], keys[-1] = keys[-1], keys[at]
        self._dead[shape.name].append(keys[-1])
        return keys.pop()

    def _new_key(self, shape: Shape) -> Key:
        """A key that was never used, or one whose row was deleted."""
        dead = self._dead[shape.name]
        if dead and self._random.random() < 0.3:
            return dead.pop(self._random.randrange(len(dead)))
        self._next += WRITERS
        return (self._random.choice(("north", "south")), self._next) if len(shape.key) == 2 else (self._next,)

    def _new_ver(self) -> int:
        """Never used before by anybody, and growing: a row's key is always ours."""
        self._ver = (self._ver // WRITERS + 1) * WRITERS + self._number
        return self._ver


def _filled(table: str, n: int) -> Key:
    return ("north", n) if table == "pair" else (n,)


def _is(shape: Shape) -> str:
    return " and ".join(f"{name} = %s" for name in shape.key)


def _marks(row: Values) -> str:
    return ", ".join(["%s"] * len(row))
