"""Odd tables, odd publications and odd moments: nothing is lost, and nothing older follows the newer."""

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from connectors.errors import SourceRefused, SourceUnreachable
from connectors.postgres import copying, source, stream
from connectors.postgres.config import PostgresConfig
from connectors.postgres.copying import Visible
from connectors.postgres.source import PostgresSource
from tests.conftest import OwnPostgresFactory
from tests.connectors.postgres.reading import reading
from tests.connectors.postgres.test_snapshot import behind_the_rows
from tests.servers import Database, until

NOISE = "(select string_agg(md5(i::text || random()::text), '') from generate_series(1, 75) i)"
"""2,400 characters that do not compress: kept outside the row, and short enough for an index."""


@pytest.fixture
def eager_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "DISCOVER_EVERY_S", 0.0)


@pytest.fixture
def reader(postgres: Database) -> Iterator[str]:
    """A role that may read, and that owns neither the table `t` nor the publication of it."""
    role = f"reader_{postgres.name}"
    postgres.execute(f"create role {role} login replication")
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create publication tailrace_shop for table t")
    postgres.execute(f"grant pg_read_all_data to {role}")
    yield role
    postgres.execute(f"drop role {role}")


@pytest.mark.usefixtures("eager_discovery")
def test_new_tables_are_looked_for_only_when_no_copy_holds_the_connection(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (v int, filler text)")
    postgres.execute("insert into t select i, repeat('x', 1000) from generate_series(1, 2000) i")
    with reading(postgres, tmp_path) as shop:
        values = shop.catch_up()
        assert Counter(value["after"]["v"] for value in values) == Counter(range(1, 2001))
        assert len([batch for batch in shop.batches if batch.events]) > 3


def test_a_truncate_that_the_copy_of_a_table_without_a_key_contains_does_not_follow_it(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("create table t (v int)")
    postgres.execute("insert into t values (1)")
    with reading(postgres, tmp_path) as shop, psycopg.connect(postgres.dsn) as writer:
        pin = copying.PostgresReader.pin

        def late(*arguments: Any) -> Any:
            if not postgres.execute("select 1 from t where v = 2"):
                writer.execute("truncate t")
                writer.execute("insert into t values (2)")
                writer.commit()
            return pin(*arguments)

        monkeypatch.setattr(copying.PostgresReader, "pin", late)
        shop.catch_up()
        postgres.execute("insert into t values (3)")
        until(lambda: (shop.read() and False) or shop.values()[-1]["after"] == {"v": 3}, "the end")
        assert [(value["op"], value["after"]) for value in shop.values()] == [("r", {"v": 2}), ("c", {"v": 3})]


def test_a_table_that_was_taken_out_of_the_publication_is_copied_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table other (id int primary key)")
    postgres.execute("insert into t values (1)")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        offset = shop.offset
    postgres.execute("alter publication tailrace_shop drop table t")
    postgres.execute("insert into t values (2)")
    with reading(postgres, tmp_path, offset) as again:
        assert [value["after"]["id"] for value in again.catch_up()] == [1, 2]


@pytest.mark.usefixtures("eager_discovery")
def test_a_table_that_is_taken_out_of_the_publication_while_it_is_read_is_copied_again(
    postgres: Database, tmp_path: Path
) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table other (id int primary key)")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        with psycopg.connect(postgres.dsn) as owner:
            owner.execute("alter publication tailrace_shop drop table t")
            owner.execute("insert into t values (1)")
        assert shop.read_until(1)[0]["after"] == {"id": 1}


@pytest.mark.parametrize("made", ["for all tables", "for table part, plain"])
def test_a_publication_that_shows_partitions_instead_of_their_table_is_refused(
    postgres: Database, tmp_path: Path, made: str
) -> None:
    postgres.execute("create table part (id int primary key) partition by range (id)")
    postgres.execute("create table part_1 partition of part for values from (0) to (10)")
    postgres.execute("create table plain (id int primary key)")
    postgres.execute(f"create publication tailrace_shop {made}")
    with pytest.raises(SourceRefused, match=r"public\.part") as refused, reading(postgres, tmp_path):
        pass
    postgres.execute(refused.value.hint.removeprefix("run: "))
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        postgres.execute("insert into part values (1)")
        assert shop.read_until(1)[0]["source"]["table"] == "part"


def test_a_key_column_that_the_log_left_out_is_taken_from_the_old_key(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (a int, b text, v int, primary key (a, b))")
    postgres.execute("alter table t alter column b set storage external")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        postgres.execute(f"insert into t values (1, {NOISE}, 0)")
        postgres.execute("update t set v = 1")
        postgres.execute("update t set a = 2")
        values = shop.read_until(5)
        ((b,),) = postgres.execute("select b from t")
        assert [value and value["op"] for value in values] == ["c", "u", "d", None, "c"]
        assert [shop.key(event) for event in shop.events] == [{"a": a, "b": b} for a in (1, 1, 1, 1, 2)]
        assert [value["after"]["b"] for value in (values[0], values[1], values[4])] == [b, b, b]


@pytest.mark.usefixtures("small_chunks")
def test_a_copy_whose_tables_key_becomes_another_begins_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, code int not null)")
    postgres.execute("insert into t select i, -i from generate_series(1, 300) i")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 100 or (shop.read() and False), "two chunks")
        postgres.execute("alter table t drop constraint t_pkey, add primary key (code)")
        shop.catch_up()
        assert {value["after"]["id"] for value in shop.values()} == set(range(1, 301))


@pytest.mark.usefixtures("small_chunks")
def test_a_copy_whose_table_loses_its_key_is_finished_in_one_piece(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("insert into t select generate_series(1, 300)")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 100 or (shop.read() and False), "two chunks")
        postgres.execute("alter table t drop constraint t_pkey, alter id drop not null")
        shop.catch_up()
        assert {value["after"]["id"] for value in shop.values()} == set(range(1, 301))


def test_a_change_has_the_key_of_its_own_time(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key, code int not null)")
    with reading(postgres, tmp_path, snapshot="never") as shop:
        shop.catch_up()
        postgres.execute("insert into t values (1, 100)")
        postgres.execute("delete from t")
        postgres.execute("alter table t drop constraint t_pkey, add primary key (code)")
        postgres.execute("insert into t values (2, 200)")
        shop.read_until(4)
        assert [shop.key(event) for event in shop.events] == [{"id": 1}, {"id": 1}, {"id": 1}, {"code": 200}]


def test_rows_that_a_policy_hides_from_us_are_an_error_and_not_missing(postgres: Database, tmp_path: Path) -> None:
    role = f"reader_{postgres.name}"
    postgres.execute(f"create role {role} login replication")
    try:
        postgres.execute("create table t (id int primary key)")
        postgres.execute("insert into t values (1)")
        postgres.execute(f"grant select on t to {role}")
        postgres.execute("alter table t enable row level security")
        postgres.execute("create publication tailrace_shop for table t")
        with (
            pytest.raises(SourceRefused, match="row-level security"),
            reading(postgres, tmp_path, user=role) as shop,
        ):
            shop.catch_up()
        section = postgres.connector(source={"user": role})["source"]
        config = PostgresConfig.model_validate(section, context={"connector": "shop"})
        (finding,) = [found for found in PostgresSource.check(config) if found.level == "fail"]
        postgres.execute(finding.mend)
        with reading(postgres, tmp_path, user=role) as shop:
            assert [value["after"] for value in shop.catch_up()] == [{"id": 1}]
    finally:
        postgres.execute(f"drop owned by {role}")
        postgres.execute(f"drop role {role}")


def test_a_time_limit_of_the_role_does_not_end_a_copy(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (v int, filler text)")
    postgres.execute("insert into t select i, repeat('x', 1000) from generate_series(1, 20000) i")
    postgres.execute(f"alter database {postgres.name} set statement_timeout = '300ms'")
    with reading(postgres, tmp_path) as shop:
        shop.read_until(1)
        postgres.execute("select pg_sleep(0.2)")
        postgres.execute("select pg_sleep(0.2)")
        assert len(shop.catch_up()) == 20000


@pytest.mark.usefixtures("eager_discovery")
def test_a_table_that_takes_anothers_name_is_copied_under_it(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    postgres.execute("create table t_new (id int primary key)")
    postgres.execute("insert into t values (1)")
    postgres.execute("insert into t_new values (1), (2)")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        before = len(shop.events)
        with psycopg.connect(postgres.dsn) as owner:
            owner.execute("alter table t rename to t_old")
            owner.execute("alter table t_new rename to t")
        shop.read_until(before + 3)
        assert Counter((event.table, shop.key(event)["id"]) for event in shop.events[before:]) == Counter(
            [("public.t", 1), ("public.t", 2), ("public.t_old", 1)]
        )


def test_a_message_of_somebody_else_may_hold_any_bytes(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path) as shop:
        postgres.execute("select pg_logical_emit_message(true, 'tailrace', '\\xff00'::bytea)")
        postgres.execute("insert into t values (1)")
        assert shop.read_until(1)[0]["after"] == {"id": 1}


@pytest.mark.parametrize("shown", ["none", "stored"])
def test_a_generated_column_is_copied_where_the_publication_shows_it(
    postgres: Database, tmp_path: Path, shown: str
) -> None:
    postgres.execute("create table t (id int primary key, twice int generated always as (id * 2) stored)")
    option = f" with (publish_generated_columns = {shown})" if postgres.version >= 18 else ""
    postgres.execute(f"create publication tailrace_shop for table t{option}")
    postgres.execute("insert into t values (1)")
    with reading(postgres, tmp_path) as shop:
        shop.catch_up()
        postgres.execute("insert into t values (2)")
        copied, streamed = (value["after"] for value in shop.read_until(2))
        assert copied == ({"id": 1, "twice": 2} if option and shown == "stored" else {"id": 1})
        assert list(streamed) == list(copied)
        assert len({event.value[:5] for event in shop.events if event.value}) == 1


@pytest.mark.usefixtures("small_chunks")
def test_an_enum_that_grows_during_a_copy_does_not_hide_changes_from_it(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("create type kind as enum ('a', 'b')")
    postgres.execute("create table t (kind kind, id int, v text, primary key (kind, id))")
    postgres.execute("insert into t select 'a', i, 'old' from generate_series(1, 100) i")
    with reading(postgres, tmp_path) as shop:
        until(lambda: len(shop.events) >= 50 or (shop.read() and False), "a chunk")
        postgres.execute("insert into t values ('b', 0, 'new')")
        until(lambda: shop.values()[-1]["op"] == "c" or (shop.read() and False), "the table is announced")
        postgres.execute("alter type kind add value 'c'")
        behind_the_rows(monkeypatch, lambda: postgres.execute("update t set v = 'new' where id = 90"))
        assert isinstance(shop.source, PostgresSource)
        copies = shop.source._snapshot
        for table in copies._copies:
            copies.altered(table)  # the chunk in hand, if any, is from before
        values = shop.catch_up()
        assert [value["after"]["v"] for value in values if value["after"]["id"] == 90] == ["new"]


def test_a_certificate_file_that_is_missing_is_not_taken_for_the_database() -> None:
    config = PostgresConfig(type="postgres", host="db.internal", database="shop", user="tailrace")
    said = psycopg.OperationalError('connection failed: root certificate file "/ca.pem" does not exist')
    assert type(stream.source_error(said, config)) is SourceRefused


def test_a_host_that_takes_connections_and_never_speaks_is_unreachable(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsets.libpq.CONNECT_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SourceUnreachable), reading(postgres, tmp_path, host="127.0.0.1", port=port):
            pass


@pytest.mark.usefixtures("eager_discovery")
def test_a_new_table_that_is_locked_holds_up_no_other(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("create table t (id int primary key)")
    with reading(postgres, tmp_path) as shop, psycopg.connect(postgres.dsn, autocommit=True) as builder:
        shop.catch_up()
        postgres.execute("create table slow (id int primary key)")
        with builder.transaction():
            builder.execute("lock table slow in share mode")
            postgres.execute("insert into t values (1)")
            shop.read_until(1)
        postgres.execute("insert into slow values (1)")
        assert [value["source"]["table"] for value in shop.read_until(2)] == ["t", "slow"]


@pytest.mark.usefixtures("eager_discovery")
def test_a_table_that_was_left_out_is_picked_up_once_its_owner_publishes_it(
    postgres: Database, tmp_path: Path, reader: str
) -> None:
    with reading(postgres, tmp_path, user=reader) as shop:
        shop.catch_up()
        postgres.execute("create table late (id int primary key)")
        postgres.execute("insert into late values (1)")
        source = shop.source
        assert isinstance(source, PostgresSource)
        until(lambda: source._left_out or (shop.read() and False), "the table is left out")
        postgres.execute("alter publication tailrace_shop add table late")
        assert shop.read_until(1)[0]["after"] == {"id": 1}


@pytest.mark.usefixtures("eager_discovery")
@pytest.mark.parametrize("made", ["(id int primary key)", "(id int primary key) partition by range (id)"])
def test_a_table_that_came_during_a_stop_and_may_not_be_published_is_left_out_until_it_is(
    postgres: Database, tmp_path: Path, reader: str, made: str
) -> None:
    with reading(postgres, tmp_path, user=reader) as shop:
        shop.catch_up()
        offset = shop.offset
    postgres.execute(f"create table late {made}")
    postgres.execute("insert into t values (1)")
    with capture_logs() as said, reading(postgres, tmp_path, offset, user=reader) as again:
        assert [value["after"] for value in again.read_until(1)] == [{"id": 1}]
        again.catch_up()
        (warning,) = [line for line in said if line["log_level"] == "warning"]
        assert warning["event"].startswith("a new table is left out: ")
        assert "public.late" in warning["event"]
        if made.endswith("(id)"):
            postgres.execute("create table late_1 partition of late for values from (0) to (10)")
            postgres.execute(warning["hint"].removeprefix("run: "))
        postgres.execute("insert into late values (2)")
        postgres.execute("alter publication tailrace_shop add table late")
        assert again.read_until(2)[1]["after"] == {"id": 2}


def test_a_slot_that_this_process_made_before_its_first_checkpoint_is_no_surprise(
    postgres: Database, tmp_path: Path
) -> None:
    with reading(postgres, tmp_path):
        pass
    with capture_logs() as said, reading(postgres, tmp_path):
        assert [line["event"] for line in said if line["log_level"] == "warning"] == []
    until(lambda: postgres.execute("select 1 from pg_replication_slots where not active"), "the slot is free")
    postgres.execute("select pg_drop_replication_slot('tailrace_shop')")
    postgres.execute("select pg_create_logical_replication_slot('tailrace_shop', 'pgoutput')")
    with capture_logs() as said, reading(postgres, tmp_path):
        assert [line["log_level"] for line in said if "was there before" in line["event"]] == ["warning"]


def test_the_hint_of_a_table_that_may_not_be_published_leaves_it_out(
    postgres: Database, tmp_path: Path, reader: str
) -> None:
    postgres.execute('create table "odd[1]" (id int primary key)')
    with pytest.raises(SourceRefused) as refused, reading(postgres, tmp_path, user=reader):
        pass
    exclusion = refused.value.hint.rpartition('"!')[2].partition('"')[0]
    with reading(postgres, tmp_path, user=reader, tables=[f"!{exclusion}"]) as shop:
        shop.catch_up()


@pytest.mark.parametrize("named", [{"tables": ["public.*", "public.late"]}, {"snapshot": "never"}], ids=str)
def test_a_table_that_is_named_or_may_have_been_captured_before_is_not_left_out(
    postgres: Database, tmp_path: Path, reader: str, named: dict[str, Any]
) -> None:
    with reading(postgres, tmp_path, user=reader) as shop:
        shop.catch_up()
        offset = shop.offset
    postgres.execute("create table late (id int primary key)")
    with (
        pytest.raises(SourceRefused, match=r"may not add public\.late"),
        reading(postgres, tmp_path, offset, user=reader, **named),
    ):
        pass


@pytest.mark.parametrize("renamed", [False, True], ids=["as it was", "renamed"])
def test_a_captured_table_that_its_owner_took_out_of_the_publication_is_not_left_out(
    postgres: Database, tmp_path: Path, reader: str, renamed: bool
) -> None:
    with reading(postgres, tmp_path, user=reader) as shop:
        shop.catch_up()
        offset = shop.offset
    postgres.execute("alter publication tailrace_shop drop table t")
    if renamed:
        postgres.execute("alter table t rename to t_now")
    with pytest.raises(SourceRefused, match=r"may not add public\.t"), reading(postgres, tmp_path, offset, user=reader):
        pass


def test_a_standby_that_is_waited_for_holds_up_no_watermark(own_postgres: OwnPostgresFactory, tmp_path: Path) -> None:
    database = own_postgres(settings={"synchronous_standby_names": "nobody", "synchronous_commit": "local"})
    database.execute("create table t (id int primary key)")
    database.execute("insert into t values (1)")
    database.execute(f"alter database {database.name} set synchronous_commit = on")
    database.execute(f"alter database {database.name} set statement_timeout = '5s'")
    with reading(database, tmp_path) as shop:
        assert [value["after"]["id"] for value in shop.catch_up()] == [1]


def test_a_transaction_that_began_after_a_database_snapshot_is_not_in_it() -> None:
    visible = Visible.parse("10:20:12", until=5)
    assert [xid for xid in (9, 11, 12, 19, 20, 21) if visible.lacks(xid)] == [12, 20, 21]
