"""What a server does to a connector: restarts, outages, promotions, and slots that others touch."""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from service import exits
from service.local_postgres import LocalPostgres, StopMode
from tests.conftest import OwnPostgresFactory
from tests.faults.shop import NAME, Shop, Told, told_by
from tests.servers import ROOT, VERSIONS, Database, OwnPostgres, Tailrace, until

SLOT = f"tailrace_{NAME}"
PATIENT = {"retry_for_s": 300}

newest = pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)

pytestmark = pytest.mark.postgres


@pytest.fixture
def shop(postgres: Database, tailrace: Tailrace) -> Shop:
    """Some rows are delivered."""
    shop = Shop(postgres, tailrace)
    shop.deliver()
    return shop


def reset_and_deliver(shop: Shop) -> None:
    """What hints about a gap tell an operator to do: forget the offset, and copy every table anew."""
    done = shop.tailrace("offsets", "reset", NAME)
    assert done.returncode == exits.DONE, done.stderr
    shop.deliver()


def confirmed(database: Database) -> int:
    query = "select confirmed_flush_lsn - '0/0' from pg_replication_slots where slot_name = %s"
    return int(database.execute(query, SLOT)[0][0])


def drop_slot(database: Database) -> None:
    def dropped() -> bool:
        try:
            database.execute("select pg_drop_replication_slot(%s)", SLOT)
        except psycopg.errors.ObjectInUse:
            return False  # the server has not noticed yet that its reader is gone
        return True

    until(dropped, "the slot is dropped")


# -- outages


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restarted_server_is_found_again_and_nothing_is_lost(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace, version: int, mode: StopMode
) -> None:
    database = own_postgres(version=version)
    shop = Shop(database, tailrace, errors=PATIENT, source={})
    running = tailrace.run(shop.connector)
    shop.arrive()
    shop.sell()
    database.server.restart(mode)
    database.reconnect()
    shop.sell()
    shop.arrive()
    assert running.stop() == exits.DONE
    if mode == "fast":
        said = database.server.log.read_text()
        assert "was not properly shut down" not in said, "the server could not stop while we were connected"


