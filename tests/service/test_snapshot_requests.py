"""`tailrace snapshot`: tables are copied again while changes go on."""

from contextlib import closing
from typing import Any

from offsets.memory import MemoryStore
from offsets.position import Position
from schema.event import Batch
from service.pipeline import Pipeline
from service.state import State
from tests.fold import read_events
from tests.mysql_servers import MysqlDatabase
from tests.servers import Database, Tailrace, until


def copied(postgres: Database, table: str = "t") -> list[Any]:
    """The ids of rows that came by a copy, in order."""
    return [
        event["value"]["after"]["id"]
        for event in read_events(postgres.folder / "out")
        if event["topic"] == f"shop.public.{table}" and event["value"] and event["value"]["op"] == "r"
    ]


def test_a_running_connector_copies_what_is_asked_for_within_seconds(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table other (id int primary key)")
    postgres.execute("insert into t values (1), (2), (3)")
    postgres.execute("insert into other values (1)")
    running = tailrace.run(postgres.connector())
    until(lambda: copied(postgres) == [1, 2, 3], "the first copy")
    done = tailrace("snapshot", "shop", "public.t")
    assert (done.returncode, done.stdout) == (0, "connector shop copies public.t again, within seconds\n")
    until(lambda: copied(postgres) == [1, 2, 3] * 2, "the second copy")
    assert tailrace("snapshot", "shop", "public.t", "--where", "id % 2 = 1").returncode == 0
    until(lambda: copied(postgres) == [1, 2, 3] * 2 + [1, 3], "the copy of a part")
    assert running.stop() == 0
    assert copied(postgres, "other") == [1]


def test_a_stopped_connector_copies_at_its_next_start_and_once(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table log (id int)")
    postgres.execute("insert into t values (1), (2)")
    postgres.execute("insert into log values (1)")
    shop = postgres.connector(source={"snapshot": "never"})
    tailrace.catch_up(shop)
    assert copied(postgres) == []
    done = tailrace("snapshot", "shop", "public.t", "public.log")
    assert done.stdout == "connector shop copies public.t, public.log again, at its next start\n"
    postgres.execute("insert into log values (2)")
    tailrace.catch_up(shop)
    assert copied(postgres) == [1, 2]
    assert sorted(copied(postgres, "log")) == [1, 2]
    tailrace.catch_up(shop)
    assert copied(postgres) == [1, 2]


def test_what_cannot_be_copied_is_said_and_the_connector_goes_on(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table log (id int)")
    postgres.execute("insert into t values (1)")
    shop = postgres.connector(source={"snapshot": "never"})
    unknown = tailrace("snapshot", "shop", "public.t")
    assert unknown.returncode == 2
    tailrace.catch_up(shop)
    assert "'t' names no table" in tailrace("snapshot", "shop", "t").stderr
    assert "nobody has never run" in tailrace("snapshot", "nobody", "public.t").stderr
    for arguments in (["public.lgo"], ["public.t", "--where", "no_such = 1"], ["public.log", "--where", "id = 1"]):
        assert tailrace("snapshot", "shop", *arguments).returncode == 0
    running = tailrace.run(shop)
    running.wait_for("no such table is captured")
    running.wait_for("the server refuses the condition: column")
    running.wait_for("copied whole or not at all")
    assert running.stop() == 0
    for hint in ("ask again: tailrace snapshot shop public.log", "tailrace snapshot shop public.t, alone or with"):
        assert hint in running.stderr
    assert copied(postgres) == []


def test_what_cannot_be_copied_from_mysql_is_said_with_the_command_that_asks_again(
    mysql: MysqlDatabase, tailrace: Tailrace
) -> None:
    mysql.execute("create table photos (id int primary key)")
    shop = mysql.connector()
    tailrace.catch_up(shop)
    for arguments in ([f"{mysql.name}.photo"], [f"{mysql.name}.photos", "--where", "no_such = 1"]):
        assert tailrace("snapshot", "shop", *arguments).returncode == 0
    running = tailrace.run(shop)
    running.wait_for(f"ask again: tailrace snapshot shop {mysql.name}.photos")
    running.wait_for(f"tailrace snapshot shop {mysql.name}.photos, alone or with")
    assert running.stop() == 0


class Scripted:
    """A source whose batches are given; what is asked of it is kept."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.asked: list[tuple[list[str], str | None]] = []

    def snapshot(self, tables: list[str], where: str | None) -> None:
        self.asked.append((tables, where))

    def read(self, timeout_s: float) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def open(self, after: object) -> None: ...
    def ack(self, position: Position | None) -> None: ...


class Everything:
    def open(self) -> None: ...
    def write(self, batch: Batch) -> None: ...
    def flush(self) -> None: ...


def test_a_request_is_forgotten_only_when_the_progress_that_holds_it_is_stored(tailrace: Tailrace) -> None:
    position = Position(1, "0/1", "{}")
    early, inside, noted = Batch([], position, 0, {}), Batch([], None, 0, {}), Batch([], position, 0, {"t": "[]"})
    with closing(State.open(tailrace.state).snapshot_requests()) as requests:
        source: Any = Scripted([early])
        sink: Any = Everything()
        now = 0.0
        pipeline = Pipeline("shop", source, sink, MemoryStore(), clock=lambda: now, requests=requests)
        pipeline.open()
        pipeline.read_once(0)
        requests.add("shop", ["public.t"], "id = 1")
        now = 10.0
        source.batches += [inside, noted]
        pipeline.read_once(0)
        assert source.asked == [(["public.t"], "id = 1")]
        pipeline.deliver_once(0)
        pipeline.deliver_once(0)
        assert len(requests.of("shop")) == 1, "a crash here would lose it"
        now = 20.0
        pipeline.read_once(0)
        pipeline.deliver_once(0)
        assert requests.of("shop") == []
        assert len(source.asked) == 1
