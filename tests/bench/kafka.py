"""The bench into a Kafka broker: the limit of the source, tailrace twice, Debezium's engine with Kafka's producer."""

import shutil
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.bench import workload
from tests.bench.broker import NAME, Broker, Delivered
from tests.bench.drain import PUBLICATION, Drained, commits
from tests.bench.measure import Address, BenchFailed, connector
from tests.bench.mysql import ROWS_PER_TRANSACTION, MysqlBench, Place, serving
from tests.bench.report import Report, Row, about, dump
from tests.bench.stages import FIRST_RUN, LAST_RUN, Bench, Latency, Tell
from tests.mysql_servers import LocalMysql
from tests.oracle import make_goldens, oracle
from tests.oracle.oracle import Rated

SHARE = 0.6
TIMES_DEBEZIUM = 3.0
ENGINE_ROWS = 3
"""The engine gets one row in so many, for it would take so much longer."""
TRANSACTIONS_PER_S = 1000
WARM_UP_S = 2
RUNS: Mapping[str, Mapping[str, Any]] = {
    "kafka": {},
    "kafka again": {},
    "kafka, no headers": {"context_headers": False},
}
"""Keys of the sink: twice its defaults, which send the headers that Debezium's engine sends, too."""


class EngineDelivered(NamedTuple):
    rated: Rated
    broker_cpu_s: float


class Streams(NamedTuple):
    """One workload read from the log; `engine` is None where Debezium's cannot be run."""

    rows: int
    limit_first: Drained
    limit_last: Drained
    runs: dict[str, Delivered]
    engine: EngineDelivered | None


class KafkaReport(Report):
    """Judged beside the limit of the server where that decodes rows, and beside Debezium's engine where it ran."""

    def streams(self, streams: Streams, *, share: float | None) -> None:
        limit_s = (streams.limit_first.seconds + streams.limit_last.seconds) / 2
        self._limit("batches: limit", streams.rows, streams.limit_first, limit_s)
        self._limit("batches: limit again", streams.rows, streams.limit_last, limit_s)
        for name, (run, broker_cpu_s) in streams.runs.items():
            row = self._run(f"batches: {name}", streams.rows, run, limit_s)
            self._broker(row, broker_cpu_s)
            if share is not None:
                self._at_least(f"{row.name}, of the limit", share, limit_s / run.seconds)
            if streams.engine is not None:
                rated = streams.engine.rated
                times = (streams.rows / run.seconds) / (rated.events / rated.seconds)
                self._at_least(f"{row.name}, times Debezium's rate", TIMES_DEBEZIUM, times)
        if streams.engine is not None:
            rated, broker_cpu_s = streams.engine
            row = Row("batches: Debezium", rated.events, rated.seconds, None, rated.cpu_us_per_event, None)
            self.rows.append(row)
            self._broker(row, broker_cpu_s)
        self._more["batches"] = {
            "runs": {name: dump(delivered.run) for name, delivered in streams.runs.items()},
            "engine": streams.engine and streams.engine.rated._asdict(),
        }

    def latency(self, name: str, latency: Latency) -> None:
        """Nothing is judged: there is no figure to reach."""
        self._more[f"latency, {name}"] = {
            "transactions": latency.transactions,
            "transactions_per_s": round(latency.achieved_per_s),
            **{f"p{share:g}_ms": 1000 * latency.quantile(share / 100) for share in (50, 99)},
            "max_ms": 1000 * latency.latencies_s[-1],
        }

    def _broker(self, row: Row, cpu_s: float) -> None:
        self.rows.append(Row(f"{row.name}: the broker", row.rows, row.seconds, None, 1e6 * cpu_s / row.rows, None))


