"""What tables of a database add: names that can be chosen, and tables that somebody drops."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from offsets.errors import OffsetStoreGone, OffsetStoreMisconfigured, OffsetUnreadable
from offsets.position import Offset, Position
from tests.mysql_servers import MysqlDatabase
from tests.offset_stores import Place, mysql_place, postgres_place
from tests.servers import Database


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}", '{"system": "1", "slot": "s"}')


@pytest.fixture
def ours(postgres: Database) -> Iterator[Place]:
    yield postgres_place(postgres)


@pytest.mark.postgres
def test_a_prefix_may_name_a_schema_and_keeps_connectors_apart(ours: Place, postgres: Database) -> None:
    with pytest.raises(OffsetStoreMisconfigured, match="cdc") as missing:
        ours.open(prefix="cdc.t_")
    assert "offsets.prefix" in missing.value.hint
    postgres.execute("create schema cdc")
    with closing(ours.open()) as public, closing(ours.open(prefix="cdc.t_")) as cdc:
        for order, store in enumerate((public, cdc)):
            store.hold("shop")
            store.save("shop", at(order), {})
        assert (public.load("shop"), cdc.load("shop")) == (Offset(at(0), {}), Offset(at(1), {}))
    assert postgres.execute("select count(*) from cdc.t_offset_current") == [(1,)]


@pytest.mark.postgres
def test_a_table_that_was_dropped_on_postgres_is_noticed_and_not_retried(ours: Place, postgres: Database) -> None:
    with closing(ours.open()) as store:
        store.save("shop", at(1), {})
        postgres.execute("drop table tailrace_offset_current")
        with pytest.raises(OffsetStoreGone, match="tailrace_offset_current") as gone:
            store.save("shop", at(2), {})
    assert not gone.value.retryable


@pytest.mark.postgres
def test_a_table_of_another_program_is_not_read_as_no_offset(ours: Place, postgres: Database) -> None:
    postgres.execute("create table tailrace_offset_current (connector text, lsn text)")
    with closing(ours.open()) as store, pytest.raises(OffsetUnreadable) as unreadable:
        store.load("shop")
    assert "offsets.prefix" in unreadable.value.hint


@pytest.mark.mysql
def test_a_table_that_was_dropped_on_mysql_is_noticed_and_not_retried(mysql: MysqlDatabase) -> None:
    with closing(mysql_place(mysql).open()) as store:
        store.save("shop", at(1), {})
        mysql.execute("drop table tailrace_offset_current")
        with pytest.raises(OffsetStoreGone, match="tailrace_offset_current") as gone:
            store.save("shop", at(2), {})
    assert not gone.value.retryable


@pytest.mark.mysql
def test_tables_are_innodb_whatever_the_server_makes_by_default(mysql: MysqlDatabase) -> None:
    with closing(mysql_place(mysql).open(prefix="t_")) as store:
        store.hold("shop")
    engines = mysql.execute("select distinct engine from information_schema.tables where table_schema = database()")
    assert engines == [("InnoDB",)]
