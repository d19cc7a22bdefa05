"""`tailrace offsets` as an operator runs it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.chunk import Progress
from offsets.position import Offset, Position
from service.state import State
from tests.servers import ROOT, Database, Tailrace

LOG = '{"type": "postgres", "host": "db", "port": 5432, "slot": "tailrace_shop", "system": "1", "timeline": 1}'
COPIED = Progress(16385, done=True).dump()
HALF_COPIED = Progress(16386, rows=1200, after=("41", "b")).dump()


def at(order: int, origin: str = LOG) -> Position:
    return Position(order, f"{order >> 32:X}/{order & 0xFFFFFFFF:X}", origin)


def stored(tailrace: Tailrace, name: str = "shop") -> Offset | None:
    with closing(State.open(tailrace.state).offsets()) as store:
        return store.load(name)


def store(tailrace: Tailrace, offset: Offset, name: str = "shop") -> None:
    with closing(State.open(tailrace.state).offsets()) as offsets:
        offsets.save(name, *offset)


def run(tailrace: Tailrace, *arguments: str | Path, code: int = 0) -> str:
    """Run `tailrace offsets ...`; its output where `code` is 0, else its errors."""
    done = tailrace("offsets", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


@contextmanager
def running(tailrace: Tailrace, name: str = "shop") -> Iterator[int]:
    """Another process that holds the connector; its pid."""
    code = (
        "import sys, time; from pathlib import Path; from service.state import State;"
        "hold = State.open(Path(sys.argv[1])).hold(sys.argv[2]); print(flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tailrace.state, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    yield holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()


def test_list_shows_each_connector_with_its_position_and_who_runs_it(tailrace: Tailrace) -> None:
    store(tailrace, Offset(at(0x2_0000_0010), {}), "crm")
    store(tailrace, Offset(at(0x31C6530), {}), "shop")
    with running(tailrace) as pid:
        lines = [line.split() for line in run(tailrace, "list").splitlines()]
    assert lines[0] == ["NAME", "POSITION", "SAVED", "RUNNING"]
    assert (lines[1][0], lines[1][1], lines[1][-1]) == ("crm", "2/10", "-")
    assert (lines[2][0], lines[2][1]) == ("shop", "0/31C6530")
    assert " ".join(lines[2][5:]).startswith(f"pid {pid} on host")


def test_show_tells_position_log_snapshot_and_what_was_done_by_hand(tailrace: Tailrace) -> None:
    store(tailrace, Offset(at(0x31C6530), {"public.orders": COPIED, "public.items": HALF_COPIED}))
    run(tailrace, "reset", "shop")
    run(tailrace, "undo", "shop", "--offline")
    shown = run(tailrace, "show", "shop")
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines() if not line.startswith(("snapshot", "changed")))
    assert facts["position"] == "0/31C6530"
    assert (facts["host"], facts["slot"], facts["running"]) == ("db", "tailrace_shop", "no")
    assert [line.split(maxsplit=2)[1:] for line in shown.splitlines() if line.startswith("snapshot")] == [
        ["public.items", "1,200 rows copied, up to key 41, b"],
        ["public.orders", "copied"],
    ]
    changed = [line.split("UTC ")[1] for line in shown.splitlines() if line.startswith("changed")]
    assert changed == ["undo: none -> 0/31C6530", "reset: 0/31C6530 -> none"]


def test_reset_forgets_position_and_snapshot_and_undo_puts_both_back(tailrace: Tailrace) -> None:
    before = Offset(at(0x31C6530), {"public.orders": COPIED})
    store(tailrace, before)
    said = run(tailrace, "reset", "shop")
    assert "every table is copied anew (public.orders)" in said
    assert "tailrace offsets undo shop" in said
    assert stored(tailrace) is None
    run(tailrace, "undo", "shop", "--offline")
    assert stored(tailrace) == before
    run(tailrace, "undo", "shop")
    assert stored(tailrace) is None
    for command in (("reset", "shop"), ("seek", "shop", "start")):
        said = run(tailrace, *command, code=2)
        assert "has no offset now" in said and "tailrace offsets undo shop" in said


def test_a_dry_run_says_the_same_and_changes_nothing(tailrace: Tailrace) -> None:
    store(tailrace, Offset(at(100), {"public.orders": COPIED}))
    said = run(tailrace, "reset", "shop", "--dry-run")
    assert "every table is copied anew (public.orders)" in said
    assert "nothing was changed" in said
    assert stored(tailrace) == Offset(at(100), {"public.orders": COPIED})


@pytest.mark.parametrize("command", [("reset", "shop"), ("undo", "shop"), ("seek", "shop", "start")])
def test_a_running_connector_is_left_alone_and_named_with_its_pid(tailrace: Tailrace, command: tuple[str, ...]) -> None:
    store(tailrace, Offset(at(100), {}))
    with running(tailrace) as pid:
        said = run(tailrace, *command, code=3)
    assert f"connector shop is already running as pid {pid} on host" in said
    assert "stop it first" in said
    assert stored(tailrace) == Offset(at(100), {})


@pytest.mark.parametrize("command", [("show", "shpo"), ("reset", "shpo"), ("undo", "shpo"), ("seek", "shpo", "end")])
def test_an_unknown_name_is_answered_with_the_known_ones(tailrace: Tailrace, command: tuple[str, ...]) -> None:
    store(tailrace, Offset(at(100), {}))
    said = run(tailrace, *command, code=2)
    assert "connector shpo has no offset" in said
    assert "these have: shop" in said
    assert not list(tailrace.state.glob("shpo*"))


def test_a_state_that_is_not_there_is_not_made(tailrace: Tailrace) -> None:
    assert f"there is no tailrace state in {tailrace.state.absolute()}" in run(tailrace, "list", code=2)
    assert not tailrace.state.exists()


def test_there_is_nothing_to_undo_before_the_first_change(tailrace: Tailrace) -> None:
    store(tailrace, Offset(at(100), {}))
    assert "no change of its offset to undo" in run(tailrace, "undo", "shop", code=2)


def test_seek_without_a_known_connector_file_asks_for_it(tailrace: Tailrace) -> None:
    store(tailrace, Offset(at(100), {}))
    assert "--config FILE" in run(tailrace, "seek", "shop", "end", code=2)


class Shop:
    """A connector that ran: a slot on a real server, and an offset at the end of its log."""

    def __init__(self, postgres: Database, tailrace: Tailrace) -> None:
        self.postgres = postgres
        self.tailrace = tailrace
        self.connector = postgres.connector("shop", source={"slot": f"slot_{postgres.name}"})
        self.file = tailrace.write(self.connector)
        self.slot = self.connector["source"]["slot"]
        postgres.execute("create table orders (id int primary key)")
        postgres.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", self.slot)
        State.open(tailrace.state).remember_config("shop", self.file)
        self.position = self.write()
        store(tailrace, Offset(self.position, {"public.orders": COPIED}))

    def write(self) -> Position:
        """Commit something; where the log ends then."""
        self.postgres.execute("insert into orders select coalesce(max(id), 0) + 1 from orders")
        return self.end()

    def end(self) -> Position:
        [(token,)] = self.postgres.execute("select pg_current_wal_flush_lsn()::text")
        return self.at(token)

    def confirmed(self) -> Position:
        [(token,)] = self.postgres.execute(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s", self.slot
        )
        return self.at(token)

    def at(self, token: str) -> Position:
        source = self.connector["source"]
        with psycopg.connect(self.postgres.dsn, replication="database", autocommit=True) as replication:
            [system, timeline, *_] = replication.execute("IDENTIFY_SYSTEM").fetchone() or ("", 0)
        origin = {key: source[key] for key in ("type", "host", "port", "database", "slot")}
        origin |= {"system": system, "timeline": timeline}
        high, low = token.split("/")
        return Position(int(high, 16) << 32 | int(low, 16), token, json.dumps(origin))

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        return run(self.tailrace, *arguments, code=code)

    @property
    def stored(self) -> Offset | None:
        return stored(self.tailrace)


@pytest.fixture
def shop(postgres: Database, tailrace: Tailrace) -> Shop:
    return Shop(postgres, tailrace)


@pytest.mark.postgres
def test_seek_goes_back_as_far_as_the_slot_reaches_and_says_what_is_read_again(shop: Shop) -> None:
    confirmed = shop.confirmed()
    said = shop.run("seek", "shop", "start")
    size_bytes = shop.position.order - confirmed.order
    assert f"shop: {shop.position.token} -> {confirmed.token}" in said
    assert f"read again: everything committed after {confirmed.token} up to {shop.position.token}" in said
    assert f"{size_bytes:,} bytes" in said
    assert shop.stored == Offset(confirmed, {"public.orders": COPIED})
    said = shop.run("undo", "shop")
    assert "not to be read again" in said and "NEVER" not in said
    assert shop.stored == Offset(shop.position, {"public.orders": COPIED})


@pytest.mark.postgres
def test_seek_takes_what_show_prints(shop: Shop) -> None:
    later = shop.write()
    shop.run("seek", "shop", later.token)
    assert shop.stored is not None
    assert shop.stored.position == later
    [shown] = [line.split()[1] for line in shop.run("show", "shop").splitlines() if line.startswith("position")]
    assert shown == later.token


@pytest.mark.postgres
def test_seek_to_the_end_warns_of_what_is_never_delivered(shop: Shop) -> None:
    later = shop.write()
    said = shop.run("seek", "shop", "end")
    assert f"NEVER to be delivered: everything committed after {shop.position.token}" in said
    assert shop.stored is not None
    assert shop.stored.position.order >= later.order


@pytest.mark.postgres
def test_a_seek_that_is_a_dry_run_changes_nothing(shop: Shop) -> None:
    assert "nothing was changed" in shop.run("seek", "shop", "start", "--dry-run")
    assert shop.stored == Offset(shop.position, {"public.orders": COPIED})


@pytest.mark.postgres
def test_what_the_server_no_longer_has_is_refused_with_the_earliest_that_it_has(shop: Shop) -> None:
    said = shop.run("seek", "shop", "0/1", code=3)
    assert "the server no longer has what follows 0/1" in said
    assert shop.confirmed().token in said
    assert shop.stored == Offset(shop.position, {"public.orders": COPIED})


@pytest.mark.postgres
def test_a_position_ahead_of_the_log_is_refused(shop: Shop) -> None:
    assert "lies ahead of the server's log" in shop.run("seek", "shop", "FFFF/0", code=3)


@pytest.mark.postgres
@pytest.mark.parametrize("word", ["0x31", "yesterday", "@yesterday", "@2999-01-01", "@2001-01-01T00:00:00Z", "5/6/7"])
def test_a_word_that_is_no_position_is_bad_usage(shop: Shop, word: str) -> None:
    shop.run("seek", "shop", word, code=2)
    assert shop.stored == Offset(shop.position, {"public.orders": COPIED})


@pytest.mark.postgres
def test_seek_to_a_moment_goes_to_where_the_connector_stood_then(shop: Shop) -> None:
    now = datetime.now(UTC)
    later = shop.write()
    store(shop.tailrace, Offset(later, {}))
    with closing(State.open(shop.tailrace.state).offsets()) as offsets:
        offsets._db.execute(
            "update offset_sample set saved_at_ms = saved_at_ms - 600000 where position < ?", (later.order,)
        )
    shop.run("seek", "shop", f"@{(now - timedelta(minutes=5)).isoformat()}")
    assert shop.stored is not None
    assert shop.stored.position == shop.position


@pytest.mark.postgres
def test_undo_to_a_position_that_the_slot_has_passed_is_refused_but_offline_it_is_not(shop: Shop) -> None:
    later = shop.write()
    shop.run("seek", "shop", "end")
    shop.postgres.execute("select pg_replication_slot_advance(%s, %s)", shop.slot, later.token)
    assert "no longer has what follows" in shop.run("undo", "shop", code=3)
    shop.run("undo", "shop", "--offline")
    assert shop.stored is not None
    assert shop.stored.position == shop.position


@pytest.mark.postgres
def test_a_slot_that_is_gone_is_named_with_what_to_do(shop: Shop) -> None:
    shop.postgres.execute("select pg_drop_replication_slot(%s)", shop.slot)
    said = shop.run("seek", "shop", "start", code=3)
    assert f"slot {shop.slot}" in said
    assert "tailrace offsets reset" in said


@pytest.mark.postgres
def test_a_server_that_cannot_be_reached_is_no_reason_to_guess(shop: Shop) -> None:
    away = {**shop.connector, "source": {**shop.connector["source"], "port": 1}}
    shop.tailrace.write(away)
    shop.run("seek", "shop", "start", code=4)
    assert shop.stored == Offset(shop.position, {"public.orders": COPIED})


@pytest.mark.postgres
def test_the_file_of_another_connector_is_refused(shop: Shop) -> None:
    other = shop.tailrace.write({**shop.connector, "name": "crm"})
    assert "is the file of connector crm" in shop.run("seek", "shop", "end", "--config", other, code=2)


def debezium(shop: Shop, **value: Any) -> Path:
    path = shop.tailrace.folder / "offset.json"
    path.write_text(json.dumps([["c", {"server": "shop"}], {"txId": 1, **value}]))
    return path


@pytest.mark.postgres
def test_import_goes_on_behind_debeziums_last_commit_and_copies_no_table_again(shop: Shop) -> None:
    shop.run("reset", "shop")
    commit, inside = shop.position, shop.write()
    file = debezium(shop, lsn=inside.order, lsn_proc=inside.order, lsn_commit=commit.order)
    said = shop.run("import", "shop", file, "--config", shop.file)
    assert f"lsn_commit {commit.order} = {commit.token}" in said
    assert shop.stored is not None
    assert shop.stored.position == commit
    assert list(shop.stored.snapshot) == ["public.orders"]
    assert json.loads(shop.stored.snapshot["public.orders"])[1] is True
    shop.run("undo", "shop")
    assert shop.stored is None


@pytest.mark.postgres
def test_import_before_debeziums_first_commit_begins_where_the_slot_does(shop: Shop) -> None:
    shop.run("import", "shop", debezium(shop, lsn=shop.write().order))
    assert shop.stored is not None
    assert shop.stored.position == shop.confirmed()


@pytest.mark.postgres
def test_import_of_an_offset_that_the_slot_has_passed_is_refused(shop: Shop) -> None:
    said = shop.run("import", "shop", debezium(shop, lsn=5, lsn_commit=4), code=3)
    assert "no longer has what follows 0/4" in said


@pytest.mark.postgres
def test_import_of_an_unfinished_snapshot_is_refused(shop: Shop) -> None:
    file = debezium(shop, lsn=shop.position.order, snapshot="INITIAL", snapshot_completed=False)
    assert "snapshot was not complete" in shop.run("import", "shop", file, code=2)


@pytest.mark.postgres
def test_import_of_several_offsets_asks_which(shop: Shop) -> None:
    file = shop.tailrace.folder / "offset.json"
    value = {"lsn": shop.position.order, "lsn_commit": shop.position.order}
    lines = [["c", {"server": "erp"}], value, ["c", {"server": "crm"}], value]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert "c with the prefix erp, c with the prefix crm" in shop.run("import", "shop", file, code=2)
    shop.run("import", "shop", file, "--server", "crm")


def test_import_of_a_file_that_is_not_there_or_no_offset_is_named(tailrace: Tailrace) -> None:
    missing = tailrace.folder / "missing"
    assert f"{missing} cannot be read: No such file" in run(tailrace, "import", "shop", missing, code=2)
    missing.write_text("{}")
    assert "no lsn" in run(tailrace, "import", "shop", missing, code=2)


def test_a_file_that_is_gone_hides_no_offset_of_the_state_folder(tailrace: Tailrace, tmp_path: Path) -> None:
    store(tailrace, Offset(at(0x31C6530), {}))
    state = State.open(tailrace.state)
    for name in ("shop", "elsewhere"):
        state.remember_config(name, tmp_path / f"{name}.json")
    assert "0/31C6530" in run(tailrace, "show", "shop")
    assert f"{tmp_path / 'elsewhere.json'}: cannot be read" in run(tailrace, "show", "elsewhere", code=2)
    assert "0/31C6530" in run(tailrace, "list")
