"""Forms in which a log may hold rows: compressed, cut down, as differences. An event shows the row all the same."""

import base64
import json
from pathlib import Path

import pytest

from schema.errors import Unencodable
from schema.event import DeadLetter
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.following import created, deleted, following, updated
from tests.contract.engines import MysqlEngine, Shop
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

PLACEHOLDER = "__debezium_unavailable_value"
ENCODED = base64.b64encode(PLACEHOLDER.encode()).decode()

mariadbs = pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])


def only(flavor: str, database: MysqlDatabase) -> None:
    if database.flavor != flavor:
        pytest.skip(f"{flavor} alone has it")


# -- compressed


def test_a_compressed_transaction_is_the_same_events(mysql: MysqlDatabase, tmp_path: Path) -> None:
    only("mysql", mysql)
    tables = ("create table a (id int primary key, v text)", "create table b (id int primary key)")
    with following(mysql, tmp_path, *tables) as story:
        story.run("insert into b values (0)", "set session binlog_transaction_compression = on")
        story.run("begin", "insert into a values (1, repeat('x', 300)), (2, 'two')", "insert into b values (1)")
        story.run("update a set v = 'one' where id = 1", "savepoint s", "delete from a where id = 1")
        story.run("rollback to savepoint s", "delete from a where id = 2", "commit")
        story.run("set session binlog_transaction_compression = off", "insert into b values (2)")
        assert story.changes() == [
            created("b", id=0),
            created("a", id=1, v="x" * 300),
            created("a", id=2, v="two"),
            created("b", id=1),
            updated("a", {"id": 1, "v": "x" * 300}, id=1, v="one"),
            deleted("a", id=2, v="two"),
            created("b", id=2),
        ]
        sources = [story.read.value(event)["source"] for event in story.read.events if event.value]
        assert len({event.id[0] for event in story.read.events[1:6]}) == 1
        assert len({source["gtid"] for source in sources}) == 4


def test_a_compressed_transaction_larger_than_a_batch_has_a_position_only_behind_it(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    only("mysql", mysql)
    with following(mysql, tmp_path, "create table t (id int primary key, v varchar(1000))") as story:
        before = len(story.read.batches)
        story.run("set session cte_max_recursion_depth = 5000, binlog_transaction_compression = on")
        numbers = "with recursive n (n) as (select 1 union all select n + 1 from n where n < 3000)"
        story.run(f"insert into t {numbers} select n, repeat('wide ', 200) from n")
        changes = story.changes()
        assert [change.after["id"] for change in changes] == list(range(1, 3001))
        batches = [batch for batch in story.read.batches[before:] if batch.events]
        assert len(batches) > 5
        (order,) = {event.id[0] for batch in batches[:-1] for event in batch.events if event.table.endswith(".t")}
        assert all(b.position is None or b.position.order > order for b in batches)
        assert not any(batch.position for batch in batches[:5])


@mariadbs
def test_compressed_log_events_of_mariadb_are_the_same_events(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind, "--log-bin-compress=ON", "--log-bin-compress-min-len=10")
    wide = "w" * 500
    with following(database, tmp_path, "create table t (id int primary key, v text, n int)") as story:
        story.run(f"insert into t values (1, '{wide}', 1), (2, '{wide}', 2)", "update t set n = 3 where id = 1")
        story.run("set session binlog_row_image = minimal", "update t set n = null where id = 2")
        story.run("delete from t where id = 1", f"alter table t add column more int comment '{wide}'")
        story.run("insert into t values (3, 'x', 3, 3)")
        assert story.changes() == [
            created("t", id=1, v=wide, n=1),
            created("t", id=2, v=wide, n=2),
            updated("t", {"id": 1, "v": wide, "n": 1}, id=1, v=wide, n=3),
            updated("t", None, id=2, v=PLACEHOLDER, n=None),
            deleted("t", id=1, v=None, n=None),
            created("t", id=3, v="x", n=3, more=3),
        ]


# -- differences of documents


def test_documents_logged_as_differences_are_those_that_the_server_shows(mysql: MysqlDatabase, tmp_path: Path) -> None:
    only("mysql", mysql)
    with following(mysql, tmp_path, "create table t (id int primary key, j json, k json, n int)") as story:
        story.run("""insert into t values (1, '{"a": 1, "b": [1, 2, {"c": "long"}], "d": {}}', '[]', 0)""")
        story.run("set session binlog_row_value_options = partial_json")
        for change in (
            "j = json_set(j, '$.a', 'text')",
            "j = json_replace(j, '$.b[2].c', 1.5, '$.b[0]', true)",
            "j = json_remove(j, '$.b[1]'), n = n + 1",
            "k = json_array_append(k, '$', cast('2024-02-29' as date)), j = json_set(j, '$.d.é', null)",
            "j = json_set(j, '$.b[1]', json_object('new', json_array(1, 2))), k = null",
            "n = n + 1",
            "j = '{\"whole\": 1}'",
        ):
            story.run(f"update t set {change}")
            server = story.run("select cast(j as char), cast(k as char), n from t")[0]
            *_, last = story.changes()
            after = last.after
            assert (json.loads(after["j"]), after["k"] and json.loads(after["k"]), after["n"]) == (
                json.loads(server[0]),
                server[1] and json.loads(server[1]),
                server[2],
            )
        assert json.loads(last.before["j"])["d"] == {"é": None}


# -- cut down images


IMAGES = "create table t (id int primary key, n int, v varchar(20), big text, must blob not null)"


def test_a_row_without_its_blobs_shows_a_placeholder_where_one_was_left_out(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    big, must = PLACEHOLDER, ENCODED
    with following(mysql, tmp_path, IMAGES) as story:
        story.run("set session binlog_row_image = noblob", "insert into t values (1, 1, 'a', 'big', 'must')")
        story.run("update t set n = 2", "update t set big = null", "update t set id = 5", "delete from t")
        first = {"id": 1, "n": 1, "v": "a"}
        second = {"id": 1, "n": 2, "v": "a"}
        moved = {"id": 5, "n": 2, "v": "a"}
        assert story.changes() == [
            created("t", **first, big="big", must="bXVzdA=="),
            updated("t", {**first, "big": big, "must": must}, **second, big=big, must=must),
            updated("t", {**second, "big": big, "must": must}, **second, big=None, must=must),
            deleted("t", **second, big=big, must=must),
            created("t", **moved, big=big, must=must),
            deleted("t", **moved, big=big, must=must),
        ]


def test_of_a_row_that_was_cut_to_its_key_and_its_changes_the_rest_is_no_null(
    mysql: MysqlDatabase, tmp_path: Path
) -> None:
    with following(mysql, tmp_path, "create table t (id int primary key, v text, w text)") as story:
        story.run("insert into t values (1, 'v', 'w')", "set session binlog_row_image = minimal")
        story.run("insert into t values (2, null, 'w')", "update t set v = null where id = 1")
        story.run("update t set id = 3 where id = 2", "delete from t where id = 3")
        cut = {"v": PLACEHOLDER, "w": PLACEHOLDER}
        assert story.changes() == [
            created("t", id=1, v="v", w="w"),
            created("t", id=2, v=None, w="w"),
            updated("t", {"id": 1, **cut}, id=1, v=None, w=PLACEHOLDER),
            deleted("t", id=2, **cut),
            created("t", id=3, **cut),
            deleted("t", id=3, **cut),
        ]


@pytest.mark.parametrize("change", ["update t set v = 'b'", "update t set id = 5", "insert into t (id) values (7)"])
def test_what_was_left_out_and_has_no_placeholder_is_refused_by_name(
    mysql: MysqlDatabase, tmp_path: Path, change: str
) -> None:
    with following(mysql, tmp_path, IMAGES.replace("not null", ""), rereads=False) as story:
        story.run("insert into t values (1, 1, 'a', 'big', 'must')", "set session binlog_row_image = minimal")
        with pytest.raises(Unencodable, match=rf"{mysql.name}\.t\.\w+: the log le"):
            story.run(change)
            story.changes()


def test_an_insert_whose_row_image_has_no_column_is_not_lost(mysql: MysqlDatabase, tmp_path: Path) -> None:
    """Every value is a default, and the server logs no byte of the row."""
    only("mysql", mysql)
    table = "create table t (a int default 1, b int default 2)"
    with following(mysql, tmp_path, table, rereads=False) as story:
        story.run("set session binlog_row_image = minimal")
        with pytest.raises(Unencodable, match="leaves this column of an inserted row out"):
            story.run("insert into t values ()")
            story.changes()


def test_what_was_left_out_is_a_dead_letter_where_the_policy_says_so(mysql: MysqlDatabase, tmp_path: Path) -> None:
    letters: list[DeadLetter] = []
    mysql.execute(IMAGES.replace("not null", ""))
    with Shop(MysqlEngine(mysql), tmp_path, letters.append).reading(snapshot="never") as read:
        mysql.execute("insert into t values (1, 1, 'a', 'big', 'must')")
        mysql.execute("set session binlog_row_image = minimal")
        mysql.execute("update t set v = 'b'")
        mysql.execute("set session binlog_row_image = full")
        mysql.execute("update t set v = 'c'")
        read.read_until(2)
        assert [after["v"] for after in read.afters()] == ["a", "c"]
    (letter,) = letters
    assert letter.table == f"{mysql.name}.t" and "left an unchanged value out" in letter.error
    assert letter.value


def test_a_row_without_a_key_is_never_cut(mysql: MysqlDatabase, tmp_path: Path) -> None:
    with following(mysql, tmp_path, "create table t (a int, b int, v text)") as story:
        story.run("set session binlog_row_image = minimal", "insert into t values (1, 2, 'v')")
        story.run("update t set a = 2", "delete from t")
        first, second = {"a": 1, "b": 2, "v": "v"}, {"a": 2, "b": 2, "v": "v"}
        assert story.changes() == [created("t", **first), updated("t", first, **second), deleted("t", **second)]
