"""A small table with a connector, and what an operator is told when the connector cannot go on."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from service.demo_events import Row, differences
from tests.faults.audit import has_state, stored_offset
from tests.fold import fold, read_events
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, Running, Tailrace, skip, until

NAME = "shop"
RETRY_FOR_S = 2.0


class Told(NamedTuple):
    """How a command ended: its exit code, the cause in one sentence, and in another what to do."""

    code: int
    cause: str
    hint: str


AnyDatabase = TypeVar("AnyDatabase", Database, MysqlDatabase)


class BaseShop(Generic[AnyDatabase]):
    """`connector` is a file's content that works; tests lay what is wrong over it."""

    source: ClassVar[Mapping[str, Any]] = {}
    database: AnyDatabase

    @property
    def schema(self) -> str:
        """What stands before the table in a topic."""
        return self.database.name

    def __init__(self, database: AnyDatabase, tailrace: Tailrace, **sections: Any) -> None:
        self.database = database
        self.tailrace = tailrace
        self.table = f"{self.schema}.items"
        sections.setdefault("errors", {"retry_for_s": RETRY_FOR_S})
        sections.setdefault("source", dict(self.source))
        self.connector = database.connector(NAME, **sections)
        self.out = database.folder / "out"
        self._rows = 0
        database.execute("create table items (id int primary key, name text not null)")
        self.sell()

    def sell(self, rows: int = 10) -> None:
        """New rows, and a change of all that are there."""
        self.database.execute("update items set name = concat(name, '!')")
        new = ", ".join(f"({n}, 'item {n}')" for n in range(self._rows + 1, self._rows + rows + 1))
        self.database.execute(f"insert into items values {new}")
        self._rows += rows

    def changed(self, **source: Any) -> dict[str, Any]:
        """The connector with other keys in its source."""
        return {**self.connector, "source": {**self.connector["source"], **source}}

    def deliver(self, connector: Mapping[str, Any] | None = None) -> None:
        """Run until caught up; then the events must be the table."""
        self.tailrace.catch_up(connector or self.connector)
        assert self.missing() == []

    def refused(self, connector: Mapping[str, Any] | None = None, *options: str) -> Told:
        """Run to the end, which must not move the offset, and where it must show no traceback."""
        before = self.offset()
        told = told_by(self.tailrace.run(connector or self.connector, *options))
        assert self.offset() == before, "a connector that failed moved its offset"
        return told

    def missing(self) -> list[str]:
        """What the events do not show as the table has it."""
        rows = self.database.execute("select id, name from items")
        items = {json.dumps({"id": id_}): {"id": id_, "name": name} for id_, name in rows}
        return differences(items, self.folded().get(self.table, {}))

    def folded(self) -> dict[str, dict[str, Row]]:
        """What the events leave behind, by table."""
        return fold(self.out)

    def arrive(self) -> None:
        """Wait until the events are the table."""
        until(lambda: not self.missing(), "the events are the table")

    def offset(self) -> int | None:
        state = self.tailrace.state
        return stored_offset(state, NAME) if has_state(state) else None

    def seen(self) -> set[tuple[int, str]]:
        """Every form of every row that some event showed."""
        afters = [event["value"]["after"] for event in read_events(self.out) if event["value"]]
        return {(after["id"], after["name"]) for after in afters if after}


class Shop(BaseShop[Database]):
    """On Postgres."""

    source: ClassVar[Mapping[str, Any]] = {"rewind_bytes": 0}
    schema = "public"


class MysqlShop(BaseShop[MysqlDatabase]):
    """On MySQL or MariaDB."""


def told_by(running: Running, timeout_s: float = 180) -> Told:
    """Wait for the end of a command that must fail, and read what it says about it."""
    code = running.wait(timeout_s)
    assert "Traceback" not in running.stderr, running.stderr
    lines = running.stderr.strip().splitlines()
    for line in reversed(lines):
        with suppress(ValueError):
            said = json.loads(line)
            if said["level"] == "error":
                return _checked(Told(code, said["event"], said["hint"]), running)
    return _checked(Told(code, "\n".join(lines[:-1]), lines[-1]), running)


def _checked(told: Told, running: Running) -> Told:
    assert told.code, running.stderr
    assert told.cause and told.hint, running.stderr
    assert "defect" not in told.cause, running.stderr
    return told


class Disk(NamedTuple):
    """A small file system of its own at `folder`."""

    folder: Path

    def fill(self) -> None:
        with suppress(OSError), (self.folder / "filler").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        (self.folder / "filler").unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Disk]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        skip("a file system of limited size needs the right to mount one")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def writable(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
