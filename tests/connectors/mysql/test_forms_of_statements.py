"""Statements that change rows in odd ways, and what each engine logs of them."""

from pathlib import Path

import pytest

from tests.connectors.mysql.following import Change, created, deleted, following, updated
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

Rows = dict[int, tuple[int | None, ...]]


def test_loads_replaces_and_upserts_are_the_rows_that_they_change(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, u int unique, v int)") as story:
        rows = tmp_path / "rows.tsv"
        rows.write_text("1\t10\t100\n2\t20\t\\N\n")
        session = mysql.connect(local_infile=True)
        session.cursor().execute(f"load data local infile '{rows}' into table t")
        session.close()
        assert story.changes() == [created("t", id=1, u=10, v=100), created("t", id=2, u=20, v=None)]

        story.run("replace into t values (1, 11, 101)")  # one row is in its way
        assert fold(story.changes(), {1: (10, 100), 2: (20, None)}) == {1: (11, 101), 2: (20, None)}

        story.run("replace into t values (1, 20, 102)")  # two are
        assert fold(story.changes(), {1: (11, 101), 2: (20, None)}) == {1: (20, 102)}

        story.run("insert into t values (1, 5, 5), (3, 30, 300) on duplicate key update v = v + 1")
        story.run("insert ignore into t values (1, 0, 0), (4, 40, 400)")
        assert story.changes() == [
            updated("t", {"id": 1, "u": 20, "v": 102}, id=1, u=20, v=103),
            created("t", id=3, u=30, v=300),
            created("t", id=4, u=40, v=400),
        ]


def fold(changes: list[Change], rows: Rows) -> Rows:
    """`rows` by their id after the changes."""
    rows = dict(rows)
    for change in changes:
        if change.op == "d":
            del rows[change.before["id"]]
        else:
            id_, *row = change.after.values()
            rows[id_] = tuple(row)
    return rows


def test_a_statement_over_several_tables_is_one_transaction(mysql: MysqlDatabase, tmp_path: Path) -> None:
    tables = [f"create table {name} (id int primary key, v int)" for name in ("a", "b")]
    with following(mysql, tmp_path, *tables) as story:
        story.run("insert into a values (1, 1), (2, 2)", "insert into b values (1, 1), (2, 2)")
        story.changes()
        story.run("update a join b using (id) set a.v = a.v + 10, b.v = b.v + 20 where id = 2")
        story.run("delete a, b from a join b using (id) where a.id = 2")
        changes = story.changes()
        assert [change for change in changes if change.table == "a"] == [
            updated("a", {"id": 2, "v": 2}, id=2, v=12),
            deleted("a", id=2, v=12),
        ]
        assert [change for change in changes if change.table == "b"] == [
            updated("b", {"id": 2, "v": 2}, id=2, v=22),
            deleted("b", id=2, v=22),
        ]
        assert [change.op for change in changes] == ["u", "u", "d", "d"]
        *_, first, second, third, tomb, fourth, fifth, end = [event.id[0] for event in story.read.events]
        assert first == second < third == tomb == fourth == fifth < end


