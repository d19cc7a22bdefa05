"""Seeded writers that keep a ledger: what each committed transaction did, in the order of the commits.

Every writer owns its keys, so that what it does depends on nothing but its seed. The last thing that a transaction
writes is its row of the ledger, under a lock that is held until after the commit: `seq` grows as commits do.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from typing import Any, NamedTuple

import psycopg

WRITERS = 3
ROLLED_BACK = 0.2
SAVEPOINT = 0.15
ALTER = 0.03
MOST_EXTRAS = 5
HOT = 20
"""So many of a writer's rows in a table get most of the updates."""

SCHEMA = """
create sequence ledger_seq;
create sequence column_seq;
create table ledger (seq bigint primary key, writer int not null, xid bigint not null, changes text not null);

create table narrow (
    id bigint primary key, ver bigint not null, amount numeric(12,2), name text, flag boolean not null
);

create table wide (id int primary key, ver bigint not null, note text, body text, photo bytea, tags text[]);
alter table wide alter column body set storage external, alter column photo set storage external;

create table pair (
    region text, number int, ver bigint not null, total numeric, due date, placed timestamp not null,
    primary key (region, number)
);

create table complete (id int primary key, ver bigint not null, price double precision, body text not null);
alter table complete alter column body set storage external;
alter table complete replica identity full;

create table loose (ver bigint not null, line text, at timestamptz not null);

create table shifting (id int primary key, ver bigint not null, fixed text);
"""

FILL = """
insert into narrow select id, 0, id / 7.0, 'row ' || id, id %% 2 = 0 from generate_series(0, %(narrow)s - 1) id;
insert into wide select id, 0, 'row ' || id, repeat(md5(id::text), 280), decode(repeat(md5(id::text), 4), 'hex'), '{}'
    from generate_series(0, %(wide)s - 1) id;
insert into pair select 'north', n, 0, n / 3.0, '2026-12-24', '2026-11-04 12:00' from generate_series(0, 299) n;
insert into complete select id, 0, id / 3.0, repeat(md5(id::text), 280) from generate_series(0, 299) id;
insert into loose select 0, 'row ' || n, now() from generate_series(1, 300) n;
insert into shifting select id, 0, 'row ' || id from generate_series(0, 59) id;
"""
FILLED = {"pair": 300, "complete": 300, "shifting": 60}

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
    "loose", (), ("ver", "line", "at"), lambda random: {"line": "a line", "at": "2026-11-04 12:00+01"}, lambda _: {}
)
KEYED = (NARROW, WIDE, PAIR, COMPLETE, SHIFTING)
TABLES = {shape.name: shape for shape in (*KEYED, LOOSE)}


class Change(NamedTuple):
    """What one statement did. `op`: insert, update, delete, move (to `key` from `old`), columns (a new shape)."""

    table: str
    op: str
    key: Key
    ver: int
    old: Key = ()
    columns: tuple[tuple[str, str], ...] = ()  # (name, type)


def fill(connection: psycopg.Connection[Any], narrow: int, wide: int) -> dict[str, int]:
    """Make the tables and the rows that are there before a connector starts; how many each has. Their `ver` is 0."""
    connection.execute(SCHEMA.encode())
    connection.execute((FILL % {"narrow": narrow, "wide": wide}).encode())
    return {"narrow": narrow, "wide": wide, **FILLED}


