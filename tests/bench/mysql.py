"""The bench on MySQL and MariaDB: `mysqlbinlog --raw` and tailrace, and Debezium's engine where a JDK is."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.drain import Drained
from tests.bench.measure import BenchFailed, Measured, Running
from tests.bench.report import Report, Row, about, dump
from tests.mysql_servers import BY_NAME, LocalMysql, MysqlDatabase
from tests.oracle import oracle
from tests.oracle.oracle import Oracle, Rated

STAGES = ("batches", "snapshot", "singles", "big")
ROWS_PER_TRANSACTION = 1000
NAME = "bench"
CPU_US = {"batches": 9.0, "singles": 20.0}
TIMES_DEBEZIUM = 3.0

SETTINGS = (
    *("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=1G"),
    *("--loose-innodb-redo-log-capacity=2G", "--loose-innodb-log-file-size=1G"),
)

TABLE = """
create table orders (
    id bigint primary key,
    quantity int not null,
    customer varchar(60) not null,
    email varchar(80),
    price decimal(10,2) not null,
    placed_at timestamp(6) not null,
    paid tinyint(1) not null,
    weight double,
    attributes json,
    cancelled_at datetime(6)
)
"""
NUMBERS = """
insert into n with recursive n(i) as (select 0 union all select i + 1 from n where i < 999) select i from n
"""
ROW = """
    i, mod(i, 1000), concat('customer with number ', mod(i, 100000)),
    concat('customer.', mod(i, 100000), '@purchasing.department.example.com'), mod(i, 1000000) / 100,
    '2026-01-01' + interval i second, mod(i, 2) = 0, i / 7.0e0,
    json_object('color', 'green', 'size', mod(i, 50), 'tags', json_array('new', 'sale')), null
"""
TOUCH = """
create procedure touch(first bigint, last bigint)
begin
    while first <= last do
        update orders set quantity = quantity + 1 where id = first;
        set first = first + 1;
    end while;
end
"""


class Streams(NamedTuple):
    """One workload read from the log; `engine` is None where Debezium's cannot be run."""

    rows: int
    limit_first: Drained
    limit_last: Drained
    engine: Rated | None
    run: Measured


class Copies(NamedTuple):
    rows: int
    limit: Drained
    engine: Rated | None
    run: Measured


class MysqlReport(Report):
    """Judged beside Debezium's engine, where it ran."""

    def streams(self, name: str, streams: Streams) -> None:
        limit_s = (streams.limit_first.seconds + streams.limit_last.seconds) / 2
        self._limit(f"{name}: mysqlbinlog --raw", streams.rows, streams.limit_first, limit_s)
        self._limit(f"{name}: the same again", streams.rows, streams.limit_last, limit_s)
        row = self._run(f"{name}: discard", streams.rows, streams.run, limit_s)
        self._beside(row, streams.engine)
        self._at_most(f"{row.name}, CPU us per event", CPU_US[name], row.cpu_us)
        self._more[name] = {"run": dump(streams.run), "engine": streams.engine and streams.engine._asdict()}

    def copies(self, copies: Copies) -> None:
        self._limit("snapshot: the server's client", copies.rows, copies.limit, copies.limit.seconds)
        row = self._run("snapshot: discard", copies.rows, copies.run, copies.limit.seconds)
        self._beside(row, copies.engine)
        self._more["snapshot"] = {"run": dump(copies.run), "engine": copies.engine and copies.engine._asdict()}

    def _beside(self, row: Row, engine: Rated | None) -> None:
        if engine is not None:
            name = f"{row.name.partition(':')[0]}: Debezium's engine"
            self.rows.append(Row(name, engine.events, engine.seconds, None, engine.cpu_us_per_event, None))
            times = (row.rows / row.seconds) / (engine.events / engine.seconds)
            self._at_least(f"{row.name}, times Debezium's rate", TIMES_DEBEZIUM, times)


@contextmanager
def serving(source: str) -> Iterator[tuple[LocalMysql, Path]]:
    """A server, and the folder of a bench on it. Raises BenchFailed where Debezium's engine fails."""
    folder = Path(tempfile.mkdtemp(prefix="tailrace-bench-"))
    server = LocalMysql(BY_NAME[source], SETTINGS)
    try:
        server.start()
        yield server, folder
    except RuntimeError as error:
        raise BenchFailed(str(error)) from None
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def measure(given: Any, tell: Any) -> MysqlReport:
    """Raises BenchFailed."""
    with (
        serving(given.source) as (server, folder),
        closing(MysqlBench(server, folder, tell, engine=given.engine)) as bench,
    ):
        return _stages(given, bench)