def test_what_a_foreign_key_does_to_children_shows_where_the_engine_logs_it(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    tables = ["create table parent (id int primary key)"]
    for name, action in (("child", "cascade"), ("kept", "set null")):
        foreign = f"foreign key (parent) references parent (id) on delete {action} on update cascade"
        tables.append(f"create table {name} (id int primary key, parent int, {foreign})")
    with following(mysql, tmp_path, *tables) as story:
        story.run("insert into parent values (1)", "insert into child values (1, 1)", "insert into kept values (1, 1)")
        story.changes()
        story.run("delete from parent")
        assert story.run("select count(*) from child")[0] == (0,)
        changes = story.changes()
        assert deleted("parent", id=1) in changes
        children = [change for change in changes if change.table != "parent"]
        lost = [deleted("child", id=1, parent=1), updated("kept", {"id": 1, "parent": 1}, id=1, parent=None)]
        assert sorted(children) == (lost if mysql.flavor == "mysql" else [])


def test_what_a_session_keeps_out_of_the_log_is_not_there(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key)") as story:
        story.run("set session sql_log_bin = 0", "insert into t values (1)", "set session sql_log_bin = 1")
        story.run("create temporary table x (id int primary key)", "insert into x values (1)", "drop table x")
        story.run("create temporary table t (id int)", "insert into t values (5)", "truncate t", "drop table t")
        story.run("insert into t values (2)")
        assert story.changes() == [created("t", id=2)]


def test_tables_without_transactions_change_inside_and_outside_of_one(mysql: MysqlDatabase, tmp_path: Path) -> None:
    tables = ("create table i (id int primary key)", "create table m (id int primary key, v int) engine = myisam")
    with following(mysql, tmp_path, *tables) as story:
        story.run("insert into m values (1, 1)", "begin", "insert into m values (2, 2)", "insert into m values (3, 3)")
        story.run("commit", "update m set v = 0 where id < 3", "delete from m where id = 1")
        assert story.changes() == [
            created("m", id=1, v=1),
            created("m", id=2, v=2),
            created("m", id=3, v=3),
            updated("m", {"id": 1, "v": 1}, id=1, v=0),
            updated("m", {"id": 2, "v": 2}, id=2, v=0),
            deleted("m", id=1, v=0),
        ]
        # A failing row ends the statement; the row before it stays.
        with pytest.raises(Exception, match="Duplicate"):
            story.run("insert into m values (7, 7), (2, 2)")
        story.run("begin", "insert into i values (1)", "rollback", "insert into i values (2)")
        assert story.changes() == [created("m", id=7, v=7), created("i", id=2)]


def test_a_rolled_back_transaction_keeps_what_it_did_to_tables_without_transactions(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    tables = ("create table i (id int primary key)", "create table m (id int primary key) engine = myisam")
    with following(mysql, tmp_path, *tables) as story:
        story.run("begin", "insert into m values (1)", "insert into i values (1)", "rollback")
        if mysql.flavor == "mariadb":  # MySQL allows this without GTIDs only
            story.run("begin", "insert into i values (2)", "insert into m values (2)", "rollback")
        kept = [id_ for (id_,) in story.run("select id from m order by id")]
        story.run("insert into i values (3)")
        assert story.changes() == [*(created("m", id=id_) for id_ in kept), created("i", id=3)]
        assert kept


def test_a_table_made_of_a_query_has_its_rows_behind_it(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, v varchar(9))") as story:
        story.run("insert into t values (1, 'a'), (2, 'b')")
        story.run("create table made (primary key (id)) select id, v, id * 2 as twice from t")
        story.run("create table likewise like made", "insert into likewise select * from made where id = 2")
        changes = story.changes()[2:]
        assert [(change.op, change.table, change.after["id"]) for change in changes] == [
            ("c", "made", 1),
            ("c", "made", 2),
            ("c", "likewise", 2),
        ]
        assert all(int(change.after["twice"]) == 2 * change.after["id"] for change in changes)
        assert [story.read.key(event) for event in story.read.events[2:5]] == [{"id": 1}, {"id": 2}, {"id": 2}]


def test_savepoints_leave_what_was_not_rolled_back(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, v int)") as story:
        story.script(
            """
            begin
            savepoint `a b`
            insert into t values (1, 0)
            savepoint c
            insert into t values (2, 0)
            savepoint d
            update t set v = 1
            rollback to d
            release savepoint c
            insert into t values (3, 0)
            rollback to `a b`
            insert into t values (4, 0)
            commit
            begin
            savepoint a
            insert into t values (5, 0)
            rollback to a
            commit
            """
        )
        assert story.changes() == [created("t", id=4, v=0)]


def test_a_truncate_stands_between_the_rows_before_and_behind_it(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key)", "create table u (id int)") as story:
        story.run("insert into t values (1)", "truncate table t", "insert into t values (2)", "truncate u")
        topics = [story.shop.topic(name) for name in ("t", "t.truncate", "t", "u.truncate")]
        assert [event.topic for event in story.events()] == topics
        assert story.read.ops()[:4] == ["c", "t", "c", "t"]
