"""`tailrace demo`: a real database, a live workload, a connector into files, and the proof that nothing is missing."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from service import exits
from service.demo_events import Follower, differences, fold, read_published
from service.demo_screen import Screen
from service.demo_stage import DemoFailed, Stage
from service.demo_workload import KEYS

NAME = "demo"
SEED = 20
PATIENCE_S = 60.0

Engine = Literal["postgres", "mysql", "mariadb"]


class Output(NamedTuple):
    """What the demo leaves behind, all below one folder."""

    directory: Path

    @property
    def events(self) -> Path:
        return self.directory / "events"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def connector(self) -> Path:
        return self.directory / f"{NAME}.json"

    @property
    def log(self) -> Path:
        return self.directory / "tailrace.log"


def demo(seconds: int, directory: Path | None, engine: Engine = "postgres", programs: Path | None = None) -> int:
    """Run the demo into `directory` (default ./demo-output); exit code 0 only where events and tables are equal.

    `programs` is the folder of the MySQL or MariaDB server's program.
    """
    console = Console(soft_wrap=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped then, too
    try:
        output = _prepare((directory or Path("demo-output")).absolute())
        with _stage(engine, programs) as stage:
            return _show(console, stage, output, seconds)
    except DemoFailed as failed:
        print(f"demo: {failed}\n{failed.hint}", file=sys.stderr)
        return failed.code
    except KeyboardInterrupt:
        print("demo: stopped before it could compare", file=sys.stderr)
        return exits.FINDINGS
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare(directory: Path) -> Output:
    """An empty output folder; only what an earlier demo left there is replaced."""
    output = Output(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not output.connector.exists():
            raise DemoFailed(f"{directory} holds something else", "give an empty folder", exits.MISCONFIGURED)
        for old in (output.events, output.state):
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DemoFailed(
            f"{directory} cannot be written: {error.strerror}", "give another folder", exits.MISCONFIGURED
        ) from None
    return output


def _stage(engine: Engine, programs: Path | None) -> AbstractContextManager[Stage]:
    if engine == "postgres":
        from service import demo_postgres

        return demo_postgres.stage()
    from service import demo_mysql

    return demo_mysql.stage(engine, programs)


def _show(console: Console, stage: Stage, output: Output, seconds: int) -> int:
    console.print(f"{stage.server} runs on port {stage.port}, with {len(KEYS)} tables and rows in them.")
    sink = {"type": "files", "directory": str(output.events)}
    connector = {"name": NAME, "source": stage.source, "sink": sink}
    output.connector.write_text(json.dumps(connector, indent=2) + "\n")
    follower = Follower(output.events)
    with _workload(stage) as workload:
        console.print(f"A workload changes them, and `tailrace run {output.connector}` follows.")
        _follow(console, follower, output, seconds, [f"{stage.schema}.{table}" for table in KEYS])
        transactions = _end(workload)
    console.print("Both were stopped. tailrace starts again behind its stored offset and catches up.")
    _catch_up(output)
    return _compare(console, stage, output, transactions)


@contextmanager
def _workload(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """The workload's process, once the first rows are there."""
    process = _python("service.demo_workload", *stage.workload, str(SEED), stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline() != "filled\n":
            raise DemoFailed("the workload could not fill the tables", "read what it said above")
        yield process
    finally:
        process.kill()
        process.communicate()


def _follow(console: Console, follower: Follower, output: Output, seconds: int, tables: list[str]) -> None:
    """Show what arrives, for `seconds` from the first event on or until Ctrl-C."""
    with output.log.open("w") as log:
        tailrace = _tailrace(output, log)
        try:
            with Screen(console, follower, tables) as screen:
                deadline = time.monotonic() + PATIENCE_S
                while time.monotonic() < deadline:
                    if tailrace.poll() is not None:
                        raise _ended(tailrace, output)
                    started = follower.total > 0
                    follower.read()
                    if follower.total and not started:
                        deadline = time.monotonic() + seconds
                    screen.show()
                    time.sleep(0.05)
        except KeyboardInterrupt:
            console.print("Stopped early.")
        finally:
            tailrace.terminate()
            try:
                tailrace.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                tailrace.kill()
                tailrace.wait()
    # A signal that came before tailrace could listen to it ended it where nothing was lost.
    if tailrace.returncode not in (exits.DONE, -signal.SIGTERM):
        raise _ended(tailrace, output)


def _end(workload: subprocess.Popen[str]) -> dict[str, int]:
    workload.terminate()
    out, _ = workload.communicate(timeout=PATIENCE_S)
    if workload.returncode:
        raise DemoFailed("the workload failed", "read what it said above")
    counts: dict[str, int] = json.loads(out)
    return counts


def _catch_up(output: Output) -> None:
    with output.log.open("a") as log:
        tailrace = _tailrace(output, log, "--until-caught-up")
        try:
            tailrace.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"tailrace did not catch up within {PATIENCE_S:g} s", f"read {output.log}") from None
        finally:
            tailrace.kill()
    if tailrace.returncode:
        raise _ended(tailrace, output)


def _ended(tailrace: subprocess.Popen[str], output: Output) -> DemoFailed:
    words = output.log.read_text().strip().splitlines()[-2:]
    return DemoFailed("\n".join([f"tailrace ended with exit code {tailrace.returncode}", *words]), f"read {output.log}")


def _compare(console: Console, stage: Stage, output: Output, transactions: dict[str, int]) -> int:
    """Print table by table whether what the events leave behind equals what `select *` gives."""
    events = list(read_published(output.events))
    folded = fold(events)
    drawn = Table("table", f"rows in {stage.server.partition(' ')[0]}", "rows from events", "events", "equal")
    found: list[str] = []
    for name, key in KEYS.items():
        table = f"{stage.schema}.{name}"
        source = {json.dumps({column: row[column] for column in key}, sort_keys=True): row for row in stage.rows(name)}
        different = differences(source, folded.get(table, {}))
        found.extend(f"{table} {words}" for words in different)
        delivered = sum(event["value"] is not None and event["topic"] == f"{NAME}.{table}" for event in events)
        counts = (len(source), len(folded.get(table, {})), delivered)
        drawn.add_row(table, *(f"{count:,}" for count in counts), "no" if different else "yes")
    console.print(drawn)
    console.print(f"{transactions['committed']:,} transactions committed, {transactions['rolled_back']:,} rolled back.")
    for words in found[:10]:
        console.print(f"different: {words}", markup=False)
    if shown := next((event for event in reversed(events) if event["value"] and event["value"]["op"] == "u"), None):
        console.print("The newest update of", shown["topic"])
        console.print_json(json.dumps(_shortened(shown["value"])))
    console.print(f"The events lie in {output.events}")
    if found or not events:
        console.print(f"NOT EQUAL: {len(found):,} differences.")
        return exits.FINDINGS
    console.print("Equal: the events rebuild every table, row for row.")
    return exits.DONE


def _shortened(value: Any) -> Any:
    """Long texts cut, for showing."""
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    return f"{value[:40]}..." if isinstance(value, str) and len(value) > 60 else value


def _tailrace(output: Output, log: Any, *options: str) -> subprocess.Popen[str]:
    command = ("run", str(output.connector), "--state", str(output.state), *options)
    return _python("service", *command, stdout=log, stderr=log, text=True)


def _python(module: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A module of tailrace's in a process of its own; Ctrl-C in the terminal reaches us alone."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).resolve().parent.parent,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )
