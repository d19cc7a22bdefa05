"""What a MySQL or MariaDB server does to a connector: restarts, purges, resets, failovers, corruption, open XA."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from connectors.errors import SourceUnreachable
from service import exits
from tests.conftest import OwnMysqlFactory
from tests.contract.engines import MysqlEngine, Shop
from tests.faults import audit
from tests.faults.shop import NAME, MysqlShop, Told
from tests.fold import read_events
from tests.mysql_servers import KINDS, MysqlDatabase, OwnMysql
from tests.servers import Tailrace, until

PATIENT = {"retry_for_s": 300}
CRC_BYTES = 4
LARGE_ROWS = 100_000

every = pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
newest = pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])

pytestmark = pytest.mark.mysql

MakeShop = Callable[..., MysqlShop]


@pytest.fixture
def make_shop(own_mysql: OwnMysqlFactory, tailrace: Tailrace) -> MakeShop:
    """A shop on a server of its own; some rows are delivered."""

    def make(kind: str, *settings: str, **sections: Any) -> MysqlShop:
        shop = MysqlShop(own_mysql(kind, *settings), tailrace, **sections)
        shop.deliver()
        return shop

    return make


def server_of(shop: MysqlShop) -> OwnMysql:
    assert isinstance(shop.database, OwnMysql)
    return shop.database


def position(shop: MysqlShop) -> str:
    """The stored offset's token."""
    with closing(sqlite3.connect(shop.tailrace.state / "tailrace.db")) as db:
        return str(db.execute("select token from offset_current where connector = ?", (NAME,)).fetchone()[0])


def check_gap(told: Told, *causes: str) -> None:
    assert told.code == exits.FATAL
    for cause in causes:
        assert cause in told.cause
    assert f"tailrace offsets reset {NAME}" in told.hint
    assert "{" not in told.hint


def reset_and_deliver(shop: MysqlShop) -> None:
    """What hints about a gap tell an operator to do: forget the offset, and copy every table anew."""
    done = shop.tailrace("offsets", "reset", NAME)
    assert done.returncode == exits.DONE, done.stderr
    shop.deliver()


# -- outages