class Writer:
    """One of WRITERS, in a thread of its own.

    `entered` holds, for each committed transaction, its `seq` and an LSN at or behind its commit.
    """

    def __init__(self, dsn: str, number: int, seed: int, rows: dict[str, int], stop: Event) -> None:
        self.entered: list[tuple[int, int]] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._write, name=f"writer-{number}", daemon=True)
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._number = number
        self._random = Random(f"{seed}/{number}")
        self._halt = stop
        self._ver = 0
        self._next = max(rows.values()) + number - max(rows.values()) % WRITERS
        self._live = {table: [_filled(table, n) for n in range(rows[table]) if n % WRITERS == number] for table in rows}
        self._dead: dict[str, list[Key]] = {table: [] for table in rows}
        self._changes: list[Change] = []

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for its last transaction. Raises what stopped it before."""
        self._thread.join()
        if self._error:
            raise self._error

    def _write(self) -> None:
        try:
            while not self._halt.wait(self._random.uniform(0.0, 0.01)):
                self._transaction()
            with self._committed():
                self._touch_shifting()
        except BaseException as error:  # noqa: BLE001 (raised by `join`)
            self._error = error
        finally:
            self._connection.close()

    def _transaction(self) -> None:
        keep = self._random.random() >= ROLLED_BACK
        with self._committed():
            if self._random.random() < ALTER:
                self._alter()
            else:
                for _ in range(self._random.randint(1, 6)):
                    if self._random.random() < SAVEPOINT:
                        self._savepoint()
                    else:
                        self._change()
            if not keep:
                raise psycopg.Rollback

    @contextmanager
    def _committed(self) -> Iterator[None]:
        """A transaction with its entry in the ledger."""
        self._changes = []
        entered: list[int] = []
        with self._connection.transaction(), self._undoing():
            yield
            if self._changes:
                entered.append(self._enter())
        if entered:
            row = self._run("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
            assert row is not None
            self.entered.append((entered[0], int(row[0])))

    def _savepoint(self) -> None:
        with self._connection.transaction(), self._undoing():
            self._change()
            if self._random.random() < 0.5:
                raise psycopg.Rollback

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

    def _enter(self) -> int:
        self._run("select pg_advisory_xact_lock(1)")
        changes = json.dumps(self._changes)
        row = self._run(
            "insert into ledger select nextval('ledger_seq'), %s, pg_current_xact_id()::text::bigint, %s returning seq",
            self._number,
            changes,
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _change(self) -> None:
        if self._random.random() < 0.15:
            self._insert(LOOSE)
        else:
            self._change_in(self._random.choice(KEYED))

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

    def _alter(self) -> None:
        """Change the shape of a table between two changes of one transaction."""
        self._run("lock table shifting in access exclusive mode")
        self._change_in(SHIFTING)
        for _ in range(self._random.randint(1, 2)):
            self._run(self._new_shape())
            columns = tuple((name, type_) for name, type_ in self._columns())
            self._changes.append(Change("shifting", "columns", (), 0, (), columns))
            for _ in range(2):
                self._change_in(SHIFTING)

    def _new_shape(self) -> str:
        extras = self._columns()[len(SHIFTING.columns) :]
        added = f"x{self._run('select nextval(%s)', 'column_seq').fetchone()[0]}"  # type: ignore[index]
        way = self._random.choice(("add", "add", "drop", "rename", "type"))
        if not extras or (way == "add" and len(extras) < MOST_EXTRAS):
            kind = self._random.choice(("int default 7", "text", "numeric(8,2) not null default 1.5"))
            return f"alter table shifting add column {added} {kind}"
        name, type_ = self._random.choice(extras)
        if way == "rename":
            return f"alter table shifting rename column {name} to {added}"
        if way == "type" and type_ != "text":
            wider = "bigint" if type_ == "integer" else "text"
            freed = f"alter {name} drop default, alter {name} drop not null"
            return f"alter table shifting {freed}, alter {name} type {wider}"
        return f"alter table shifting drop column {name}"

    def _columns(self) -> list[tuple[str, str]]:
        return columns_of(self._connection, "shifting")

    def _touch_shifting(self) -> None:
        """An event for every row in the last shape: what ALTER filled in is in no event of its own."""
        for key in self._live["shifting"]:
            self._set(SHIFTING, key, {"ver": self._new_ver()})
            self._note(SHIFTING, "update", key)

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
        return (self._random.choice(("north", "south")), self._next) if shape is PAIR else (self._next,)

    def _new_ver(self) -> int:
        """Never used before by anybody, and growing: a row's key is always ours."""
        self._ver = (self._ver // WRITERS + 1) * WRITERS + self._number
        return self._ver

    def _run(self, statement: str, *values: Any) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement.encode(), values or None)


def columns_of(connection: psycopg.Connection[Any], table: str) -> list[tuple[str, str]]:
    """(name, type) as the catalogue has them now."""
    rows = connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (table,),
    )
    return [(name, type_) for name, type_ in rows]


def _filled(table: str, n: int) -> Key:
    return ("north", n) if table == "pair" else (n,)


def _is(shape: Shape) -> str:
    return " and ".join(f"{name} = %s" for name in shape.key)


def _marks(row: Values) -> str:
    return ", ".join(["%s"] * len(row))
