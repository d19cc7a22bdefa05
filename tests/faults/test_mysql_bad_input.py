"""What an operator of MySQL or MariaDB gets wrong: the cause, what to do, and nothing lost once it is mended."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from service import exits
from tests.conftest import OwnMysqlFactory
from tests.faults.shop import NAME, MysqlShop, told_by
from tests.mysql_servers import BY_NAME, MysqlDatabase
from tests.servers import Tailrace, until

PASSWORD = "Of-the-reader-1"
GRANTS = ("replication slave, replication client on *.*", "select, lock tables on {}.*")

newest = pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
mysql_only = pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)

pytestmark = pytest.mark.mysql


@pytest.fixture
def shop(mysql: MysqlDatabase, tailrace: Tailrace) -> MysqlShop:
    """Some rows are delivered, and some wait."""
    shop = MysqlShop(mysql, tailrace)
    shop.deliver()
    shop.sell()
    return shop


MakeReader = Callable[..., dict[str, Any]]


@pytest.fixture
def reader(mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeReader]:
    """Makes a user with a password and some of GRANTS: the keys of its connector."""
    made: list[str] = []

    def make(*grants: str, how: str = f"identified by '{PASSWORD}'") -> dict[str, Any]:
        name = f"reader_{len(made)}_{mysql.name}"
        mysql.execute(f"create user '{name}'@'%' {how}")
        made.append(name)
        for grant in grants:
            mysql.execute(f"grant {grant.format(mysql.name)} to '{name}'@'%'")
        monkeypatch.setenv("READER_PASSWORD", PASSWORD)
        return {"user": name, "password": "${env:READER_PASSWORD}"}

    yield make
    for name in made:
        mysql.execute(f"drop user '{name}'@'%'")


# -- how to reach the server


def test_a_wrong_password_is_named_and_the_right_one_delivers_what_waited(
    shop: MysqlShop, reader: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = reader(*GRANTS)
    monkeypatch.setenv("WRONG_PASSWORD", "not-the-password")
    told = shop.refused(shop.changed(**{**right, "password": "${env:WRONG_PASSWORD}"}))
    assert told.code == exits.FATAL
    assert f"refused user {right['user']}" in told.cause
    assert "source.password" in told.hint
    assert "not-the-password" not in told.cause + told.hint
    shop.deliver(shop.changed(**right))


@mysql_only
@pytest.mark.parametrize(
    ("wrong", "code", "cause", "hint"),
    [
        ({"port": 1}, exits.RETRIES_ENDED, "127.0.0.1:1", "check that the server runs"),
        ({"host": "nowhere.invalid"}, exits.RETRIES_ENDED, "nowhere.invalid", "check that the server runs"),
        ({"user": "nobody_here"}, exits.FATAL, "refused user nobody_here", "correct source.user"),
        ({"type": "mariadb"}, exits.MISCONFIGURED, "runs MySQL", 'set source.type to "mysql"'),
        ({"tls": {"mode": "verify-full"}}, exits.FATAL, "TLS failed", "correct source.tls"),
        ({"tls": {"ca": "/nowhere/ca.pem", "mode": "verify-ca"}}, exits.MISCONFIGURED, "source.tls.ca", "source.tls"),
    ],
    ids=["port", "host", "user", "type", "certificate", "ca"],
)
def test_a_wrong_address_is_named_and_the_right_one_delivers_what_waited(
    shop: MysqlShop, wrong: dict[str, Any], code: int, cause: str, hint: str
) -> None:
    told = shop.refused(shop.changed(**wrong))
    assert told.code == code
    assert cause in told.cause
    assert hint in told.hint
    shop.deliver()


@mysql_only
def test_an_offset_that_the_other_kind_of_server_gave_is_named(shop: MysqlShop) -> None:
    token, origin = "binlog.000003:1547/0-1-100", json.dumps({"type": "mariadb", "system": "4711"})
    with closing(sqlite3.connect(shop.tailrace.state / "tailrace.db")) as db, db:
        db.execute("update offset_current set token = ?, origin = ? where connector = ?", (token, origin, NAME))
    told = shop.refused()
    assert told.code == exits.MISCONFIGURED
    assert f"the stored position {token} is none of MySQL" in told.cause
    assert f"tailrace offsets reset {NAME}" in told.hint
    assert shop.tailrace("offsets", "reset", NAME).returncode == 0
    shop.deliver()


def test_a_database_of_the_servers_own_is_no_matter_of_grants(shop: MysqlShop) -> None:
    told = shop.refused(shop.changed(databases=["mysql", shop.database.name]))
    assert told.code == exits.MISCONFIGURED
    assert "source.databases: mysql holds the server's own tables" in told.cause
    assert "grant" not in told.hint


def test_a_command_in_a_hint_has_the_connectors_name(shop: MysqlShop) -> None:
    shop.database.execute("set session binlog_format = statement")
    shop.database.execute("delete from items")
    done = shop.tailrace("tail", str(shop.tailrace.write(shop.connector)), "--from", "start")
    assert done.returncode == exits.FATAL, done.stderr
    assert f"run `tailrace snapshot {NAME} {shop.table}`" in done.stderr


def test_tls_that_the_server_lacks_is_named_and_where_it_has_it_the_stream_is_encrypted(shop: MysqlShop) -> None:
    encrypted = shop.changed(tls={"mode": "require"})
    if shop.database.kind.name == "mariadb1011":
        told = shop.refused(encrypted)
        assert told.code == exits.FATAL
        assert "TLS" in told.cause or "SSL" in told.cause
        assert "source.tls" in told.hint
        return
    shop.deliver(encrypted)
    running = shop.tailrace.run(encrypted)
    shop.sell()
    shop.arrive()
    until(lambda: _cipher_of_the_dump(shop.database), "the stream is encrypted, and those that ended are gone")
    assert running.stop() == exits.DONE


def _cipher_of_the_dump(database: MysqlDatabase) -> str:
    if database.flavor == "mariadb":
        # It tells nobody about others' connections, but refuses those that are not encrypted.
        return "required"
    rows = database.execute(
        "select variable_value from performance_schema.status_by_thread join performance_schema.threads"
        " using (thread_id) where variable_name = 'Ssl_cipher' and processlist_command like 'Binlog Dump%'"
    )
    return rows[0][0] if rows else ""


@pytest.mark.parametrize("state", ["account lock", "password expire"])
def test_an_account_that_is_locked_or_expired_is_named(shop: MysqlShop, reader: MakeReader, state: str) -> None:
    if state == "password expire" and shop.database.flavor == "mariadb":
        pytest.skip("MariaDB lets it in, to set a new one")
    keys = reader(*GRANTS)
    shop.database.execute(f"alter user '{keys['user']}'@'%' {state}")
    told = shop.refused(shop.changed(**keys))
    assert told.code == exits.FATAL
    assert keys["user"] in told.cause
    assert "source.user" in told.hint


@mysql_only
def test_an_account_with_a_plugin_that_the_server_has_not_loaded_is_named(shop: MysqlShop, reader: MakeReader) -> None:
    keys = reader(*GRANTS)
    shop.database.execute(f"update mysql.user set plugin = 'of_yesterday' where user = '{keys['user']}'")
    shop.database.execute("flush privileges")
    told = shop.refused(shop.changed(**keys))
    assert told.code == exits.FATAL
    assert "of_yesterday" in told.cause
    assert "plugin" in told.hint


# -- what the server must allow


def test_each_privilege_that_lacks_is_named_with_what_grants_it(
    mysql: MysqlDatabase, tailrace: Tailrace, reader: MakeReader
) -> None:
    shop = MysqlShop(mysql, tailrace)
    few = shop.changed(**reader())
    lacking = {
        "REPLICATION CLIENT|BINLOG MONITOR": "replication client on *.*",
        "REPLICATION SLAVE": "replication slave on *.*",
        mysql.name: "select, lock tables on {}.*",
    }
    while lacking:
        told = shop.refused(few)
        assert told.code in (exits.FATAL, exits.MISCONFIGURED)
        named = next((words for words in lacking if re.search(words, told.cause, re.IGNORECASE)), None)
        assert named, told
        mysql.execute(f"grant {lacking.pop(named).format(mysql.name)} to '{few['source']['user']}'@'%'")
    shop.deliver(few)


@newest
def test_a_server_without_a_binary_log_is_refused_with_the_setting(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    database = own_mysql(kind, "--skip-log-bin")
    shop = MysqlShop(database, tailrace)
    told = shop.refused()
    assert told.code == exits.FATAL
    assert "no binary log" in told.cause
    assert "log_bin" in told.hint
    database.server.stop()
    database.server.settings.clear()
    database.server.start()
    database.reconnect()
    shop.deliver()


@newest
def test_a_server_that_logs_statements_is_refused_with_the_setting(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    database = own_mysql(kind, "--binlog-format=MIXED")
    shop = MysqlShop(database, tailrace)
    told = shop.refused()
    assert told.code == exits.FATAL
    assert "binlog_format = MIXED" in told.cause
    assert "set global binlog_format = ROW" in told.hint
    database.execute("set global binlog_format = ROW")
    shop.deliver()


# -- what to capture


@mysql_only
@pytest.mark.parametrize(
    ("key", "pattern"), [("tables", "orders"), ("tables", "order*"), ("databases", "shop_nowhere")]
)
def test_a_table_or_database_that_nothing_matches_is_named(
    mysql: MysqlDatabase, tailrace: Tailrace, key: str, pattern: str
) -> None:
    shop = MysqlShop(mysql, tailrace)
    schema = f"{mysql.name}." if key == "tables" else ""
    patterns = [schema + pattern] if key == "tables" else [mysql.name, pattern]
    told = shop.refused(shop.changed(**{"databases": [mysql.name], key: patterns}))
    assert told.code == exits.MISCONFIGURED
    assert f"no table matches {schema}{pattern} on" in told.cause
    assert f"source.{key}" in told.cause
    mysql.execute("create table orders (id int primary key)")
    shop.deliver(shop.changed(tables=[f"{mysql.name}.items", f"{mysql.name}.order*"]))


# -- what the log may hold


@pytest.mark.parametrize("way", ["fail", "skip"])
def test_a_change_that_was_logged_as_a_statement_stops_the_connector_or_is_skipped_aloud(
    shop: MysqlShop, way: str
) -> None:
    session = shop.database.connect()
    with session.cursor() as cursor:
        cursor.execute("set session binlog_format = STATEMENT")
        cursor.execute("set session transaction isolation level repeatable read")
        cursor.execute("insert into items values (1000, 'as a statement')")
    session.close()
    if way == "fail":
        told = shop.refused()
        assert told.code == exits.FATAL
        assert f"{shop.database.name}.items" in told.cause
        assert "insert into items values (1000" in told.cause
        assert "binlog_format = ROW" in told.hint
    skipping = shop.changed(statements="skip")
    running = shop.tailrace.run(skipping)
    running.wait_for("as a statement")
    shop.sell()  # changes every row, the skipped one too
    shop.arrive()
    assert running.stop() == exits.DONE


def test_statements_for_tables_that_nobody_captures_and_ddl_stop_nothing(shop: MysqlShop) -> None:
    name = shop.database.name
    only_items = shop.changed(tables=[f"{name}.items"])
    session = shop.database.connect()
    with session.cursor() as cursor:
        cursor.execute("create table other (id int primary key)")
        cursor.execute("set session binlog_format = STATEMENT")
        cursor.execute("insert into other values (1)")
        cursor.execute("create temporary table scratch (id int)")
        cursor.execute("insert into scratch values (1)")
        cursor.execute("analyze table items")
        cursor.execute("flush tables")
    session.close()
    shop.deliver(only_items)


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_a_gap_that_the_server_itself_reports_is_fatal(
    own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str
) -> None:
    """INCIDENT: what did not fit into the cache of statements is in the table, and not in the log."""
    database = own_mysql(kind)
    database.execute("create table lossy (id int, v longtext) engine = myisam")
    shop = MysqlShop(database, tailrace)
    shop.deliver()
    database.execute("set global max_binlog_stmt_cache_size = 4096")
    database.execute("set global binlog_stmt_cache_size = 4096")
    session = database.connect()
    with session.cursor() as cursor, pytest.raises(Exception, match="max_binlog_stmt_cache_size"):
        cursor.execute("insert into lossy select 1, repeat('x', 100000) union all select 2, 'y'")
    session.close()
    shop.sell()
    told = shop.refused()
    assert told.code == exits.FATAL
    assert "changes are missing in its log" in told.cause
    assert f"tailrace offsets reset {NAME}" in told.hint
    done = tailrace("offsets", "reset", NAME)
    assert done.returncode == exits.DONE, done.stderr
    shop.deliver()


# -- twice


@newest
def test_two_readers_with_one_server_id_are_told_so(own_mysql: OwnMysqlFactory, tailrace: Tailrace, kind: str) -> None:
    """The server ends the older one; as both come back, one of them must give up."""
    database = own_mysql(kind)
    shop = MysqlShop(database, tailrace)
    same = shop.changed(server_id=4711)
    first = tailrace.run(same)
    shop.arrive()
    (tailrace.folder / "second").mkdir()
    other = Tailrace(tailrace.folder / "second")
    second = other.run({**same, "name": "other", "sink": {"type": "discard"}})
    try:
        ended = until(lambda: next((run for run in (first, second) if run.process.poll() is not None), None), "an end")
        told = told_by(ended)
        assert told.code in (exits.FATAL, exits.RETRIES_ENDED)
        assert "server_id" in told.cause and "4711" in told.cause
        assert "source.server_id" in told.hint
    finally:
        other.close()
    first.kill()
    shop.sell()
    shop.deliver(same)


def test_the_ids_that_connectors_choose_themselves_do_not_clash(shop: MysqlShop) -> None:
    until(lambda: _no_dump_is_left(shop), "the server has noticed whose readers ended")
    first = shop.tailrace.run(shop.connector)
    shop.arrive()
    second = shop.tailrace.run({**shop.connector, "name": "other", "sink": {"type": "discard"}})
    until(lambda: len(shop.database.dumps()) == 2, "both read")
    for _ in range(3):
        shop.sell()
        shop.arrive()
    assert len(shop.database.dumps()) == 2
    for running in (first, second):
        assert "warning" not in running.stderr
        assert running.stop() == exits.DONE


def _no_dump_is_left(shop: MysqlShop) -> bool:
    """The server notices as it sends something."""
    shop.sell(1)
    return not shop.database.dumps()
