"""What was measured, beside the figures to reach: as a table, and as JSON."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tests.bench.drain import Drained
from tests.bench.measure import Measured, Sample
from tests.bench.stages import Copies, Latency, Streams

SHARES = {"discard": 0.8, "avro": 0.6, "jsonl": 0.6}
SNAPSHOT_SHARE = 0.15
CPU_US = 9.0
CPU_JUDGED = ("batches", "discard")  # of single rows the reader that does nothing takes nearly as much
PEAK_RSS_MB = 150
GROWTH_MB = 40  # the queue may be empty early and full late: 16 MB of events; holding the rows would take 1,000
LATENCY_P99_MS = 100
SAMPLES_SHOWN = 60


class Row(NamedTuple):
    """One line of the table of rates."""

    name: str
    rows: int
    seconds: float
    share: float | None
    cpu_us: float
    peak_rss_mb: float | None


class Target(NamedTuple):
    """A figure to reach; `at_most` tells the direction."""

    name: str
    target: float
    measured: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def about(**server: Any) -> dict[str, Any]:
    """What is measured, and on what."""
    return {
        **server,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class Report:
    """Grows stage by stage; `show` prints it, `as_json` is all of it."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = dict(about)
        self.rows: list[Row] = []
        self.targets: list[Target] = []
        self._more: dict[str, Any] = {}
        self._peaks_mb: list[float] = []

    def big_transaction(self, rows: int, run: Measured) -> None:
        """Its rate has no limit beside it: Postgres works from its spill files."""
        name = f"big: {rows} rows"
        self._run(name, rows, run, None)
        self._at_most(f"{name}, peak RSS, MB", PEAK_RSS_MB, _mb(run.peak_rss_bytes))
        self._at_most(f"{name}, growth of RSS, MB", GROWTH_MB, growth_mb(run.samples))
        self._more["big_transaction"] = {"rows": rows, **dump(run)}

    def peak_rss(self) -> None:
        """The last target: over every run so far."""
        self._at_most("peak RSS of any run, MB", PEAK_RSS_MB, max(self._peaks_mb))

    def show(self, console: Console) -> None:
        rates = Table("", "rows/s", "of limit", "us CPU", "peak MB")
        for row in self.rows:
            share = "" if row.share is None else f"{row.share:.2f}"
            rss = "" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}"
            rates.add_row(row.name, f"{row.rows / row.seconds:,.0f}", share, f"{row.cpu_us:.1f}", rss)
        console.print(rates)
        for name, more in self._more.items():
            if name.startswith("latency"):
                figures = ", ".join(f"{key} {value:,.0f}" for key, value in more.items())
                console.print(f"{name}: {figures}")
        targets = Table("figure to reach", "target", "measured", "")
        for target in self.targets:
            sign = "<=" if target.at_most else ">="
            verdict = "[green]met" if target.met else "[red]not met"
            targets.add_row(target.name, f"{sign} {target.target:g}", f"{target.measured:.3g}", verdict)
        console.print(targets)

    def as_json(self) -> dict[str, Any]:
        return {
            "about": self._about,
            "rates": [row._asdict() for row in self.rows],
            "targets": [{**target._asdict(), "met": target.met} for target in self.targets],
            "stages": self._more,
        }

    def _limit(self, name: str, rows: int, drained: Drained, limit_s: float) -> None:
        cpu_us = 1e6 * drained.cpu_s / rows
        self.rows.append(Row(name, rows, drained.seconds, limit_s / drained.seconds, cpu_us, None))

    def _run(self, name: str, rows: int, run: Measured, limit_s: float | None) -> Row:
        share = limit_s / run.seconds if limit_s is not None else None
        row = Row(name, rows, run.seconds, share, 1e6 * run.cpu_s / rows, _mb(run.peak_rss_bytes))
        self.rows.append(row)
        self._peaks_mb.append(_mb(run.peak_rss_bytes))
        return row

    def _at_least(self, name: str, target: float, measured: float) -> None:
        self.targets.append(Target(name, target, measured, at_most=False))

    def _at_most(self, name: str, target: float, measured: float) -> None:
        self.targets.append(Target(name, target, measured, at_most=True))


class PostgresReport(Report):
    """Judged beside the limit of the server."""

    def streams(self, name: str, streams: Streams) -> None:
        limit_s = streams.limit_s
        self._limit(f"{name}: limit", streams.rows, streams.limit_first, limit_s)
        self._limit(f"{name}: limit again", streams.rows, streams.limit_last, limit_s)
        for sink, run in streams.runs.items():
            row = self._run(f"{name}: {sink}", streams.rows, run, limit_s)
            self._at_least(f"{row.name}, of the limit", SHARES[sink], limit_s / run.seconds)
            if (name, sink) == CPU_JUDGED:
                self._at_most(f"{row.name}, CPU us per event", CPU_US, row.cpu_us)
        self._more[name] = {
            **_ends(streams),
            "runs": {sink: dump(run) for sink, run in streams.runs.items()},
        }

    def copies(self, copies: Copies) -> None:
        self._limit("snapshot: COPY", copies.rows, copies.limit_first, copies.limit_s)
        self._limit("snapshot: COPY again", copies.rows, copies.limit_last, copies.limit_s)
        row = self._run("snapshot: discard", copies.rows, copies.snapshot, copies.limit_s)
        self._at_least(f"{row.name}, of the COPY", SNAPSHOT_SHARE, copies.limit_s / copies.snapshot.seconds)
        self._more["snapshot"] = {**_ends(copies), "run": dump(copies.snapshot)}

    def latency(self, sink: str, latency: Latency) -> None:
        p50_ms, p99_ms = (1000 * latency.quantile(share) for share in (0.5, 0.99))
        self._at_most(f"latency into {sink}, p99, ms", LATENCY_P99_MS, p99_ms)
        self._peaks_mb.append(_mb(latency.run[-1].peak_rss_bytes))
        self._more[f"latency_{sink}"] = {
            "transactions": latency.transactions,
            "transactions_per_s": round(latency.achieved_per_s),
            "p50_ms": p50_ms,
            "p99_ms": p99_ms,
            "max_ms": 1000 * latency.latencies_s[-1],
        }


def growth_mb(samples: list[Sample]) -> float:
    """How much the most of the last quarter is above the most of the second one; start-up is in the first."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    if not second:
        return 0.0
    return _mb(max(sample.rss_bytes for sample in last) - max(sample.rss_bytes for sample in second))


def _ends(stage: Streams | Copies) -> dict[str, Any]:
    """The limit, measured before and after the runs."""
    return {"limit_first": stage.limit_first._asdict(), "limit_last": stage.limit_last._asdict()}


def dump(run: Measured) -> dict[str, Any]:
    """With every nth sample as (seconds since the first, MB)."""
    first_s = run.samples[0].at_s
    shown = run.samples[:: max(1, len(run.samples) // SAMPLES_SHOWN)]
    return run._asdict() | {
        "samples": [(round(taken.at_s - first_s, 2), round(_mb(taken.rss_bytes), 1)) for taken in shown]
    }


def _mb(size_bytes: int) -> float:
    return size_bytes / 1_000_000