def _stages(given: Any, bench: "MysqlBench") -> MysqlReport:
    report = MysqlReport(about(server=f"{given.source} {bench.version()}"))
    if "batches" in given.stages:
        report.streams("batches", bench.batches(given.rows))
    if "snapshot" in given.stages:
        report.copies(bench.copies(given.rows))
    if "singles" in given.stages:
        report.streams("singles", bench.singles(given.rows * 2 // 5))
    if "big" in given.stages:
        rows = given.rows * 6
        report.big_transaction(rows, bench.big_transaction(rows))
    report.peak_rss()
    return report


class MysqlBench:
    """Every reader of a stage starts from one place in the log, which lies before the stage's rows."""

    def __init__(self, server: LocalMysql, folder: Path, tell: Any, *, engine: bool) -> None:
        self._server = server
        self._folder = folder
        self._tell = tell
        self._database = MysqlDatabase(server.kind, server.address, folder)
        self._engine = engine and server.kind.rig == "mysql" and shutil.which("javac") is not None
        self._full = 0
        """Rows in the table."""
        self._runs = 0
        self._database.execute("create table n (i int primary key)")
        self._database.execute(NUMBERS)
        self._database.execute(TABLE)
        self._database.execute(TOUCH)

    def close(self) -> None:
        self._database.admin.close()

    def version(self) -> str:
        return str(self._database.execute("select version()")[0][0])

    def batches(self, rows: int) -> Streams:
        """`rows` inserts in transactions of ROWS_PER_TRANSACTION."""
        with Place(self) as place:
            self._tell(f"batches: writing {rows} rows in transactions of {ROWS_PER_TRANSACTION}")
            self._fill(rows, ROWS_PER_TRANSACTION)
            return self._streams("batches", rows, place)

    def singles(self, rows: int) -> Streams:
        """`rows` updates of one row, each a transaction."""
        if self._full < rows:
            self._fill(rows, ROWS_PER_TRANSACTION)
        with Place(self) as place:
            self._tell(f"singles: updating {rows} rows one by one")
            self._database.execute(f"call touch(1, {rows})")
            return self._streams("singles", rows, place)

    def big_transaction(self, rows: int) -> Measured:
        """One transaction into the sink that drops everything."""
        with Place(self) as place:
            self._tell(f"big: writing {rows} rows in one transaction")
            self._fill(rows, rows)
            self._tell("big: tailrace")
            return self._run(place.state)

    def copies(self, rows: int) -> Copies:
        """Snapshot of `rows` rows."""
        if self._full != rows:
            self._fill(rows, ROWS_PER_TRANSACTION)
        self._tell("snapshot")
        run = self._run(None, snapshot="only")
        properties = {**self._properties(self._folder / "snapshot"), "snapshot.mode": "initial_only"}
        engine = oracle.rate(self._folder, properties, rows) if self._engine else None
        return Copies(rows, self._selected(), engine, run)

    def connector(self, **source: Any) -> dict[str, Any]:
        tables = {"tables": [f"{self._database.name}.orders"], **source}
        connector = self._database.connector(NAME, source=tables, sink={"type": "discard"})
        del connector["source"]["databases"]
        return connector

    def place(self) -> tuple[str, int]:
        """Where the log ends."""
        status = "show binary log status" if self._database.flavor == "mysql" else "show master status"
        file, pos, *_ = self._database.execute(status)[0]
        return file, int(pos)

    def stored_state(self) -> Path:
        """A state folder whose offset is the end of the log."""
        self._runs += 1
        name = f"{NAME}{self._runs}"
        self._start(self.connector(snapshot="never"), name).finish()
        return self._folder / f"{name}-state"

    def engine_offsets(self) -> Path | None:
        """The folder where Debezium's engine keeps its own, which are at the end of the log but for one row."""
        if not self._engine:
            return None
        folder = self._folder / f"engine{self._runs}"
        folder.mkdir()
        engine = Oracle(folder, {**self._properties(folder), "snapshot.mode": "no_data"})
        self._end_readers()
        engine.start()
        try:
            while engine.running() and not self._reads():
                time.sleep(0.1)
            self._database.execute("delete from orders where id = -1")
            self._database.execute(f"insert into orders select {ROW} from (select -1 as i) one")
            engine.finish()
        finally:
            engine.stop()
        return folder

    def _streams(self, name: str, rows: int, place: "Place") -> Streams:
        self._tell(f"{name}: limit")
        first = self._binlog(place)
        self._tell(f"{name}: tailrace")
        run = self._run(place.state)
        engine = None
        if place.engine:
            self._tell(f"{name}: Debezium's engine")
            properties = {**self._properties(place.engine), "snapshot.mode": "no_data"}
            engine = oracle.rate(self._folder, properties, rows)
        return Streams(rows, first, self._binlog(place), engine, run)

    def _run(self, state: Path | None, **source: Any) -> Measured:
        measured = self._started(state, **source).finish()
        if measured.seconds <= 0:
            raise BenchFailed("a run stored no position behind its start")
        return measured

    def _started(self, state: Path | None, **source: Any) -> Running:
        """From a copy of `state`."""
        self._runs += 1
        name = f"{NAME}{self._runs}"
        if state is not None:
            shutil.copytree(state, self._folder / f"{name}-state")
        return self._start(self.connector(**(source or {"snapshot": "never"})), name)

    def _start(self, connector: Mapping[str, Any], run: str) -> Running:
        self._end_readers()
        return Running(self._folder, connector, "--until-caught-up", reads=self._reads, run=run)

    def _reads(self) -> bool:
        return bool(self._database.dumps())

    def _end_readers(self) -> None:
        """The server notices late that one is gone."""
        while self._database.cut():
            time.sleep(0.05)

    def _fill(self, rows: int, per_transaction: int) -> None:
        """An empty table gets `rows` rows, ids from 1 on."""
        self._database.execute("truncate table orders")
        for first in range(0, rows, per_transaction):
            several = min(per_transaction, rows - first)
            thousands = -(-several // 1000)
            self._database.execute(
                f"insert into orders select {ROW} from (select {first} + 1 + a.i + 1000 * (b.i + 1000 * c.i) as i"
                f" from n c join n b join n a where c.i <= {thousands // 1000} and b.i + 1000 * c.i < {thousands}"
                f" and a.i + 1000 * (b.i + 1000 * c.i) < {several}) numbered"
            )
        self._full = rows

    def _binlog(self, place: "Place") -> Drained:
        program = self._server.program("mysqlbinlog" if self._database.flavor == "mysql" else "mariadb-binlog")
        target = self._folder / "raw"
        target.mkdir()
        address = self._server.address
        reach = [f"--host={address.host}", f"--port={address.port}", f"--user={address.user}"]
        options = ["--read-from-remote-server", "--raw", "--to-last-log", f"--result-file={target}/"]
        try:
            drained = _timed([program, *reach, *options, f"--start-position={place.pos}", place.file])
            return drained._replace(size_bytes=sum(path.stat().st_size for path in target.iterdir()))
        finally:
            shutil.rmtree(target)

    def _selected(self) -> Drained:
        """The server's own client reads the table and writes its lines to nowhere."""
        program = self._server.program("mysql" if self._database.flavor == "mysql" else "mariadb")
        address = self._server.address
        reach = [f"--host={address.host}", f"--port={address.port}", f"--user={address.user}", self._database.name]
        return _timed([program, "--quick", "--batch", *reach, "--execute=select * from orders"])

    def _properties(self, folder: Path) -> dict[str, str]:
        folder.mkdir(exist_ok=True)
        return {
            "name": NAME,
            "connector.class": "io.debezium.connector.mysql.MySqlConnector",
            "topic.prefix": NAME,
            "database.hostname": self._server.address.host,
            "database.port": str(self._server.address.port),
            "database.user": self._server.address.user,
            "database.password": self._server.address.password,
            "database.server.id": "5401",
            "database.include.list": self._database.name,
            "table.include.list": f"{self._database.name}.orders",
            "include.schema.changes": "false",
            "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
            "schema.history.internal.file.filename": str(folder / "history.dat"),
            "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "offset.storage.file.filename": str(folder / "offsets.dat"),
            "offset.flush.interval.ms": "1000",
        }


class Place:
    """The end of the log before a stage's rows, as each reader keeps it."""

    def __init__(self, bench: MysqlBench) -> None:
        self.engine = bench.engine_offsets()
        self.state = bench.stored_state()
        self.file, self.pos = bench.place()

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.state)


def _timed(command: list[str]) -> Drained:
    """Raises BenchFailed with what the program says."""
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise BenchFailed(f"{command[0]} ended with {process.returncode}: {said[-2000:]}")
    return Drained(started, time.time() - started, used.ru_utime + used.ru_stime, 0)
