"""The writers' day on MySQL and MariaDB, on a server that is killed as well."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from random import Random
from threading import Condition, Event, Lock
from typing import Any

import pymysql
from pymysql.constants import CR, ER
from pymysql.cursors import DictCursor

from connectors.mysql.coordinates import Coordinates, order
from tests.faults.workload import FILLED, MOST_EXTRAS, SHIFTING, TABLES, WIDE, RolledBack, Shape, Values, Writer
from tests.mysql_servers import OwnMysql
from tests.servers import until

XA = 0.15

SCHEMA = """
create table ledger (
    seq bigint auto_increment primary key, writer int not null, xid bigint not null, changes longtext not null
);
create table narrow (
    id bigint primary key, ver bigint not null, amount decimal(12,2), name varchar(100), flag tinyint(1) not null
);
create table wide (id int primary key, ver bigint not null, note text, body longtext, photo mediumblob, tags json);
create table pair (
    region varchar(20), number int, ver bigint not null, total decimal(30,6), due date, placed datetime(6) not null,
    primary key (region, number)
);
create table complete (id int primary key, ver bigint not null, price double, body longtext not null);
create table loose (ver bigint not null, line text, at datetime(6) not null);
create table shifting (id int primary key, ver bigint not null, fixed text);
"""

THOUSAND = "with recursive n(i) as (select 0 union all select i + 1 from n where i < 999)"

FILL = """
insert into narrow %(thousand)s select a.i + 1000 * b.i, 0, a.i / 7, concat('row ', a.i), a.i %% 2
    from n a join n b where a.i + 1000 * b.i < %(narrow)s;
insert into wide select id, 0, concat('row ', id), repeat(sha2(id, 256), 140), unhex(repeat(sha2(id, 256), 2)), '[]'
    from narrow where id < %(wide)s;
insert into pair select 'north', id, 0, id / 3, '2026-12-24', '2026-11-04 12:00' from narrow where id < 300;
insert into complete select id, 0, id / 3, repeat(sha2(id, 256), 140) from narrow where id < 300;
insert into loose select 0, concat('row ', id), now() from narrow where id < 300;
insert into shifting select id, 0, concat('row ', id) from narrow where id < 60;
"""

CONNECTION_KILLED = 1927  # of MariaDB
XA_RBTIMEOUT, XA_RBDEADLOCK = 1613, 1614
GONE = (
    *(CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR, CR.CR_CONN_HOST_ERROR, CONNECTION_KILLED),
    *(ER.SERVER_SHUTDOWN, ER.NEW_ABORTING_CONNECTION, ER.QUERY_INTERRUPTED),
)
GIVEN_UP = (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT)
NOT_OPEN = (ER.XAER_NOTA, ER.XAER_RMFAIL, ER.XA_RBROLLBACK, XA_RBTIMEOUT, XA_RBDEADLOCK)
RESTART_S = 400.0
"""Longer than the rig waits for an end and a start."""


def _fresh_wide(random: Random) -> Values:
    return {**WIDE.fresh(random), "tags": '["a", null, {"b": 1.5, "ä": "日本"}]'}


class Gate:
    """An ALTER commits, so nothing else may be open around it; all else goes side by side."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._inside = 0
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._inside >= 0 and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._inside == 0)
            self._waiting -= 1
            self._inside = -1
        try:
            yield
        finally:
            with self._changed:
                self._inside = 0
                self._changed.notify_all()


