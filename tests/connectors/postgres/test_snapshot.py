"""The copy of what was there before, taken while writers go on."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event, current_thread, main_thread
from typing import Any

import psycopg
import pytest

from connectors import snapshot
from connectors.chunk import Progress
from connectors.postgres import copying
from connectors.postgres.copying import Visible, parse_line
from connectors.postgres.stream import copy_out
from tests.connectors.postgres.reading import reading
from tests.contract.engines import PostgresEngine, folded, rows_of
from tests.servers import Database, until


def behind_the_rows(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """`act` once, when a chunk is read and its watermark not yet written."""
    acts = [act]

    def emit_message(connection: psycopg.Connection[Any], content: str) -> int:
        if acts:
            acts.pop()()
        return real(connection, content)

    real = copying.emit_message
    monkeypatch.setattr(copying, "emit_message", emit_message)


def test_existing_rows_come_first_as_reads_in_key_order(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (a int, b text, v text, primary key (b, a))")
    postgres.execute("insert into t select i, chr(97 + i % 3), 'v' || i from generate_series(1, 9) i")
    with reading(postgres, tmp_path) as shop:
        values = shop.catch_up()
        assert {value["op"] for value in values} == {"r"}
        assert {value["source"]["snapshot"] for value in values} == {"true"}
        found = [(value["after"]["b"], value["after"]["a"]) for value in values]
        assert found == postgres.execute("select b, a from t order by b, a")


@pytest.mark.usefixtures("small_chunks")
def test_a_snapshot_resumes_at_its_chunk(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("insert into t select generate_series(1, 500)")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 120 or (shop.read() and False), "two chunks")
        offset = shop.offset
        delivered = Progress.load(offset.snapshot["public.t"]).rows
    assert 100 <= delivered < 500
    with reading(postgres, tmp_path, offset) as again:
        again.catch_up()
        assert [again.key(event)["id"] for event in again.events] == list(range(delivered + 1, 501))
    with reading(postgres, tmp_path, again.offset) as third:
        assert third.catch_up() == []


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_snapshot_never_holds_an_older_form_of_a_row_than_the_stream(
    postgres: Database, tmp_path: Path, parallel: int
) -> None:
    postgres.execute("create table t (id int primary key, v int, big text)")
    postgres.execute("alter table t alter column big set storage external")
    postgres.execute("insert into t select i, 0, repeat(md5(i::text), 100) from generate_series(1, 1000) i")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with (
        reading(postgres, tmp_path, snapshot_parallel=parallel) as shop,
        psycopg.connect(postgres.dsn, autocommit=True) as writer,
    ):
        while not shop.source.caught_up():
            key = dice.randrange(1, 1100)
            match dice.randrange(6):
                case 0:
                    writer.execute("delete from t where id = %s", [key])
                case 1:
                    writer.execute("insert into t values (%s, 0, 'short') on conflict do nothing", [key])
                case 2:
                    writer.execute("update t set id = %s where id = %s", [key - 2000, key])
                case 3:
                    writer.execute("update t set v = v + 1, big = repeat(md5(v::text), 100) where id = %s", [key])
                case _:
                    writer.execute("update t set v = v + 1 where id = %s", [key])
            shop.read(0.001)
        postgres.execute("insert into t values (9999, 0, 'end')")
        until(lambda: (shop.read() and False) or shop.key(shop.events[-1]) == {"id": 9999}, "the end")
        assert folded(shop) == rows_of(PostgresEngine(postgres), "t", "id", "v", "big")
        newest: dict[int, int] = {}
        for event in shop.events:
            value = shop.value(event)
            if value is None or value["op"] == "d":
                newest.pop(shop.key(event)["id"], None)
                continue
            row = value["after"]
            assert row["v"] >= newest.get(row["id"], -1)
            newest[row["id"]] = row["v"]


def test_a_row_changed_between_the_watermarks_is_delivered_once_in_its_newer_form(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("create table t (id int primary key, v text, big text)")
    postgres.execute("alter table t alter column big set storage external")
    postgres.execute("insert into t select i, 'old', repeat('x', 9000) from generate_series(1, 3) i")
    with reading(postgres, tmp_path) as shop:
        behind_the_rows(monkeypatch, lambda: postgres.execute("update t set v = 'new' where id = 2"))
        values = shop.catch_up()
        assert [(value["op"], value["after"]["id"], value["after"]["v"]) for value in values] == [
            ("u", 2, "new"),
            ("r", 1, "old"),
            ("r", 3, "old"),
        ]
        assert {value["after"]["big"] for value in values} == {"x" * 9000}


@pytest.mark.usefixtures("small_chunks")
def test_tables_are_copied_side_by_side_while_the_stream_goes_on(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query waits until the other tables' have begun too, and until the stream has delivered a change."""
    names = ["a", "b", "c"]
    for name in names:
        postgres.execute(f"create table {name} (id int primary key, v int, big text)")
        postgres.execute(f"alter table {name} alter column big set storage external")
        postgres.execute(f"insert into {name} select i, 0, repeat('x', 9000) from generate_series(1, 60) i")
    together, streamed = Barrier(3), Event()

    def wait() -> None:
        if not streamed.is_set():
            together.wait(120)
            assert streamed.wait(120)

    real = copying.emit_message

    def emit_message(connection: psycopg.Connection[Any], content: str) -> int:
        if current_thread() is not main_thread():
            wait()
        return real(connection, content)

    monkeypatch.setattr(copying, "emit_message", emit_message)
    with reading(postgres, tmp_path, snapshot_parallel=3) as shop:
        shop.read()
        postgres.execute("update a set v = 1 where id = 1")
        postgres.execute("update a set v = 2 where id = 1")
        postgres.execute("update b set v = 1, big = 'y' where id = 2")
        postgres.execute("delete from c where id = 3")
        until(lambda: len(shop.events) >= 5 or (shop.read() and False), "the changes are streamed")
        assert {value and value["op"] for value in shop.values()} == {"u", "d", None}
        streamed.set()
        shop.catch_up()
        newest = {(event.table, shop.key(event)["id"]): shop.value(event) for event in shop.events}
        assert newest["public.a", 1]["after"] == {"id": 1, "v": 2, "big": "x" * 9000}
        assert newest["public.b", 2]["after"] == {"id": 2, "v": 1, "big": "y"}
        assert newest["public.c", 3] is None
        assert len(newest) == 180
        assert Counter(event.table for event in shop.events if (shop.value(event) or {}).get("op") == "r") == {
            "public.a": 60,
            "public.b": 59,
            "public.c": 59,
        }


