"""A connector whose offset lies on a server: it moves, and operators reach it from anywhere."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from offsets.kafka_questions import Questions
from offsets.kafka_seat import group
from schema.event import DeadLetter, Event, place_of
from service import exits
from service.demo_events import fold
from service.state import State
from tests import offset_stores
from tests.conftest import OwnPostgresFactory
from tests.fold import read_events
from tests.offset_stores import MakePlace, Place
from tests.servers import OwnPostgres, Tailrace, until

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module", params=["postgres18", "mysql97", "redis", "kafka"])
def server(request: pytest.FixtureRequest) -> Iterator[MakePlace]:
    yield from offset_stores.serve(request.param)


@pytest.fixture
def remote(server: MakePlace, tmp_path: Path) -> Iterator[Place]:
    made = server(tmp_path)
    yield made
    made.drop()


@pytest.fixture
def shop(own_postgres: OwnPostgresFactory) -> OwnPostgres:
    database = own_postgres()
    database.execute("create table orders (id int primary key, n int)")
    database.execute("insert into orders select i, 0 from generate_series(1, 100) i")
    return database


class Machine(Tailrace):
    """A state folder and a sink's folder that no other machine has."""

    def __init__(self, folder: Path, name: str) -> None:
        (folder / name).mkdir()
        super().__init__(folder / name)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def connector(self, shop: OwnPostgres, offsets: dict[str, Any]) -> dict[str, Any]:
        sink = {"type": "files", "directory": str(self.out), "format": "jsonl"}
        return {**shop.connector(offsets=offsets), "sink": sink}

    def has_copied(self) -> bool:
        shown = self("offsets", "show", "shop").stdout.splitlines()
        return ["snapshot", "public.orders", "copied"] in [line.split() for line in shown]

    def ops(self) -> list[str]:
        return [event["value"]["op"] for event in read_events(self.out) if event["value"]]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    both = Machine(tmp_path, "first"), Machine(tmp_path, "second")
    yield both
    for machine in both:
        machine.close()


def let_hold_time_pass(place: Place) -> None:
    if place.type == "redis":
        with redis.Redis(host=place.section["host"], port=place.section["port"]) as client:
            client.delete(f"{place.section['prefix']}{{shop}}:runner")
    elif place.type == "kafka":  # a dead process of this host is known at once, one of another only then
        with closing(Questions(place.config().client())) as cluster:
            until(lambda: not cluster.members(group(place.section["topic"], "shop")), "its group has put it out")