class MysqlDay:
    tables: Mapping[str, Shape] = {**TABLES, "wide": WIDE._replace(fresh=_fresh_wide)}
    avro_types: Mapping[str, str] = {"int": "int", "bigint": "long", "text": "string", "decimal(8,2)": "bytes"}

    def __init__(self, database: OwnMysql) -> None:
        self.database = database
        self.schema = database.name
        self.gate = Gate()
        self.up = Event()
        self.up.set()
        self.deciding: AbstractContextManager[Any] = Lock() if database.flavor == "mariadb" else nullcontext()
        """Held around XA statements: a crash within one leaves MariaDB's log and tables at odds (MDEV-21469)."""
        self.noted: list[tuple[str, str]] = []
        """The columns of `shifting` that the ledger knows."""

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql)

    def fill(self, narrow: int, wide: int) -> dict[str, int]:
        for statement in (SCHEMA + FILL % {"narrow": narrow, "wide": wide, "thousand": THOUSAND}).split(";")[:-1]:
            self.database.execute(statement)
        self.noted = self.columns("shifting")
        return {"narrow": narrow, "wide": wide, **FILLED}

    def writer(self, number: int, seed: int, rows: dict[str, int], stop: Event) -> Writer:
        return MysqlWriter(self, number, seed, rows, stop)

    def connector(self, name: str, sink: Mapping[str, Any]) -> dict[str, Any]:
        return self.database.connector(name, sink=sink)

    def strikes(self) -> Sequence[tuple[Callable[[], None], int]]:
        return [(self._cut, 3), (self._rotate, 2), (self._restart, 1), (self._crash, 1)]

    def columns(self, table: str) -> list[tuple[str, str]]:
        return columns_of(self.database.execute, table)

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.database.admin.cursor(DictCursor) as cursor:
            cursor.execute(f"select * from {table}")
            return list(cursor.fetchall())

    def last_entry(self) -> int:
        with self.nothing_prepared():
            return int(self.execute("select coalesce(max(seq), 0) from ledger")[0][0])

    @contextmanager
    def nothing_prepared(self) -> Iterator[None]:
        until(lambda: self.execute("select get_lock('ledger', 10)")[0][0], "no writer is inside its commit")
        try:
            yield
        finally:
            self.execute("select release_lock('ledger')")

    def transactions(self) -> list[tuple[int, str | None, str]]:
        return [(seq, None, changes) for seq, changes in self.execute("select seq, changes from ledger")]

    def confirmed(self) -> int | None:
        return None

    def transaction(self, source: Mapping[str, Any]) -> str:
        return str(source["gtid"])

    def _cut(self) -> None:
        """The server drops the stream."""
        self.database.cut()

    def _rotate(self) -> None:
        self.execute("flush binary logs")

    def _restart(self) -> None:
        self._again(self.database.server.stop)

    def _crash(self) -> None:
        with self.deciding:
            self._again(self.database.server.kill)

    def _again(self, end: Callable[[], None]) -> None:
        self.up.clear()
        end()
        self.database.server.start()
        self.database.reconnect()
        self.up.set()