@pytest.mark.usefixtures("small_chunks")
def test_a_row_that_moves_behind_the_copy_is_read_again_for_what_the_log_left_out(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (id int primary key, big text)")
    postgres.execute("alter table t alter column big set storage external")
    postgres.execute("insert into t select i, repeat(md5(i::text), 100) from generate_series(1, 200) i")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 50 or (shop.read() and False), "a chunk")
        postgres.execute("update t set id = -id where id = 190")
        until(lambda: Progress.load(shop.progress["public.t"]).again or (shop.read() and False), "the move is noted")
        offset = shop.offset
    with reading(postgres, tmp_path, offset) as again:
        again.catch_up()
        shop.events += again.events
        assert folded(shop) == rows_of(PostgresEngine(postgres), "t", "id", "big")


def test_a_table_without_a_key_is_copied_in_one_piece_and_its_changes_come_once(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (v int)")
    postgres.execute("insert into t select generate_series(1, 3000)")
    with reading(postgres, tmp_path) as shop, psycopg.connect(postgres.dsn, autocommit=True) as writer:
        n = 3000
        while not shop.source.caught_up():
            n += 1
            writer.execute("insert into t values (%s)", [n])
            shop.read(0.001)
        writer.execute("insert into t values (0)")
        until(lambda: (shop.read() and False) or shop.value(shop.events[-1])["after"]["v"] == 0, "the end")
        found = Counter(value["after"]["v"] for value in shop.values())
        assert found == Counter(range(n + 1))


def test_what_a_copy_contained_is_remembered_over_a_restart(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (v int)")
    postgres.execute("insert into t values (1)")
    with reading(postgres, tmp_path) as shop:
        until(lambda: shop.progress or (shop.read() and False), "the copy")
        offset = shop.offset
    assert Progress.load(offset.snapshot["public.t"]).contained is not None
    postgres.execute("insert into t values (2)")
    with reading(postgres, tmp_path, offset) as again:
        again.read_until(1)
        again.catch_up()
        assert [value["after"]["v"] for value in again.values()] == [2]


def test_without_a_snapshot_only_changes_come(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("insert into t values (1)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        assert shop.catch_up() == []
        postgres.execute("insert into t values (2)")
        assert shop.read_until(1)[0]["after"] == {"id": 2}


def test_a_snapshot_alone_ends_and_leaves_no_slot(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("insert into t values (1), (2)")
    with reading(postgres, tmp_path, snapshot="only") as shop:
        until(lambda: shop.source.finished() or (shop.read() and False), "the source is finished")
        assert [value["after"]["id"] for value in shop.values()] == [1, 2]
    until(lambda: not postgres.slots(), "the slot is gone")


@pytest.mark.usefixtures("small_chunks")
def test_a_table_that_changes_its_shape_during_its_copy_is_copied_in_the_new_shape(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (id int primary key, v int)")
    postgres.execute("insert into t select i, i from generate_series(1, 300) i")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 60 or (shop.read() and False), "a chunk")
        postgres.execute("alter table t add column more text default 'm'")
        postgres.execute("update t set v = -1 where id in (1, 100, 300)")
        shop.catch_up()
        rows = folded(shop)
        assert len(rows) == 300
        assert rows[(1,)] == {"id": 1, "v": -1, "more": "m"}
        assert rows[(299,)] == {"id": 299, "v": 299, "more": "m"}


def test_a_table_that_is_dropped_during_its_copy_ends_there(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table a (id int primary key)")
    postgres.execute("create table b (id int primary key)")
    postgres.execute("insert into b values (1)")
    with reading(postgres, tmp_path) as shop:
        postgres.execute("drop table a")
        assert [value["after"] for value in shop.catch_up()] == [{"id": 1}]


def test_wide_rows_make_small_chunks(postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "CHUNK_LIMIT_BYTES", 100_000)
    postgres.execute("create table t (id int primary key, big text)")
    postgres.execute("insert into t select i, repeat('x', 20000) from generate_series(1, 40) i")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        assert [shop.key(event)["id"] for event in shop.events] == list(range(1, 41))
        sizes = [len(batch.events) for batch in shop.batches if batch.snapshot]
        assert len(sizes) > 1
        assert max(sizes) <= 6


def test_copy_lines_are_read_back_as_they_were(postgres: Database) -> None:
    texts = ["", "\\N", "tab\there", "new\nline", "back\\slash", "cr\rbs\bff\fvt\v", "\\.", "naïve €", "\\t", None, "x"]
    postgres.execute("create table t (id serial, a text, b text)")
    for text in texts:
        postgres.execute("insert into t (a, b) values (%s, 'end')", text)
    lines = list(copy_out(postgres.admin, "select a, b from t order by id", None))
    assert [parse_line(line) for line in lines] == [
        [text.encode() if text is not None else None, b"end"] for text in texts
    ]


def test_a_database_snapshot_tells_what_it_contains_across_the_wrap_of_transaction_ids() -> None:
    visible = Visible.parse("4294967290:4294967300:4294967295,4294967297", until=5)
    contained = [4294967280, 4294967289, 4294967291, 0, 3]
    missing = [4294967295, 1, 4, 10]
    assert [visible.contains(xid) for xid in contained] == [True] * len(contained)
    assert [visible.contains(xid) for xid in missing] == [False] * len(missing)
    assert Visible.load(visible.dump()) == visible