def test_a_connector_that_moves_to_another_machine_loses_nothing_and_copies_nothing_anew(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    running = first.run(first.connector(shop, remote.section))
    until(first.has_copied, "the first machine has stored that the table is copied")
    for n in range(1, 50):
        shop.execute("update orders set n = %s where id %% 10 = %s", n, n % 10)
    until(lambda: "u" in first.ops(), "the first machine follows the log")
    running.kill()
    shop.execute("delete from orders where id <= 20")
    shop.execute("insert into orders select i, 7 from generate_series(101, 150) i")
    let_hold_time_pass(remote)
    second.catch_up(second.connector(shop, remote.section))
    assert "r" not in second.ops()
    events = [*read_events(first.out), *read_events(second.out)]
    [table] = fold(events).values()
    rows = {row["id"]: row["n"] for row in table.values()}
    assert rows == dict(shop.execute("select id, n from orders"))


def test_a_letter_left_on_a_machine_is_not_delivered_behind_what_another_machine_delivered(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    first.catch_up(first.connector(shop, remote.section))
    letter = _put_aside(shop, first)
    shop.execute("update orders set n = 2 where id = 2")
    let_hold_time_pass(remote)
    first.catch_up(first.connector(shop, remote.section))
    let_hold_time_pass(remote)
    assert "to be delivered again: 1 (1)" in first("dlq", "replay", "shop", "--dry-run").stdout
    let_hold_time_pass(remote)
    shop.execute("update orders set n = 3 where id = 1")
    second.catch_up(second.connector(shop, remote.section))
    let_hold_time_pass(remote)
    replayed = first("dlq", "replay", "shop")
    assert replayed.returncode == exits.FINDINGS
    assert f"letter 1 of public.orders at {letter} stays: the connector has run on another machine" in replayed.stderr
    assert '`tailrace snapshot shop public.orders --where "id = 1"` delivers the row as it is now' in replayed.stderr
    let_hold_time_pass(remote)
    first.catch_up(first.connector(shop, remote.section))
    assert "superseded elsewhere" in first("dlq", "list", "shop").stdout


def test_a_second_machine_is_told_who_runs_the_connector_and_does_not_run_it(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    running = first.run(first.connector(shop, remote.section))
    until(lambda: first.ops().count("r") == 100, "the first machine has copied the table")
    impatient = {**second.connector(shop, remote.section), "errors": {"retry_for_s": 0}}
    refused = second("run", second.write(impatient))
    assert refused.returncode == exits.FATAL
    assert f"connector shop is already running as pid {running.pids()[1]} on host" in refused.stderr
    assert not second.out.exists() or second.ops() == []
    assert running.stop() == 0


def test_offsets_are_shown_and_moved_from_a_machine_that_never_ran_the_connector(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    file = second.write(second.connector(shop, remote.section))
    running = first.run(first.connector(shop, remote.section))
    until(lambda: first.ops().count("r") == 100, "the first machine has copied the table")
    pid = running.pids()[1]

    def listed() -> str:
        return second("offsets", "list", "--config", file).stdout

    until(lambda: f"pid {pid} on host" in listed(), "the second machine sees who runs it")
    refused = second("offsets", "reset", "shop", "--config", file)
    assert refused.returncode == exits.FATAL
    assert f"connector shop is already running as pid {pid} on host" in refused.stderr
    assert running.stop() == 0
    shown = second("offsets", "show", "shop", "--config", file)
    assert "snapshot public.orders" in shown.stdout
    assert remote.address in shown.stdout
    assert not second.state.exists()
    for words in (("seek", "shop", "end"), ("undo", "shop"), ("reset", "shop"), ("undo", "shop")):
        done = second("offsets", *words, "--config", file)
        assert done.returncode == 0, done.stderr
    assert not second.state.exists()
    shop.execute("insert into orders values (1000, 1)")
    first.catch_up(first.connector(shop, remote.section))
    assert (first.ops().count("r"), first.ops().count("c")) == (100, 1)
    assert "reset" in first("offsets", "show", "shop").stdout


def test_debeziums_offset_is_imported_into_the_store_and_the_connector_goes_on_there(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, second = machines
    first.catch_up(first.connector(shop, remote.section))
    assert second("offsets", "reset", "shop", "--config", first.folder / "shop.json").returncode == 0
    shop.execute("insert into orders values (1000, 1)")  # Debezium's last
    [(lsn,)] = shop.execute("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
    shop.execute("insert into orders values (1001, 1)")
    debezium = second.folder / "debezium.json"
    debezium.write_text(json.dumps([["dbz", {"server": "shop"}], {"lsn": lsn, "lsn_proc": lsn, "lsn_commit": lsn}]))
    file = second.write(second.connector(shop, remote.section))
    imported = second("offsets", "import", "shop", debezium, "--config", file)
    assert imported.returncode == 0, imported.stderr
    assert "1 tables count as copied, by Debezium: public.orders" in imported.stdout
    assert not second.state.exists()
    first.catch_up(first.connector(shop, remote.section))
    assert (first.ops().count("r"), first.ops().count("c")) == (100, 1)
    assert "import" in first("offsets", "show", "shop").stdout


def test_an_offset_of_the_state_folder_moves_in_when_the_file_names_a_store(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, _ = machines
    first.catch_up(first.connector(shop, {"type": "sqlite"}))
    shop.execute("insert into orders values (1000, 1)")
    first.catch_up(first.connector(shop, remote.section))
    assert (first.ops().count("r"), first.ops().count("c")) == (100, 1)
    listed = first("offsets", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "shop"]
    first("offsets", "reset", "shop")
    first.catch_up(first.connector(shop, remote.section))
    assert first.ops().count("r") == 201


def test_check_says_where_offsets_are_kept_and_what_would_stay_behind(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, _ = machines
    found = first("check", first.write(first.connector(shop, remote.section)))
    assert found.returncode == exits.DONE, found.stdout
    assert f"ok    shop: offsets are kept in {remote.type} {remote.address}" in found.stdout
    assert "warn  shop: the versions of events are kept in the state folder" in found.stdout


def test_a_store_that_cannot_be_reached_is_found_by_check_and_ends_a_run_in_one_sentence(
    shop: OwnPostgres, remote: Place, machines: tuple[Machine, Machine]
) -> None:
    first, _ = machines
    away = remote.elsewhere()
    connector = {**first.connector(shop, away.section), "errors": {"retry_for_s": 0}}
    found = first("check", first.write(connector))
    assert found.returncode == exits.FINDINGS
    assert f"fail  shop: cannot reach {away.type} {away.address}" in found.stdout
    done = first("run", first.write(connector))
    assert done.returncode == exits.RETRIES_ENDED
    assert f"cannot reach {away.type} {away.address}" in done.stderr
    assert "Traceback" not in done.stderr


def test_offsets_in_a_captured_database_are_warned_of(shop: OwnPostgres, machines: tuple[Machine, Machine]) -> None:
    first, _ = machines
    source = shop.connector()["source"]
    section = {key: source[key] for key in ("type", "host", "port", "database", "user")}
    found = first("check", first.write(first.connector(shop, section)))
    assert 'exclude them: "tables": ["!public.tailrace_*"]' in found.stdout
    connector = first.connector(shop, section)
    connector["source"]["tables"] = ["!public.tailrace_*"]
    assert "exclude them" not in first("check", first.write(connector)).stdout
    first.catch_up(connector)
    assert set(first.ops()) == {"r"}


def _put_aside(shop: OwnPostgres, machine: Machine) -> str:
    """As if the sink had refused an event of row 1, at the end of the log; its place."""
    [(order,)] = shop.execute("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
    state = State.open(machine.state)
    with closing(state.registry()) as registry, closing(state.dead_letters()) as letters:
        [key_id] = [version.id for version in registry.versions("shop.public.orders-key")]
        key = b"\0" + key_id.to_bytes(4, "big") + b"\x02"
        event = Event("shop.public.orders", "public.orders", key, b"value", (order, 0))
        letters.add("shop", DeadLetter.of(event, "too large"))
        return place_of(event)