class PostgresIntoKafka(Bench):
    def __init__(
        self, address: Address, admin: psycopg.Connection[Any], tell: Tell, broker: Broker, *, engine: bool
    ) -> None:
        super().__init__(address, admin, tell)
        self._broker = broker
        self._engine = engine and shutil.which("javac") is not None
        self._latencies = 0

    def into_kafka(self, rows: int) -> Streams:
        """`rows` inserts in transactions of ROWS_PER_TRANSACTION, read from the log by each."""
        slots = [f"kafka{nth}" for nth in range(len(RUNS))]
        with self._prepared(FIRST_RUN, LAST_RUN, "debezium", *slots):
            self._load("batches", rows, ROWS_PER_TRANSACTION)
            first = self._drain(FIRST_RUN, rows)
            runs = {}
            for slot, (name, keys) in zip(slots, RUNS.items(), strict=True):
                self._tell(name)
                start = partial(self._start, self._connector(slot, keys), "--until-caught-up")
                runs[name] = self._broker.delivered(start, rows)
            return Streams(rows, first, self._drain(LAST_RUN, rows), runs, self._debezium(rows // ENGINE_ROWS))

    def arrival(self, rows_per_s: int, seconds: float) -> Latency:
        """A steady rate in at most TRANSACTIONS_PER_S transactions; seconds from commit to a consumer of the topic."""
        together = max(1, rows_per_s // TRANSACTIONS_PER_S)
        self._tell(f"latency: {rows_per_s} rows a second for {seconds:g} s, {together} in a transaction")
        self._latencies += 1
        slot = f"latency{self._latencies}"
        with self._prepared(slot, "judge"):
            self._broker.empty()
            run = self._start(self._connector(slot, {}))
            try:
                with closing(run.wait_for_offset()), self._broker.arrivals() as arrivals:
                    written = 0
                    for first, lasts_s in ((0, float(WARM_UP_S)), (1_000_000, seconds)):
                        writer = self._write(first, rows_per_s, lasts_s, together)
                        if writer.wait():
                            raise BenchFailed("the writer failed; what it said is above")
                        warm_up, written = written, written + int(rows_per_s / together * lasts_s)
                    arrivals.wait(written * together)
                run.poll()
            finally:
                run.stop()
            committed = list(commits(self._address.dsn, "judge", written))
        if len(arrivals.times_s) != written * together:
            raise BenchFailed(f"{len(arrivals.times_s)} events came out of the topic for {written * together} rows")
        latencies = [
            arrivals.times_s[nth * together + row] - committed[nth].at_s
            for nth in range(warm_up, written)
            for row in range(together)
        ]
        achieved = (written - warm_up) / (committed[-1].at_s - committed[warm_up].at_s)
        return Latency(written - warm_up, achieved, sorted(latencies), run.samples)

    def _connector(self, slot: str, keys: Mapping[str, Any]) -> dict[str, Any]:
        return {**connector(self._address, slot, {}, snapshot="never"), **self._broker.sections(keys)}

    def _debezium(self, rows: int) -> EngineDelivered | None:
        if not self._engine:
            return None
        self._tell(f"Debezium's engine, the first {rows} rows")
        server = conninfo_to_dict(self._address.dsn)
        properties = {
            **make_goldens.engine_properties(int(server["port"] or 5432)),
            "database.hostname": str(server["host"]),
            "database.user": str(server["user"]),
            "database.dbname": str(server["dbname"]),
            "topic.prefix": NAME,
            "slot.name": "debezium",
            "publication.name": PUBLICATION,
            "snapshot.mode": "no_data",
            "table.include.list": workload.TABLE,
            "offset.storage.file.filename": str(self._address.folder / "offsets.dat"),
        }
        return engine_into(self._broker, self._address.folder, properties, rows)


class MysqlIntoKafka(MysqlBench):
    def __init__(self, server: LocalMysql, folder: Path, tell: Tell, broker: Broker, *, engine: bool) -> None:
        super().__init__(server, folder, tell, engine=engine)
        self._broker = broker
        self._keys: Mapping[str, Any] = {}
        broker.topic = f"{NAME}.{self._database.name}.orders"

    def connector(self, **source: Any) -> dict[str, Any]:
        return {**super().connector(**source), **self._broker.sections(self._keys)}

    def into_kafka(self, rows: int) -> Streams:
        """`rows` inserts in transactions of ROWS_PER_TRANSACTION, read from the log by each."""
        with Place(self) as place:
            self._tell(f"batches: writing {rows} rows in transactions of {ROWS_PER_TRANSACTION}")
            self._fill(rows, ROWS_PER_TRANSACTION)
            self._tell("batches: limit")
            first = self._binlog(place)
            runs = {}
            for name, self._keys in RUNS.items():
                self._tell(name)
                runs[name] = self._broker.delivered(partial(self._started, place.state), rows)
            engine = None
            if place.engine:
                some = rows // ENGINE_ROWS
                self._tell(f"Debezium's engine, the first {some} rows")
                properties = {**self._properties(place.engine), "snapshot.mode": "no_data"}
                engine = engine_into(self._broker, self._folder, properties, some)
            return Streams(rows, first, self._binlog(place), runs, engine)


def engine_into(broker: Broker, folder: Path, properties: Mapping[str, str], rows: int) -> EngineDelivered:
    """Raises BenchFailed where it fails."""
    broker.empty()
    before_s = broker.cpu_s()
    try:
        rated = oracle.rate(folder, properties, rows, bootstrap=broker.bootstrap)
    except RuntimeError as error:
        raise BenchFailed(str(error)) from None
    return EngineDelivered(rated, broker.cpu_s() - before_s)


def measure_postgres(given: Any, address: Address, admin: psycopg.Connection[Any], tell: Tell) -> KafkaReport:
    """The table and its publication are there. Raises BenchFailed."""
    report = KafkaReport(about(postgres=admin.info.parameter_status("server_version")))
    with closing(Broker(f"{NAME}.{workload.TABLE}")) as broker:
        bench = PostgresIntoKafka(address, admin, tell, broker, engine=given.engine)
        if "batches" in given.stages:
            report.streams(bench.into_kafka(given.rows), share=SHARE)
        if "latency" in given.stages:
            for rows_per_s in given.rates:
                for again in ("", ", again"):
                    latency = bench.arrival(rows_per_s, given.latency_seconds)
                    report.latency(f"{rows_per_s} rows/s{again}", latency)
    return report


def measure_mysql(given: Any, tell: Tell) -> KafkaReport:
    """Raises BenchFailed."""
    with (
        serving(given.source) as (server, folder),
        closing(Broker(NAME)) as broker,
        closing(MysqlIntoKafka(server, folder, tell, broker, engine=given.engine)) as bench,
    ):
        report = KafkaReport(about(server=f"{given.source} {bench.version()}"))
        if "batches" in given.stages:
            report.streams(bench.into_kafka(given.rows), share=None)
        return report
