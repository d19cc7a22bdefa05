"""Settings of servers and sessions that change what stands in the log beside the rows."""

from pathlib import Path

import pytest

from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.following import Change, created, deleted, following, read_again, shown, updated
from tests.contract.engines import PREFIX, MysqlEngine, Shop
from tests.mysql_servers import KINDS, MysqlDatabase

pytestmark = pytest.mark.mysql

every = pytest.mark.parametrize("kind", [kind.name for kind in KINDS])


def test_the_statement_behind_a_row_is_shown_where_it_is_logged_and_asked_for(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    name = "binlog_rows_query_log_events" if mysql.flavor == "mysql" else "binlog_annotate_row_events"
    on, off = f"set session {name} = 1", f"set session {name} = 0"
    with following(mysql, tmp_path, "create table t (id int primary key, v text)", query=True) as story:
        story.run(on, "insert into t values (1, 'é💥'), (2, 'b')")
        story.run("begin", "update t set v = 'x' /* why */ where id = 1", "delete from t where id = 2", "commit")
        story.run(off, "insert into t values (3, 'c')")
        events = [event for event in story.events() if event.value]
        assert [story.read.value(event)["source"]["query"] for event in events] == [
            "insert into t values (1, 'é💥'), (2, 'b')",
            "insert into t values (1, 'é💥'), (2, 'b')",
            "update t set v = 'x' /* why */ where id = 1",
            "delete from t where id = 2",
            None,
        ]
    with Shop(MysqlEngine(mysql), tmp_path).reading(snapshot="never") as read:
        mysql.execute(on)
        mysql.execute("insert into t values (4, 'not asked for')")
        (value,) = read.read_until(1)
        assert value["source"]["query"] is None


def test_tagged_gtids_are_resumed_behind(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.flavor != "mysql":
        pytest.skip("MySQL alone has tags")
    with following(mysql, tmp_path, "create table t (id int primary key)") as story:
        story.run("insert into t values (1)")
        for n, tag in enumerate(("automatic:blue", "automatic:green", "automatic:blue", "automatic"), 2):
            story.run(f"set session gtid_next = '{tag}'", f"insert into t values ({n})")
        assert [change.after["id"] for change in story.changes()] == [1, 2, 3, 4, 5]
        gtids = [story.read.value(event)["source"]["gtid"] for event in story.read.events]
        assert [gtid.count(":") for gtid in gtids] == [1, 2, 2, 2, 1, 1]
        assert "blue:" in gtids[1] and "green:" in gtids[2]
        assert all(tag in story.read.offset.position.token for tag in ("blue:", "green:"))


def test_without_gtids_a_connector_copies_streams_and_resumes_by_file_and_position(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    database = own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    tables = (
        "create table t (id int primary key) engine = innodb",
        "create table m (id int primary key) engine = myisam",
    )
    with following(database, tmp_path, *tables, "insert into t values (0)", snapshot="initial") as story:
        story.run("insert into t values (1)", "flush binary logs", "insert into t values (2)", "flush binary logs")
        story.run("begin", "insert into t values (3)", "insert into t values (4)", "commit", "insert into m values (1)")
        # Without GTIDs a server lets both kinds of tables change in one transaction.
        story.run("begin", "insert into t values (5)", "insert into m values (2)", "rollback")
        story.run("insert into t values (6)")
        assert story.changes() == [
            Change("r", "t", None, {"id": 0}),
            *(created("t", id=n) for n in (1, 2, 3, 4)),
            created("m", id=1),
            created("m", id=2),
            created("t", id=6),
        ]
        assert all(story.read.value(event)["source"]["gtid"] is None for event in story.read.events)
        token = story.read.offset.position.token
        assert token.startswith("binlog.0") and "/" not in token


@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_transactions_of_several_domains_are_resumed_behind(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind)
    with following(database, tmp_path, "create table t (id int primary key)") as story:
        for n, domain in enumerate((0, 7, 3, 7, 0)):
            story.run(f"set session gtid_domain_id = {domain}", f"insert into t values ({n})")
        story.run("flush binary logs", "set session server_id = 9", "insert into t values (5)")
        assert story.changes() == [created("t", id=n) for n in range(6)]
        gtids = [story.read.value(event)["source"]["gtid"] for event in story.read.events[:6]]
        assert [gtid.split("-")[0] for gtid in gtids] == ["0", "7", "3", "7", "0", "0"]
        assert [gtid.split("-")[1] for gtid in gtids] == ["1", "1", "1", "1", "1", "9"]


@every
def test_new_files_between_and_restarts_of_the_server_keep_positions(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind)
    database.execute("create table t (id int primary key)")
    shop = Shop(MysqlEngine(database), tmp_path)
    with shop.reading(snapshot="never") as first:
        first.catch_up()
        for n in range(3):
            database.execute(f"insert into t values ({n})")
            first.read_until(n + 1)
            database.execute("flush binary logs")
    database.server.stop()
    database.server.start()
    database.reconnect()
    database.execute("insert into t values (3)")
    with shop.reading(first.offset, snapshot="never") as last:
        last.read_until(1)
        database.execute("flush binary logs")
    read_again(shop, first.batches, shown(first) + shown(last), snapshot="never")


def test_positions_are_those_that_the_server_shows_and_a_restart_inside_a_transaction_begins_it_again(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    mysql.execute("create table t (id int primary key, v text)")
    shop = Shop(MysqlEngine(mysql), tmp_path)
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        start = read.offset
        mysql.execute("insert into t values (0, 'small')")
        session = mysql.connect()
        with session.cursor() as cursor:
            cursor.execute("begin")
            for n in range(1, 60):
                cursor.execute("insert into t values (%s, %s)", (n, "wide " * 5000))
            cursor.execute("update t set v = 'narrow' where id > 50")
            cursor.execute("commit")
        session.close()
        mysql.execute("insert into t values (1000, 'behind'), (1001, 'too')")
        read.read_until(71)
        whole = shown(read)
    sources = [value["source"] for *_, value in whole]
    file = sources[0]["file"]
    first = start.position.token.partition("/")[0].partition(":")[2]
    listed = mysql.execute(f"show binlog events in '{file}' from {first}")
    rows = {pos for _, pos, kind, *_ in listed if "rows" in kind.lower() and "annotate" not in kind.lower()}
    assert {source["pos"] for source in sources} == rows
    assert [source["row"] for source in sources[69:]] == [0, 1]

    with shop.reading(start, snapshot="never") as part:
        part.read_until(20)
        assert len(part.events) < 60
    with shop.reading(part.offset, snapshot="never") as rest:
        behind = [event.id for event in part.events if event.id[0] < (rest.position or start.position).order]
        rest.read_until(71 - len(behind))
        assert shown(rest) == whole[len(behind) :]


def test_statements_are_events_of_the_topic_named_like_the_prefix_where_asked_for(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key)", ddl=True) as story:
        story.run("insert into t values (1)", "alter table t add column v int", "insert into t values (2, 2)")
        story.run("create view w as select 1 as one", "create table _t_gho like t")
        story.run("create table u (id int primary key)", "insert into u values (1)")
        story.run("rename table u to x", "truncate x", "drop table x, t")
        events = [event for event in story.events() if event.value]
        ddl = [story.read.value(event) for event in events if event.topic == PREFIX]
        said = [(value["databaseName"], value["ddl"]) for value in ddl]
        assert [text.split("/*")[0].strip().lower().replace("`", "") for _, text in said] == [
            "alter table t add column v int",
            "create table u (id int primary key)",
            "rename table u to x",
            "truncate x",
            "drop table x,t",
        ]
        assert {database for database, _ in said} == {mysql.name}
        assert [event.topic for event in events] == [
            *(story.shop.topic("t"), PREFIX, story.shop.topic("t"), PREFIX, story.shop.topic("u"), PREFIX),
            *(story.shop.topic("x.truncate"), PREFIX, PREFIX),
        ]
        assert [value["source"]["table"] for value in ddl] == ["t", "u", "u,x", "x", "x,t"]


UNUSUAL = """
    u tinyint unsigned, m mediumint unsigned, b bigint unsigned, d decimal(5,2) unsigned,
    e enum('äpfel', 'it''s', 'x,y') character set latin1, s set('a', 'ß', 'c'),
    l varchar(20) character set latin1, g varchar(20) character set gbk, x varbinary(5), c char(3) character set cp1251
"""


@every
def test_without_names_signs_and_labels_in_the_log_values_are_the_same(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind, "--binlog-row-metadata=MINIMAL")
    row = "255, 16777215, 18446744073709551615, 999.99, 'äpfel', 'ß,c', 'naïve', '中文', 0x00ff, 'жук'"
    table = f"create table t (id int primary key, {UNUSUAL})"
    with following(database, tmp_path, table, f"insert into t values (0, {row})", snapshot="initial") as story:
        story.run(f"insert into t values (1, {row})", "update t set e = 'x,y', s = '', u = 200 where id = 1")
        copied, inserted, updated_ = story.changes()
        assert inserted.after == {**copied.after, "id": 1}
        assert inserted.after["e"] == "äpfel" and inserted.after["s"] == "ß,c" and inserted.after["g"] == "中文"
        assert inserted.after["u"] == 255 and inserted.after["m"] == 16777215 and inserted.after["c"] == "жук"
        assert updated_ == updated("t", inserted.after, **{**inserted.after, "e": "x,y", "s": "", "u": 200})
        story.run("delete from t where id = 1")
        assert story.changes() == [deleted("t", **updated_.after)]
