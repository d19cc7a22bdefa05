"""The writers' day on Postgres."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Event
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.faults.workload import FILLED, MOST_EXTRAS, SHIFTING, TABLES, RolledBack, Shape, Writer
from tests.servers import Database

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


class PostgresDay:
    tables: Mapping[str, Shape] = TABLES
    schema = "public"
    avro_types: Mapping[str, str] = {"integer": "int", "bigint": "long", "text": "string", "numeric(8,2)": "bytes"}

    def __init__(self, database: Database) -> None:
        self.database = database
        self.execute = database.execute
        self._slot = ""

    def fill(self, narrow: int, wide: int) -> dict[str, int]:
        self.database.admin.execute(SCHEMA.encode())
        self.database.admin.execute((FILL % {"narrow": narrow, "wide": wide}).encode())
        return {"narrow": narrow, "wide": wide, **FILLED}

    def writer(self, number: int, seed: int, rows: dict[str, int], stop: Event) -> Writer:
        return PostgresWriter(self, number, seed, rows, stop)

    def connector(self, name: str, sink: Mapping[str, Any]) -> dict[str, Any]:
        self._slot = f"tailrace_{name}"
        tables = [f"public.{table}" for table in (*TABLES, "ledger")]
        return self.database.connector(name, source={"tables": tables, "rewind_bytes": 0}, sink=sink)

    def strikes(self) -> Sequence[tuple[Callable[[], None], int]]:
        return [(self._cut, 3)]

    def columns(self, table: str) -> list[tuple[str, str]]:
        return columns_of(self.database.admin, table)

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.database.admin.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(f"select * from {table}".encode()).fetchall()

    def last_entry(self) -> int:
        with self.database.admin.transaction():
            self.execute("select pg_advisory_xact_lock(1)")  # a writer's, held until its commit is visible
            return int(self.execute("select coalesce(max(seq), 0) from ledger")[0][0])

    def nothing_prepared(self) -> AbstractContextManager[None]:
        return nullcontext()  # nobody prepares here

    def transactions(self) -> list[tuple[int, str | None, str]]:
        return [(seq, str(xid), changes) for seq, xid, changes in self.execute("select seq, xid, changes from ledger")]

    def confirmed(self) -> int | None:
        query = "select confirmed_flush_lsn - '0/0' from pg_replication_slots where slot_name = %s"
        rows = self.execute(query, self._slot)
        return int(rows[0][0]) if rows and rows[0][0] else None

    def transaction(self, source: Mapping[str, Any]) -> str:
        return str(source["txId"])

    def _cut(self) -> None:
        """The server drops the stream."""
        self.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots"
            " where slot_name = %s and active_pid is not null",
            self._slot,
        )


class PostgresWriter(Writer):
    def __init__(self, day: PostgresDay, number: int, seed: int, rows: dict[str, int], stop: Event) -> None:
        super().__init__(day, number, seed, rows, stop)
        self._connection = psycopg.connect(day.database.dsn, autocommit=True)

    @contextmanager
    def _committed(self) -> Iterator[None]:
        self._changes = []
        entered: list[int] = []
        with suppress(RolledBack), self._connection.transaction(), self._undoing():
            yield
            if self._changes:
                entered.append(self._enter())
        for seq in entered:
            self.entered.append((seq, self._run("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0]))

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        with suppress(RolledBack), self._connection.transaction(), self._undoing():
            yield

    def _enter(self) -> int:
        self._run("select pg_advisory_xact_lock(1)")
        rows = self._run(
            "insert into ledger select nextval('ledger_seq'), %s, pg_current_xact_id()::text::bigint, %s returning seq",
            self._number,
            self._entry(),
        )
        return int(rows[0][0])

    def _alter(self) -> None:
        with self._committed():
            self._run("lock table shifting in access exclusive mode")
            self._change_in(SHIFTING)
            for _ in range(self._random.randint(1, 2)):
                self._run(self._new_shape())
                self._note_columns()
                for _ in range(2):
                    self._change_in(SHIFTING)
            self._maybe_roll_back()

    def _new_shape(self) -> str:
        extras = self._columns()[len(SHIFTING.columns) :]
        added = f"x{self._run('select nextval(%s)', 'column_seq')[0][0]}"
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

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._connection.close()


def columns_of(connection: psycopg.Connection[Any], table: str) -> list[tuple[str, str]]:
    """(name, type) as the catalogue has them now."""
    rows = connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (table,),
    )
    return [(name, type_) for name, type_ in rows]