@every
def test_a_server_that_restarts_or_crashes_is_found_again_and_nothing_is_lost(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    database = own_mysql(kind)
    shop = MysqlShop(database, tailrace, errors=PATIENT)
    running = tailrace.run(shop.connector)
    shop.arrive()
    for end in (database.server.stop, database.server.kill):
        shop.sell()
        end()
        until(lambda: "check that the server runs" in running.stderr, "tailrace tells")
        database.server.start()
        database.reconnect()
        shop.sell()
        shop.arrive()
    assert running.stop() == exits.DONE


@newest
@pytest.mark.parametrize("copies", [False, True], ids=["streaming", "copying"])
def test_a_server_that_hangs_counts_as_gone(
    own_mysql: OwnMysqlFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, copies: bool
) -> None:
    """Its kernel keeps the connections alive."""
    monkeypatch.setattr("connectors.mysql.connection.ANSWER_S", 6.0)
    database = own_mysql(kind)
    make_large(database)
    with Shop(MysqlEngine(database), tmp_path).reading(snapshot="initial" if copies else "never") as read:
        read.read_until(1000) if copies else read.catch_up()
        database.server.signal(signal.SIGSTOP)
        with pytest.raises(SourceUnreachable, match="timed out"):
            until(lambda: read.read() and False, "the source gives up")
        database.server.signal(signal.SIGCONT)


# -- gaps


@every
def test_a_log_that_was_purged_is_a_gap_that_is_spelled_out(make_shop: MakeShop, kind: str) -> None:
    shop = make_shop(kind)
    delivered = position(shop).partition("/")[2]
    shop.sell()
    purge(shop.database)
    told = shop.refused()
    check_gap(told, "has purged", delivered.partition(":")[0])
    reset_and_deliver(shop)


def purge(database: MysqlDatabase) -> None:
    database.execute("flush binary logs")
    status = "show binary log status" if database.flavor == "mysql" else "show master status"
    last = database.execute(status)[0][0]
    until(lambda: _purged(database, last), "the older logs are gone")


def _purged(database: MysqlDatabase, last: str) -> bool:
    """A reader that has just ended still holds its file for a moment."""
    database.execute(f"purge binary logs to '{last}'")
    return len(database.execute("show binary logs")) == 1


@every
def test_a_server_that_was_reset_is_a_gap_that_is_spelled_out(make_shop: MakeShop, kind: str) -> None:
    shop = make_shop(kind)
    database = shop.database
    shop.sell()
    reset_logs(database)
    shop.sell(1)
    told = shop.refused()
    check_gap(told)
    reset_and_deliver(shop)


def reset_logs(database: MysqlDatabase) -> None:
    database.execute("reset binary logs and gtids" if database.flavor == "mysql" else "reset master")


def test_a_reset_server_whose_gtids_were_set_again_is_a_gap(make_shop: MakeShop) -> None:
    shop = make_shop("mysql97")
    database = shop.database
    shop.sell()
    shop.deliver()
    reset_logs(database)
    database.execute(f"set global gtid_purged = '{position(shop).partition('/')[2]}'")
    told = shop.refused()
    check_gap(told, "before binlog.000001:", "where connector shop stands")
    reset_and_deliver(shop)


@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_a_reset_log_that_has_grown_over_the_position_is_not_read_from_within_an_event(
    make_shop: MakeShop, kind: str
) -> None:
    """It holds all the GTIDs that were delivered, and others under their numbers."""
    shop = make_shop(kind)
    reset_logs(shop.database)
    for id_ in range(50):
        shop.database.execute(f"insert into items values ({8000 + id_}, repeat('x', 5000))")
    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"tailrace offsets reset {NAME}" in told.hint
    reset_and_deliver(shop)


@newest
def test_binlogs_under_another_name_are_followed_where_the_server_kept_its_gtids(
    make_shop: MakeShop, kind: str
) -> None:
    """MariaDB keeps them beside the binlogs, under the name that these had."""
    shop = make_shop(kind)
    server = server_of(shop).server
    for _ in range(3):
        shop.database.execute("flush binary logs")
    shop.deliver()
    server.stop()
    server.settings.append("--log-bin=renamed")
    server.start()
    server_of(shop).reconnect()
    shop.sell()
    if kind == "mysql97":
        shop.deliver()
        assert position(shop).startswith("renamed.000001:")
    else:
        check_gap(shop.refused(), "which connector shop has delivered")


@newest
def test_a_corrupted_log_event_stops_the_connector_at_its_place(make_shop: MakeShop, kind: str) -> None:
    shop = make_shop(kind)
    server = server_of(shop).server
    shop.sell()
    shop.database.execute("insert into items values (9000, 'to be corrupted')")
    shop.sell(1)
    server.stop()
    (log,) = (path for path in server.data.glob("binlog.0*") if b"to be corrupted" in path.read_bytes())
    log.write_bytes(log.read_bytes().replace(b"to be corrupted", b"to be corruptee"))
    server.start()
    server_of(shop).reconnect()
    told = shop.tailrace("run", shop.tailrace.write(shop.connector), "--until-caught-up")
    assert told.returncode == exits.FATAL
    assert "is corrupt: its checksum does not match" in told.stderr
    assert log.name in told.stderr
    assert "mysqlbinlog" in told.stderr
    assert (9000, "to be corruptee") not in shop.seen()
    reset_and_deliver(shop)


@pytest.mark.parametrize("rows", [1, 50_000])
@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_a_transaction_that_a_crash_cut_off_in_the_log_is_left_out(make_shop: MakeShop, kind: str, rows: int) -> None:
    """MySQL cuts such an end off its log by itself."""
    shop = make_shop(kind)
    server = server_of(shop).server
    shop.sell()
    shop.database.execute(f"insert into items select 9000 + seq, 'cut off' from seq_0_to_{rows - 1}")
    server.kill()
    log = max(server.data.glob("binlog.*[0-9]"))
    whole = log.read_bytes()
    log.write_bytes(whole[: whole.rindex(b"cut off") + len(b"cut off") + CRC_BYTES])
    server.start()
    server_of(shop).reconnect()
    shop.database.execute("delete from items where id >= 9000")
    shop.sell()
    shop.deliver()
    assert not [id_ for id_, name in shop.seen() if name.startswith("cut off")]


@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_a_large_transaction_of_a_closed_binlog_is_delivered_and_what_it_took_back_is_not(
    make_shop: MakeShop, kind: str
) -> None:
    """Until its end is seen, a crash may have cut it off."""
    shop = make_shop(kind)
    database = shop.database
    database.execute("create table plain (id int primary key) engine = myisam")
    database.execute("begin")
    database.execute("insert into items select 9000 + seq, 'kept' from seq_0_to_999")
    database.execute("savepoint s")
    database.execute("insert into items select 20000 + seq, 'taken back' from seq_0_to_29999")
    database.execute("insert into plain values (1)")  # so that the log keeps what is taken back
    database.execute("rollback to s")
    database.execute("insert into items select 60000 + seq, 'kept' from seq_0_to_29999")
    database.execute("commit")
    database.execute("flush binary logs")
    shop.sell()
    shop.deliver()
    assert not [after for after in afters_of(shop, "items") if after["name"].startswith("taken back")]


# -- another server takes over


@every
def test_a_replica_that_takes_over_goes_on_by_gtid_without_loss(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    primary = own_mysql(kind)
    shop = MysqlShop(primary, tailrace)
    shop.deliver()
    replica = primary.replica()
    shop.sell()
    shop.deliver()
    shop.sell()
    until(lambda: _has_all(replica, shop), "the replica has all")
    primary.execute("flush binary logs")  # so that files are not the same by chance
    primary.server.kill()
    take_over(shop, replica)
    shop.sell()
    shop.deliver()
    shop.sell()
    shop.deliver()
    names = [(after["id"], after["name"]) for after in afters_of(shop, "items")]
    assert len(names) == len(set(names)), "something was delivered twice"


def _has_all(replica: OwnMysql, shop: MysqlShop) -> bool:
    query = "select count(*), sum(length(name)) from items"
    try:
        return replica.execute(query) == shop.database.execute(query)
    except pymysql.ProgrammingError:  # it has no table yet
        return False


def take_over(shop: MysqlShop, replica: OwnMysql) -> None:
    """The replica is the server now, for the connector and for its users."""
    replica.execute("stop replica" if replica.flavor == "mysql" else "stop slave")
    shop.database = replica
    shop.connector = shop.changed(port=replica.address.port)


@newest
def test_a_replica_that_lacks_what_was_delivered_is_refused_with_the_transactions(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    primary = own_mysql(kind)
    shop = MysqlShop(primary, tailrace)
    shop.deliver()
    replica = primary.replica()
    until(lambda: _has_all(replica, shop), "the replica has all")
    replica.execute("stop replica" if replica.flavor == "mysql" else "stop slave")
    shop.sell()
    shop.deliver()
    last = position(shop).partition("/")[2]
    take_over(shop, replica)
    told = shop.refused()
    check_gap(told, "delivered")
    errant = told.cause.partition("never executed " if kind == "mysql97" else "ends before ")[2].partition(",")[0]
    assert errant and (errant in last or errant.partition(":")[0] in last)


@newest
def test_a_transaction_that_only_one_replica_made_is_refused_on_the_others(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    """An errant transaction: delivered from one server, unknown to the one that we are sent to."""
    primary = own_mysql(kind)
    shop = MysqlShop(primary, tailrace)
    replica = primary.replica()
    until(lambda: _has_all(replica, shop), "the replica has all")
    replica.execute("insert into items values (5000, 'errant')")
    on_replica = shop.changed(port=replica.address.port)
    shop.tailrace.catch_up(on_replica)
    assert (5000, "errant") in shop.seen()
    told = shop.refused()
    check_gap(told, "delivered")


# -- XA


@every
def test_what_is_prepared_counts_when_it_is_committed_and_never_when_it_is_rolled_back(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    """Over restarts of tailrace and of the server, with other transactions between."""
    database = own_mysql(kind)
    shop = MysqlShop(database, tailrace)
    shop.deliver()
    for name, id_ in (("kept", 7001), ("dropped", 7002)):
        prepare(database, name, f"insert into items values ({id_}, '{name}')")
    before = shop.offset()
    database.execute("insert into items values (7003, 'between')")
    tailrace.catch_up(shop.connector)
    assert {id_ for id_, _ in shop.seen()} & set(range(7001, 7004)) == {7003}
    assert shop.offset() == before, "the offset is past what is prepared"
    database.server.kill()
    database.server.start()
    database.reconnect()
    database.execute("xa commit 'kept'")
    database.execute("xa rollback 'dropped'")
    shop.deliver()
    assert {id_ for id_, _ in shop.seen()} & set(range(7001, 7004)) == {7001, 7003}
    assert (shop.offset() or 0) > (before or 0)
    seen = len(list(read_events(shop.out)))
    shop.deliver()
    assert len(list(read_events(shop.out))) == seen, "what was decided is delivered again"


def prepare(database: MysqlDatabase, name: str, statement: str) -> None:
    """In a session that is gone then."""
    session = database.connect()
    with session.cursor() as cursor:
        cursor.execute(f"xa start '{name}'")
        cursor.execute(statement)
        cursor.execute(f"xa end '{name}'")
        cursor.execute(f"xa prepare '{name}'")
    session.close()


@newest
def test_an_xa_transaction_in_one_phase_is_one_transaction(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    shop = MysqlShop(own_mysql(kind), tailrace)
    shop.deliver()
    for statement in ("xa start 'one'", "insert into items values (7001, 'one phase')", "xa end 'one'"):
        shop.database.execute(statement)
    shop.database.execute("xa commit 'one' one phase")
    shop.deliver()
    assert (7001, "one phase") in shop.seen()


# -- settings that change while a connector runs


@newest
def test_settings_of_the_server_that_change_meanwhile_change_no_value(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    """The same rows by snapshot and by stream, before and after time zone, sql_mode, checksum and format changed."""
    database = own_mysql(kind)
    shop = MysqlShop(database, tailrace, errors=PATIENT)
    make_values(database, "first")
    running = tailrace.run(shop.connector)
    until(lambda: len(values_of(shop, "first")) == 3, "the copy of the first table")
    for setting in (
        "time_zone = '+05:30'",
        "sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "binlog_checksum = NONE",
        "binlog_row_image = MINIMAL",
    ):
        database.execute(f"set global {setting}")
    fill_values(database, "first", 10)
    make_values(database, "second")
    until(lambda: len(values_of(shop, "second")) == 3, "the copy of the second table")
    database.execute("set global binlog_checksum = CRC32")
    fill_values(database, "second", 10)
    until(lambda: len(values_of(shop, "first")) == len(values_of(shop, "second")) == 6, "the stream")
    values = values_of(shop, "first")
    assert values[:3] == values[3:]
    assert values == values_of(shop, "second")
    assert values[0] == {"k": "it's", "at": "2026-11-04T12:34:56Z", "c": "pad", "d": 1774751400000}
    assert running.stop() == exits.DONE


def make_values(database: MysqlDatabase, table: str) -> None:
    database.execute(
        f"create table {table} (k varchar(20) character set utf8mb4 collate utf8mb4_bin, id int, at timestamp null,"
        " c char(10), d datetime, primary key (id, k))"
    )
    fill_values(database, table, 0)


def fill_values(database: MysqlDatabase, table: str, first: int) -> None:
    session = database.connect(init_command="set time_zone = '+00:00', sql_mode = ''")
    with session.cursor() as cursor:
        for n, key in enumerate(("it's", 'a "b"', "back\\slash")):
            row = (key, first + n, "2026-11-04 12:34:56", "pad", "2026-03-29 02:30:00")
            cursor.execute(f"insert into {table} values (%s, %s, %s, %s, %s)", row)
    session.close()


def values_of(shop: MysqlShop, table: str) -> list[dict[str, Any]]:
    """Of all rows in the order of their ids, the id apart."""
    afters = sorted(afters_of(shop, table), key=lambda after: int(after["id"]))
    return [{name: value for name, value in after.items() if name != "id"} for after in afters]


# -- what a log may hold


@newest
def test_rows_and_transactions_larger_than_a_packet_arrive_whole(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    """A packet holds 16 MB less one byte."""
    redo = "--innodb-redo-log-capacity=1G" if kind == "mysql97" else "--innodb-log-file-size=512M"
    database = own_mysql(kind, "--max-allowed-packet=256M", redo)
    shop = MysqlShop(database, tailrace)
    database.execute("create table large (id int primary key, v longtext)")
    sizes = [(1 << 24) - 100, 20_000_000, 40_000_000]
    shop.deliver()
    for id_, size in enumerate(sizes):
        database.execute(f"insert into large values ({id_}, repeat('x', {size}))")
    shop.deliver()
    assert [len(after["v"]) for after in afters_of(shop, "large")] == sizes


def test_a_partial_update_of_json_without_a_whole_row_before_it_is_refused_by_name(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace
) -> None:
    shop = MysqlShop(own_mysql("mysql97"), tailrace)
    database = shop.database
    database.execute("create table papers (id int primary key, doc json)")
    database.execute("insert into papers values (1, json_object('a', repeat('x', 500), 'b', 1))")
    shop.deliver()
    session = database.connect(
        init_command="set session binlog_row_value_options = PARTIAL_JSON, session binlog_row_image = MINIMAL"
    )
    with session.cursor() as cursor:
        cursor.execute("update papers set doc = json_set(doc, '$.b', 2)")
    session.close()
    told = shop.refused()
    assert told.code == exits.FATAL
    assert f"{database.name}.papers" in told.cause
    assert "binlog_row_image" in told.cause + told.hint or "PARTIAL_JSON" in told.cause + told.hint


@every
def test_a_table_that_changes_while_it_is_copied_arrives_in_its_last_shape(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    database = own_mysql(kind)
    shop = MysqlShop(database, tailrace, errors=PATIENT)
    make_large(database)
    running = tailrace.run(shop.connector)
    until(lambda: has_begun(shop, "large"), "the copy is under way")
    database.execute("alter table large add column more int default 7, algorithm=instant")
    database.execute("alter table large drop column v, algorithm=copy")
    database.execute("alter table large add column w varchar(10) default 'w' after id")
    database.execute("update large set w = 'new' where id in (1, 50000, 99999)")
    assert running.stop() == exits.DONE
    tailrace.catch_up(shop.connector)
    rows = {after["id"]: after for after in afters_of(shop, "large")}
    assert len(rows) == LARGE_ROWS
    assert rows[50_000] == {"id": 50_000, "w": "new", "more": 7}
    assert rows[99_998] == {"id": 99_998, "w": "w", "more": 7}


def make_large(database: MysqlDatabase) -> None:
    database.execute("create table large (id int primary key, v varchar(200))")
    database.execute(
        "insert into large with recursive n(i) as (select 0 union all select i + 1 from n where i < 999)"
        f" select a.i + 1000 * b.i, repeat('v', 200) from n a join n b where b.i < {LARGE_ROWS // 1000}"
    )


def has_begun(shop: MysqlShop, table: str) -> bool:
    """Some of a table's copy is delivered."""
    state = shop.tailrace.state
    return audit.has_state(state) and f"{shop.schema}.{table}" in audit.stored_progress(state, NAME)


def afters_of(shop: MysqlShop, table: str) -> list[dict[str, Any]]:
    events = [event["value"] for event in read_events(shop.out) if event["topic"].endswith(f".{table}")]
    return [value["after"] for value in events if value and value["after"]]