def test_a_server_that_is_down_is_tried_again_until_it_is_back(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    database = own_postgres()
    shop = Shop(database, tailrace, errors=PATIENT)
    running = tailrace.run(shop.connector)
    shop.arrive()
    shop.sell()
    database.server.stop()
    until(lambda: running.stderr.count("retry_in_s") >= 4, "four retries")
    assert "check that the server runs" in running.stderr
    database.server.start()
    database.reconnect()
    shop.sell()
    shop.arrive()
    assert running.stop() == exits.DONE


def test_a_server_that_stays_down_ends_with_4_and_a_later_start_delivers_what_waited(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    database = own_postgres()
    shop = Shop(database, tailrace)
    shop.deliver()
    shop.sell()
    database.server.stop("immediate")
    told = shop.refused()
    assert told.code == exits.RETRIES_ENDED
    assert f"{database.server.port}" in told.cause
    assert "check that the server runs" in told.hint
    database.server.start()
    database.reconnect()
    shop.deliver()


# -- a standby takes over


@contextmanager
def standby_of(primary: OwnPostgres, settings: dict[str, str]) -> Iterator[LocalPostgres]:
    """A running physical standby that follows through the slot ``standby``."""
    folder = Path(tempfile.mkdtemp(prefix="tailrace-standby-"))
    follow = {"primary_conninfo": primary.dsn, "primary_slot_name": "standby", "hot_standby_feedback": "on"}
    standby = LocalPostgres(primary.server.bin_dir, folder, {**follow, **settings})
    options = ["--checkpoint=fast", "--no-sync", "--create-slot", "--slot=standby", "--write-recovery-conf"]
    try:
        standby.command("pg_basebackup", f"--pgdata={standby.data}", f"--dbname={primary.server.dsn()}", *options)
        standby.start()
        follows = "select 1 from pg_stat_replication where state = 'streaming'"
        until(lambda: primary.execute(follows), "the standby follows")
        yield standby
    finally:
        standby.remove()


def promote(shop: Shop, standby: LocalPostgres) -> None:
    """The standby is the server now, for the connector and for its users."""
    standby.command("pg_ctl", "promote", f"--pgdata={standby.data}")
    shop.database.admin.close()
    shop.database.dsn = standby.dsn(shop.database.name)
    shop.database.admin = psycopg.connect(shop.database.dsn, autocommit=True)
    shop.connector = shop.changed(port=standby.port)


def test_a_promoted_standby_with_the_slot_continues_without_loss(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    primary = own_postgres(18)
    shop = Shop(primary, tailrace, errors=PATIENT)
    with standby_of(primary, {"sync_replication_slots": "on"}) as standby:
        primary.execute("alter system set synchronized_standby_slots = 'standby'")
        primary.execute("select pg_reload_conf()")
        running = tailrace.run(shop.connector)
        shop.arrive()
        with psycopg.connect(standby.dsn(), autocommit=True) as connection:
            until(lambda: _is_synced(shop, connection), "the slot is synchronised")
        running.kill()
        shop.sell()
        primary.server.stop("fast")
        promote(shop, standby)
        shop.sell()
        shop.deliver()
        shop.sell()
        shop.deliver()
        assert "timeline               2" in tailrace("offsets", "show", NAME).stdout


def _is_synced(shop: Shop, standby: psycopg.Connection[Any]) -> bool:
    shop.sell(1)
    query = "select synced and not temporary from pg_replication_slots where slot_name = %s"
    row = standby.execute(query, (SLOT,)).fetchone()
    return bool(row and row[0])


def test_a_promoted_standby_without_the_slot_is_refused_with_the_gap(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    primary = own_postgres(18)
    shop = Shop(primary, tailrace)
    with standby_of(primary, {}) as standby:
        shop.deliver()
        position = _position(tailrace)
        shop.sell()
        primary.server.stop("fast")
        promote(shop, standby)
        told = shop.refused()
        _check_gap(told, f"slot {SLOT} is gone", position)
        assert "timeline 2" in told.cause

        shop.database.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", SLOT)
        told = shop.refused()
        _check_gap(told, f"slot {SLOT} was made on it anew", position)
        assert "timeline 1 -> 2" in told.cause
        drop_slot(shop.database)
        reset_and_deliver(shop)


# -- others touch the slot or the publication


def _position(tailrace: Tailrace) -> str:
    """The stored offset, as the gap's message must name it."""
    with closing(sqlite3.connect(tailrace.state / "tailrace.db")) as db:
        return str(db.execute("select token from offset_current where connector = ?", (NAME,)).fetchone()[0])


def _check_gap(told: Told, cause: str, position: str) -> None:
    assert told.code == exits.FATAL
    assert cause in told.cause
    assert position in told.cause, "the gap begins at our offset"
    assert f"tailrace offsets reset {NAME}" in told.hint
    assert "{" not in told.hint


@newest
def test_a_dropped_slot_is_a_gap_that_is_spelled_out(shop: Shop) -> None:
    position = _position(shop.tailrace)
    drop_slot(shop.database)
    shop.sell()
    _check_gap(shop.refused(), f"slot {SLOT} is gone", position)
    assert shop.database.slots() == [], "a slot that begins behind the gap was made"
    reset_and_deliver(shop)


@newest
def test_a_slot_that_was_recreated_is_a_gap_that_is_spelled_out(shop: Shop) -> None:
    position = _position(shop.tailrace)
    drop_slot(shop.database)
    shop.sell()
    shop.database.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", SLOT)
    shop.sell()
    _check_gap(shop.refused(), f"slot {SLOT} begins at", position)
    reset_and_deliver(shop)


@newest
def test_a_slot_that_somebody_else_advanced_is_a_gap_that_is_spelled_out(shop: Shop) -> None:
    position = _position(shop.tailrace)
    shop.sell()
    until(lambda: _advanced(shop.database), "the slot is advanced")
    shop.sell()
    _check_gap(shop.refused(), f"slot {SLOT} begins at", position)
    reset_and_deliver(shop)


def _advanced(database: Database) -> bool:
    try:
        database.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", SLOT)
    except psycopg.errors.ObjectInUse:
        return False
    return True


def test_a_publication_dropped_while_stopped_is_refused_with_the_remedy(shop: Shop) -> None:
    shop.database.execute(f"drop publication {SLOT}")
    shop.sell()
    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"publication {SLOT} is gone" in told.cause
    assert "drop the slot" in told.hint and "offsets reset" in told.hint
    assert shop.database.slots() == [SLOT], "the slot holds the only copy of what was not delivered"
    drop_slot(shop.database)
    reset_and_deliver(shop)


def test_a_publication_recreated_while_stopped_loses_nothing_in_silence(shop: Shop) -> None:
    """Before Postgres 18 the log behind the drop cannot be read; since 18 the server skips what it does not find."""
    shop.database.execute(f"drop publication {SLOT}")
    shop.sell()
    shop.database.execute(f"create publication {SLOT} for table items")
    shop.sell()
    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"publication {SLOT}" in told.cause or f'publication "{SLOT}"' in told.cause
    assert "offsets reset" in told.hint
    drop_slot(shop.database)
    reset_and_deliver(shop)


def test_a_publication_dropped_while_running_stops_the_connector(shop: Shop) -> None:
    running = shop.tailrace.run({**shop.connector, "errors": PATIENT})
    shop.sell()
    shop.arrive()
    offset = shop.offset()
    shop.database.execute(f"drop publication {SLOT}")
    shop.sell()
    shop.database.execute(f"create publication {SLOT} for table items")
    told = told_by(running)
    assert told.code == exits.FATAL
    assert SLOT in told.cause
    assert "offsets reset" in told.hint
    assert offset is not None and (shop.offset() or 0) >= offset
    drop_slot(shop.database)
    reset_and_deliver(shop)


def test_a_slot_whose_log_was_removed_is_a_gap_that_is_spelled_out(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    database = own_postgres(settings={"max_slot_wal_keep_size": "1MB"})
    shop = Shop(database, tailrace)
    shop.deliver()
    position = _position(tailrace)
    shop.sell()
    until(lambda: _wal_status(database) == "lost", "the slot is lost")
    told = shop.refused()
    _check_gap(told, f"slot {SLOT} is lost", position)
    assert "max_slot_wal_keep_size" in told.cause
    assert f"pg_drop_replication_slot('{SLOT}')" in told.hint
    drop_slot(database)
    reset_and_deliver(shop)


def _wal_status(database: Database) -> str:
    database.execute("insert into items select max(id) + 1, 'fill' from items")
    database.execute("select pg_switch_wal()")
    database.execute("checkpoint")
    return str(database.execute("select wal_status from pg_replication_slots where slot_name = %s", SLOT)[0][0])


# -- slowness


def test_a_sink_that_stalls_longer_than_wal_sender_timeout_keeps_its_connection(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace
) -> None:
    database = own_postgres(settings={"wal_sender_timeout": "6s"})
    shop = Shop(database, tailrace, sink={"type": "stdout"}, delivery={"queue_bytes": 1 << 16}, errors=PATIENT)
    errors = tailrace.folder / "stalled.err"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "run", tailrace.write(shop.connector), "--state", tailrace.state],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        sender = until(lambda: _sender(database), "the stream is open")
        database.execute("update items set name = repeat('long', 2000)")
        for _ in range(50):
            shop.sell(1)
        time.sleep(15)
        assert _sender(database) == sender, f"the stream was cut:\n{errors.read_text()}"
        last = f"item {shop._rows}"
        lines: list[str] = []
        reader = Thread(target=lambda: _read_until(process, last, lines), daemon=True)
        reader.start()
        reader.join(60)
        assert any(f'"{last}"' in line for line in lines), "the last row never came"
        assert _sender(database) == sender, f"the stream was cut:\n{errors.read_text()}"
    finally:
        process.terminate()
        assert process.stdout
        process.stdout.close()
        process.wait(60)
    assert "warning" not in errors.read_text()


def _sender(database: Database) -> int | None:
    rows = database.execute("select active_pid from pg_replication_slots where slot_name = %s", SLOT)
    return rows[0][0] if rows else None


def _read_until(process: "subprocess.Popen[bytes]", text: str, lines: list[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line.decode())
        if f'"{text}"' in lines[-1]:
            return


def test_an_idle_database_lets_the_server_forget_its_log_while_another_one_writes(
    postgres: Database, tailrace: Tailrace
) -> None:
    shop = Shop(postgres, tailrace)
    running = tailrace.run(shop.connector)
    shop.arrive()
    with psycopg.connect(postgres._server_dsn, autocommit=True) as other:
        other.execute("create table if not exists noise (line text)")
        other.execute("insert into noise select repeat('noise', 100) from generate_series(1, 1000)")
        row = other.execute("select pg_current_wal_lsn() - '0/0'").fetchone()
        other.execute("drop table noise")
    assert row is not None
    until(lambda: confirmed(postgres) >= int(row[0]), "the slot advances")
    assert confirmed(postgres) <= (shop.offset() or 0)
    assert running.stop() == exits.DONE
