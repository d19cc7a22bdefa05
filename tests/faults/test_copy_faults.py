"""What locks, and transactions that end late, do to the copy of a table."""

import time
from threading import Thread

import psycopg
import pytest

from service import exits
from tests.conftest import OwnPostgresFactory
from tests.faults.shop import NAME, Shop
from tests.fold import read_events
from tests.servers import Database, Tailrace, until

SLOT = f"tailrace_{NAME}"
PATIENT = {"retry_for_s": 300}

pytestmark = pytest.mark.postgres


def test_a_table_that_is_locked_for_long_is_waited_for(postgres: Database, tailrace: Tailrace) -> None:
    shop = Shop(postgres, tailrace, errors=PATIENT)
    with psycopg.connect(postgres.dsn) as locker:
        locker.execute("lock table items in access exclusive mode")
        running = tailrace.run(shop.connector)
        running.wait_for("lock timeout")
        assert "pg_locks" in running.stderr
        locker.commit()
    shop.arrive()
    assert running.stop() == exits.DONE


@pytest.mark.parametrize("key", ["primary key", ""])
def test_a_commit_that_others_do_not_see_yet_is_not_lost_by_the_copy(
    own_postgres: OwnPostgresFactory, tailrace: Tailrace, key: str
) -> None:
    """It stands in the log before its table is published, and waits for a synchronous standby before anyone sees it."""
    database = own_postgres()
    database.execute(f"alter database {database.name} set synchronous_commit = local")
    database.execute("set synchronous_commit = local")
    database.execute("alter system set synchronous_standby_names = 'nobody'")
    database.execute("select pg_reload_conf()")
    shop = Shop(database, tailrace, errors=PATIENT)
    running = tailrace.run(shop.connector)
    shop.arrive()
    database.execute(f"create table slow (id int {key}, name text)")
    with psycopg.connect(database.dsn, autocommit=True) as waiting:
        waiting.execute("set synchronous_commit = on")
        writer = Thread(target=lambda: waiting.execute("insert into slow values (1, 'seen late')"), daemon=True)
        writer.start()
        until(lambda: _waits_for_standby(database), "the commit waits")
        running.wait_for("new table")
        time.sleep(3)  # the copy may have begun, and must not have ended without the row
        database.execute("alter system reset synchronous_standby_names")
        database.execute("select pg_reload_conf()")
        writer.join(120)
    until(lambda: "seen late" in _names(shop, "slow"), "the row that was seen late")
    assert running.stop() == exits.DONE


@pytest.mark.parametrize("key", ["primary key", ""])
def test_a_transaction_that_was_open_when_its_table_was_discovered_is_not_lost(
    postgres: Database, tailrace: Tailrace, key: str
) -> None:
    """The server decodes what it wrote before the table was published as not published."""
    shop = Shop(postgres, tailrace, errors=PATIENT)
    running = tailrace.run(shop.connector)
    shop.arrive()
    with psycopg.connect(postgres.dsn) as writer:
        postgres.execute(f"create table slow (id int {key}, name text)")
        writer.execute("insert into slow values (1, 'written early')")
        running.wait_for("new table")
        time.sleep(3)  # the copy may have begun, and must not have ended without the row
        writer.execute("insert into slow values (2, 'written late')")
        writer.commit()
    until(lambda: "written late" in _names(shop, "slow"), "the later row")
    until(lambda: "written early" in _names(shop, "slow"), "the earlier row")
    assert running.stop() == exits.DONE


def _waits_for_standby(database: Database) -> bool:
    return bool(database.execute("select 1 from pg_stat_activity where wait_event = 'SyncRep'"))


def _names(shop: Shop, table: str) -> set[str]:
    """Every name that an event of the table showed; without a key there is no fold."""
    events = [event["value"] for event in read_events(shop.out) if event["topic"] == f"{NAME}.public.{table}"]
    return {value["after"]["name"] for value in events if value and value["after"]}
