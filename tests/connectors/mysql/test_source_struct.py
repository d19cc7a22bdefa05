"""What `source` tells of real transactions."""

import pytest

from tests.connectors.mysql.reading import reading
from tests.mysql_servers import BY_NAME, MysqlDatabase

pytestmark = pytest.mark.mysql


@pytest.mark.parametrize("asked", [True, False])
def test_a_statement_is_shown_where_it_is_asked_for_and_logged(mysql: MysqlDatabase, asked: bool) -> None:
    mysql.execute("create table t (id int primary key, v varchar(20))")
    logged = "binlog_rows_query_log_events" if mysql.flavor == "mysql" else "binlog_annotate_row_events"
    with reading(mysql, query=asked) as source:
        mysql.execute(f"set session {logged} = on")
        mysql.execute("insert into t values (1, 'größe'), (2, 'b')")
        mysql.execute("begin")
        mysql.execute("update t set v = 'x'")
        mysql.execute("delete from t where id = 1")
        mysql.execute("commit")
        mysql.execute(f"set session {logged} = off")
        mysql.execute("insert into t values (3, 'c')")
        values = [value for value in source.catch_up() if value is not None]
    insert = "insert into t values (1, 'größe'), (2, 'b')"
    statements = [insert, insert, "update t set v = 'x'", "update t set v = 'x'", "delete from t where id = 1", None]
    assert [value["source"]["query"] for value in values] == (statements if asked else [None] * 6)
    assert [value["source"]["row"] for value in values] == [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
def test_the_time_is_that_of_the_server_where_the_transaction_was_committed_first(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int primary key)")
    with reading(mysql) as source:
        # As the applier of a replica does.
        mysql.execute("set session original_commit_timestamp = 1600000000123456")
        mysql.execute("insert into t values (1)")
        (value,) = source.catch_up()
    assert value["source"]["ts_us"] == 1_600_000_000_123_456
