"""What an operator gets wrong: one sentence with the cause, one with what to do, and nothing lost once it is mended."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from service import exits
from tests.conftest import OwnPostgresFactory
from tests.faults.shop import NAME, Shop, read_only, small_disk, told_by, writable
from tests.servers import VERSIONS, Database, Running, Tailrace, until

newest = pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)

pytestmark = pytest.mark.postgres


@pytest.fixture
def shop(postgres: Database, tailrace: Tailrace) -> Shop:
    """Some rows are delivered, and some wait."""
    shop = Shop(postgres, tailrace)
    shop.deliver()
    shop.sell()
    return shop


# -- how to reach the server


def test_a_wrong_password_is_named_and_the_right_one_delivers_what_waited(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(own_postgres(password="right"), tailrace)
    shop.deliver()
    shop.sell()
    monkeypatch.setenv("WRONG_PASSWORD", "not-the-password")
    told = shop.refused(shop.changed(password="${env:WRONG_PASSWORD}"))
    assert told.code == exits.FATAL
    assert "refused user postgres" in told.cause and "password authentication failed" in told.cause
    assert "source.password" in told.hint
    assert "not-the-password" not in told.cause + told.hint
    shop.deliver()


@newest
@pytest.mark.parametrize(
    ("wrong", "code", "cause", "hint"),
    [
        ({"host": "127.0.0.1", "port": 1}, exits.RETRIES_ENDED, "127.0.0.1:1", "check that the server runs"),
        ({"host": "nowhere.invalid"}, exits.RETRIES_ENDED, "nowhere.invalid", "check that the server runs"),
        ({"database": "nowhere"}, exits.MISCONFIGURED, "the database does not exist", "correct source.database"),
        ({"user": "nobody_here"}, exits.FATAL, 'role "nobody_here" does not exist', "correct source.user"),
    ],
    ids=["port", "host", "database", "user"],
)
def test_a_wrong_address_is_named_and_the_right_one_delivers_what_waited(
    shop: Shop, wrong: dict[str, Any], code: int, cause: str, hint: str
) -> None:
    told = shop.refused(shop.changed(**wrong))
    assert told.code == code
    assert cause in told.cause
    assert hint in told.hint
    shop.deliver()


# -- what the server must allow


def test_a_server_without_logical_log_is_refused_with_the_setting(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    database = own_postgres(settings={"wal_level": "replica"})
    shop = Shop(database, tailrace)
    told = shop.refused()
    assert told.code == exits.FATAL
    assert "wal_level = replica" in told.cause
    assert "alter system set wal_level = logical" in told.hint
    database.server.settings["wal_level"] = "logical"
    database.server.restart()
    database.reconnect()
    shop.deliver()


@pytest.fixture
def role(postgres: Database) -> Iterator[str]:
    """A user who may log in and nothing else."""
    name = f"reader_{postgres.name}"
    postgres.execute(f"create role {name} login password 'of-the-reader'")
    yield name
    postgres.execute(f"reassign owned by {name} to current_user")
    postgres.execute(f"drop owned by {name}")
    postgres.execute(f"drop role {name}")


def test_each_privilege_that_lacks_is_named_with_the_sql_that_grants_it(
    postgres: Database, tailrace: Tailrace, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READER_PASSWORD", "of-the-reader")
    shop = Shop(postgres, tailrace, source={"user": role, "password": "${env:READER_PASSWORD}", "tables": ["public.*"]})

    told = shop.refused()
    assert told.code == exits.FATAL
    assert "replication" in told.cause.lower()
    assert "tailrace check" in told.hint
    postgres.execute(f"alter role {role} replication")

    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"user {role} may not create publication tailrace_{NAME}" in told.cause
    statement = told.hint.partition("run: ")[2]
    assert statement.startswith("create publication")
    postgres.execute(statement)

    told = shop.refused()
    assert told.code == exits.FATAL
    assert "permission denied for table items" in told.cause
    postgres.execute(f"grant select on items to {role}")
    shop.deliver()


@newest
def test_a_new_table_that_the_user_may_not_publish_is_named_and_stops_nothing(
    postgres: Database, tailrace: Tailrace, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READER_PASSWORD", "of-the-reader")
    shop = Shop(postgres, tailrace, source={"user": role, "password": "${env:READER_PASSWORD}"})
    postgres.execute(f"alter role {role} replication")
    postgres.execute(f"grant select on items to {role}")
    postgres.execute(f"create publication tailrace_{NAME} for table items")
    running = tailrace.run(shop.connector)
    shop.arrive()
    postgres.execute("create table others (id int primary key)")
    running.wait_for("a new table is left out")
    assert "alter publication" in running.stderr
    shop.sell()
    shop.arrive()


# -- what to capture


@newest
@pytest.mark.parametrize("pattern", ["public.orders", "public.order*"])
def test_a_table_or_pattern_that_nothing_matches_is_named(postgres: Database, tailrace: Tailrace, pattern: str) -> None:
    shop = Shop(postgres, tailrace)
    wrong = shop.changed(tables=["public.items", pattern])
    told = shop.refused(wrong)
    assert told.code == exits.MISCONFIGURED
    assert f"no table matches {pattern}" in told.cause
    assert "source.tables" in told.cause
    assert "create the table" in told.hint
    assert postgres.slots() == [], "a slot was left behind that keeps the server's log"
    postgres.execute("create table orders (id int primary key)")
    shop.deliver(wrong)


# -- the file


@newest
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "shop",', "not valid JSON"),
        ('{"name": "shop", "sorce": {}}', "sorce: unknown key"),
        ('{"name": "shop", "source": {"type": "postgres", "port": "x"}}', "source.port"),
        ('{"name": "shop", "source": {"type": "postgres", "password": "${env:NOT_SET_AT_ALL}"}}', "NOT_SET_AT_ALL"),
    ],
    ids=["broken", "unknown-key", "wrong-type", "missing-variable"],
)
def test_a_file_with_a_mistake_is_named_and_mended_it_delivers_what_waited(shop: Shop, text: str, said: str) -> None:
    path = shop.tailrace.write(shop.connector)
    if text.endswith("}"):
        wrong = json.loads(text)
        wrong = {**shop.connector, **wrong, "source": {**shop.connector["source"], **wrong.get("source", {})}}
        text = json.dumps(wrong)
    path.write_text(text)
    told = told_by(shop.tailrace.start("run", path))
    assert told.code == exits.MISCONFIGURED
    assert str(path) in told.cause
    assert said in told.cause
    shop.deliver()


# -- the state folder


@newest
def test_a_state_folder_that_cannot_be_written_is_named(shop: Shop) -> None:
    with small_disk(shop.tailrace.folder / "elsewhere", "8m") as disk:
        shutil.copytree(shop.tailrace.state, disk.folder, dirs_exist_ok=True)
        read_only(disk.folder)
        told = told_by(shop.tailrace.run(shop.connector, "--state", str(disk.folder)))
        assert told.code == exits.MISCONFIGURED
        assert f"the state folder {disk.folder} cannot be used" in told.cause
        assert "--state" in told.hint
        writable(disk.folder)
        done = shop.tailrace("run", shop.tailrace.write(shop.connector), "--state", disk.folder, "--until-caught-up")
        assert done.returncode == exits.DONE, done.stderr
        assert shop.missing() == []


@newest
def test_a_state_folder_that_is_full_stops_the_offset_and_goes_on_when_there_is_room(
    postgres: Database, tailrace: Tailrace
) -> None:
    with small_disk(tailrace.state, "8m") as disk:
        shop = Shop(postgres, tailrace, errors={"retry_for_s": 300})
        running = tailrace.run(shop.connector)
        shop.arrive()
        with _log_kept(tailrace):
            disk.fill()
            stuck = until(lambda: _stuck_at(shop, running), "tailrace tells that its state is full")
            shop.sell()
            assert shop.offset() == stuck
            assert _confirmed(postgres) <= stuck
        disk.free()
        shop.arrive()
        until(lambda: shop.offset() != stuck, "the offset moves again")
        assert running.stop() == exits.DONE


@newest
def test_a_state_folder_that_stays_full_ends_with_4_and_loses_nothing(postgres: Database, tailrace: Tailrace) -> None:
    with small_disk(tailrace.state, "8m") as disk:
        shop = Shop(postgres, tailrace)
        running = tailrace.run(shop.connector)
        shop.arrive()
        with _log_kept(tailrace):
            disk.fill()
            until(lambda: _sold_until_the_end(shop, running), "tailrace ends")
        told = told_by(running)
        assert told.code == exits.RETRIES_ENDED
        assert str(tailrace.state) in told.cause
        assert "room" in told.hint
        assert _confirmed(postgres) <= (shop.offset() or 0)
        disk.free()
        shop.deliver()


@newest
def test_a_state_from_a_newer_version_is_left_alone(shop: Shop) -> None:
    _set_version(shop.tailrace, 99)
    told = shop.refused()
    assert told.code == exits.FATAL
    assert "newer tailrace" in told.cause
    assert "nothing was changed" in told.hint
    _set_version(shop.tailrace, 1)
    shop.deliver()


# -- the target


@newest
def test_a_full_target_holds_delivery_up_until_there_is_room(postgres: Database, tailrace: Tailrace) -> None:
    with small_disk(postgres.folder / "out", "1m") as disk:
        shop = Shop(postgres, tailrace, errors={"retry_for_s": 300})
        running = tailrace.run(shop.connector)
        shop.arrive()
        disk.fill()
        shop.sell(100)
        running.wait_for("no space left")
        assert "free space" in running.stderr
        assert _confirmed(postgres) <= (shop.offset() or 0)
        disk.free()
        shop.arrive()
        assert running.stop() == exits.DONE
        assert shop.missing() == []


@newest
def test_a_target_that_stays_full_ends_with_4_and_loses_nothing(postgres: Database, tailrace: Tailrace) -> None:
    with small_disk(postgres.folder / "out", "1m") as disk:
        shop = Shop(postgres, tailrace)
        shop.deliver()
        disk.fill()
        shop.sell(100)
        told = shop.refused()
        assert told.code == exits.RETRIES_ENDED
        assert "no space left" in told.cause and str(disk.folder) in told.cause
        assert "free space" in told.hint
        disk.free()
        shop.deliver()


@newest
def test_a_target_that_is_removed_while_in_use_is_made_anew_and_gets_all_that_follows(shop: Shop) -> None:
    running = shop.tailrace.run({**shop.connector, "errors": {"retry_for_s": 300}})
    shop.arrive()
    gone = shop.out.rename(shop.out.with_name("gone"))  # at once: a file may be published just now
    shutil.rmtree(gone, ignore_errors=True)
    shop.sell()  # every row changes
    shop.arrive()
    assert running.stop() == exits.DONE
    assert shop.missing() == []


@newest
def test_a_target_that_is_a_file_is_named(shop: Shop) -> None:
    file = shop.out.with_name("a-file")
    file.touch()
    sink = {"type": "files", "directory": str(file)}
    told = shop.refused({**shop.connector, "sink": sink})
    assert told.code == exits.MISCONFIGURED
    assert str(file) in told.cause and "a file stands where a folder is needed" in told.cause
    assert "sink.directory" in told.hint
    shop.deliver()


# -- twice


def test_a_second_start_on_the_same_state_is_refused_with_the_firsts_pid_and_host(shop: Shop) -> None:
    running = shop.tailrace.run(shop.connector)
    shop.arrive()
    told = told_by(shop.tailrace.run(shop.connector))
    assert told.code == exits.FATAL
    assert f"connector {NAME} is already running as pid {running.pids()[1]} on host" in told.cause
    assert "stop it first" in told.hint
    shop.sell()
    shop.arrive()
    assert running.stop() == exits.DONE


def test_a_second_start_on_the_same_slot_is_refused_and_the_first_goes_on(shop: Shop) -> None:
    running = shop.tailrace.run(shop.connector)
    shop.arrive()
    second = {**shop.connector, "sink": {"type": "discard"}}
    (shop.tailrace.folder / "second").mkdir()
    path = shop.tailrace.folder / "second" / "shop.json"
    path.write_text(json.dumps(second))
    told = told_by(shop.tailrace.start("run", path, "--state", shop.tailrace.folder / "second"))
    assert told.code == exits.RETRIES_ENDED
    assert f'replication slot "tailrace_{NAME}" is active' in told.cause
    assert "another process reads this slot" in told.hint
    shop.sell()
    shop.arrive()
    assert running.process.poll() is None
    assert "warning" not in running.stderr
    assert running.stop() == exits.DONE


# -- helpers


@contextmanager
def _log_kept(tailrace: Tailrace) -> Iterator[None]:
    """A reader of the state file, whose log then only grows: one that is emptied or removed makes room again."""
    with closing(sqlite3.connect(tailrace.state / "tailrace.db", isolation_level=None)) as db:
        db.execute("begin")
        db.execute("select count(*) from offset_current").fetchone()
        yield


def _stuck_at(shop: Shop, running: Running) -> int | None:
    """The offset, where it stays while tailrace fails to save one: a small one may still have found room before."""
    offset, failures = shop.offset(), _failures(running)
    until(lambda: _sold_until_a_failure(shop, running, failures), "tailrace tells of a failure")
    return offset if shop.offset() == offset else None


def _sold_until_a_failure(shop: Shop, running: Running, before: int) -> bool:
    shop.sell(1)
    return _failures(running) > before


def _failures(running: Running) -> int:
    return running.stderr.count("could not") + running.stderr.count("cannot save")


def _sold_until_the_end(shop: Shop, running: Any) -> bool:
    shop.sell(1)
    return running.process.poll() is not None


def _confirmed(database: Database) -> int:
    query = "select confirmed_flush_lsn - '0/0' from pg_replication_slots where slot_name = %s"
    return int(database.execute(query, f"tailrace_{NAME}")[0][0])


def _set_version(tailrace: Tailrace, version: int) -> None:
    with closing(sqlite3.connect(tailrace.state / "tailrace.db")) as db:
        db.execute(f"pragma user_version = {version}")