class MysqlWriter(Writer):
    """Outlives its server: what became of an open transaction is read in the ledger."""

    def __init__(self, day: MysqlDay, number: int, seed: int, rows: dict[str, int], stop: Event) -> None:
        super().__init__(day, number, seed, rows, stop)
        self._mysql = day
        self._connection = self._connect()
        self._nth = 0

    @contextmanager
    def _committed(self) -> Iterator[None]:
        with self._mysql.gate.shared(), self._committed_alone():
            yield

    @contextmanager
    def _committed_alone(self) -> Iterator[None]:
        self._changes = []
        self._nth += 1
        xa = self._random.random() < XA
        self._begin(xa)
        try:
            with self._undoing():
                try:
                    yield
                    if self._changes:
                        self._finish(xa)
                    else:
                        raise RolledBack
                except pymysql.OperationalError as error:
                    if error.args[0] in GIVEN_UP:
                        raise RolledBack from None
                    if not self._is_down(error):
                        raise
                    if not self._recover():
                        raise RolledBack from None
        except RolledBack:
            self._roll_back(xa)

    @property
    def _name(self) -> str:
        """Of this transaction, for XA."""
        return f"w{self._number}-{self._nth}"

    def _begin(self, xa: bool) -> None:
        while True:
            with suppress(RolledBack), self._reconnecting():
                self._run(f"xa start '{self._name}'" if xa else "begin")
                return

    def _finish(self, xa: bool) -> None:
        """Enter the ledger and commit, before anybody else does."""
        while self._run("select get_lock('ledger', 100)")[0][0] != 1:
            pass
        self._run(
            "insert into ledger (writer, xid, changes) values (%s, %s, %s)", self._number, self._nth, self._entry()
        )
        seq = self._run("select last_insert_id()")[0][0]
        if xa:
            self._run("xa end %s", self._name)
            self._decide("prepare")
            time.sleep(self._random.choice((0.0, 0.0, 0.5)))
            if self._random.random() < 0.2:
                raise RolledBack
            self._decide("commit")
        else:
            self._run("commit")
        self.entered.append((seq, self._end_of_log()))
        self._run("select release_lock('ledger')")

    def _decide(self, how: str) -> list[tuple[Any, ...]]:
        with self._mysql.deciding:
            return self._run(f"xa {how} %s", self._name)

    def _roll_back(self, xa: bool) -> None:
        """Whatever state the transaction is in; where the server went down it is gone already."""
        run = self._run
        undo_xa = [partial(run, "xa end %s", self._name), partial(self._decide, "rollback")]
        steps = undo_xa if xa else [partial(run, "rollback")]
        for step in (*steps, partial(run, "select release_lock('ledger')")):
            try:
                step()
            except pymysql.OperationalError as error:
                if error.args[0] in NOT_OPEN:
                    continue
                if not self._is_down(error):
                    raise
                self._recover()

    def _is_down(self, error: pymysql.OperationalError) -> bool:
        """Whether the server went down. While it does, it may answer anything."""
        return error.args[0] in GONE or not self._mysql.up.is_set()

    def _recover(self) -> bool:
        """Connect to the server that is up again: whether the ledger has our last transaction.

        What was prepared for XA and not committed is rolled back.
        """
        while True:
            self.close()
            assert self._mysql.up.wait(RESTART_S), "the server is not up again"
            try:
                self._connection = self._connect()
                if any(name == self._name for *_, name in self._run("xa recover")):
                    self._decide("rollback")
                query = "select 1 from ledger where writer = %s and xid = %s"
                return bool(self._run(query, self._number, self._nth))
            except pymysql.OperationalError as error:  # it went down once more
                if not self._is_down(error):
                    raise

    def _connect(self) -> Any:
        return self._mysql.database.connect(init_command="set session transaction isolation level read committed")

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        with suppress(RolledBack), self._undoing():
            self._run("savepoint s")
            try:
                yield
            except RolledBack:
                self._run("rollback to savepoint s")
                raise

    def _alter(self) -> None:
        """ALTER commits: so the row before it, itself, and its entry with the rows behind it are three."""
        with self._mysql.gate.alone():
            for _ in range(self._random.randint(1, 2)):
                with self._committed_alone():
                    self._change_in(SHIFTING)
                self._new_shape()
                while (columns := self._columns()) != self._mysql.noted:
                    with self._committed_alone():
                        self._note_columns()
                        for _ in range(2):
                            self._change_in(SHIFTING)
                    if self._changes:
                        self._mysql.noted = columns

    def _new_shape(self) -> None:
        with suppress(RolledBack), self._reconnecting():
            self._run(self._alter_statement())

    def _alter_statement(self) -> str:
        extras = self._columns()[len(SHIFTING.columns) :]
        added = f"x{self._new_ver()}"
        way = self._random.choice(("add", "add", "drop", "rename", "type"))
        if not extras or (way == "add" and len(extras) < MOST_EXTRAS):
            kind = self._random.choice(("int default 7", "text", "decimal(8,2) not null default 1.5"))
            place = self._random.choice(("", " after fixed", ", algorithm=copy"))
            return f"alter table shifting add column {added} {kind}{place}"
        name, type_ = self._random.choice(extras)
        if way == "rename":
            return f"alter table shifting rename column {name} to {added}"
        if way == "type" and type_ != "text":
            return f"alter table shifting modify {name} {'bigint' if type_.startswith('int') else 'text'}"
        return f"alter table shifting drop column {name}"

    def _columns(self) -> list[tuple[str, str]]:
        while True:
            with suppress(RolledBack), self._reconnecting():
                return columns_of(self._run, "shifting")

    @contextmanager
    def _reconnecting(self) -> Iterator[None]:
        """Raises RolledBack where the server went down, once it is up again."""
        try:
            yield
        except pymysql.OperationalError as error:
            if not self._is_down(error):
                raise
            self._recover()
            raise RolledBack from None

    def _end_of_log(self) -> int:
        status = "show binary log status" if self._mysql.database.flavor == "mysql" else "show master status"
        file, pos, *_ = self._run(status)[0]
        return order(Coordinates(file, int(pos), ""))

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        if self._connection.open:
            self._connection.close()


def columns_of(execute: Callable[..., list[tuple[Any, ...]]], table: str) -> list[tuple[str, str]]:
    """(name, type) as the catalogue has them now; without the display width that MariaDB shows."""
    rows = execute(
        "select column_name, column_type from information_schema.columns"
        " where table_schema = database() and table_name = %s order by ordinal_position",
        table,
    )
    return [(name, "int" if type_.startswith("int(") else type_) for name, type_ in rows]
