"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from service.demo_events import Follower

OPS = {"r": "copied", "c": "inserted", "u": "updated", "d": "deleted"}
REDRAW_S = 0.25
LINE_S = 2.0


class Screen:
    """Call `show` often; it decides what to print when. Rates are over the time since the last print."""

    def __init__(self, console: Console, follower: Follower, tables: list[str]) -> None:
        self._console = console
        self._follower = follower
        self._tables = tables
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._started_at = time.monotonic()
        self._rate = 0.0
        self._shown = (self._started_at, 0)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self) -> None:
        now, (then, before) = time.monotonic(), self._shown
        if now - then < (REDRAW_S if self._live else LINE_S):
            return
        self._rate = (self._follower.total - before) / (now - then)
        self._shown = (now, self._follower.total)
        if self._live:
            self._live.update(self._table(), refresh=True)
        else:
            self._console.print(f"{self._summary()}; {self._by_table()}")

    def _summary(self) -> str:
        elapsed_s = time.monotonic() - self._started_at
        return f"{elapsed_s:3.0f} s  {self._follower.total:,} events  {self._rate:,.0f} events/s  lag {self._lag()}"

    def _lag(self) -> str:
        """How old the newest event in the files is."""
        newest_ms = self._follower.newest_ms
        return f"{max(0.0, time.time() * 1000 - newest_ms):,.0f} ms" if newest_ms else "-"

    def _by_table(self) -> str:
        return ", ".join(f"{table} {self._of(table):,}" for table in self._tables)

    def _of(self, table: str) -> int:
        return sum(count for (name, _), count in self._follower.counts.items() if name == table)

    def _table(self) -> Table:
        drawn = Table(caption=self._summary(), caption_justify="left")
        drawn.add_column("table", min_width=18)
        for word in (*OPS.values(), "events"):
            drawn.add_column(word, justify="right", min_width=8)
        for table in self._tables:
            counts = [self._follower.counts[table, op] for op in OPS]
            drawn.add_row(table, *(f"{count:,}" for count in counts), f"{sum(counts):,}")
        return drawn
