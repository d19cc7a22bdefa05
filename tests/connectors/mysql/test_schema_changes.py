"""Every way a table changes its shape under the stream: the row has the columns it was written with."""

from pathlib import Path
from typing import Any

import pymysql
import pytest

from connectors.errors import LogGap
from tests.conftest import OwnMysqlFactory
from tests.contract.engines import MysqlEngine, Reading, Shop
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

# What gh-ost does (doc/cheatsheet.md, doc/cut-over.md), one writer's statements between its own.
GH_OST = """
    create table `_t_ghc` (id bigint auto_increment primary key, hint varchar(64), value varchar(4096))
    create table `_t_gho` like t
    alter table `_t_gho` add column c int default 7, drop column b
    insert ignore into `_t_gho` (id) (select id from t where id >= 1 and id <= 2 lock in share mode)
    insert into t (id, b) values (3, 30)
    replace into `_t_gho` (id) values (3)
    create table `_t_del` (id int auto_increment primary key) comment = 'ghost-cut-over-sentry'
    drop table `_t_del`
    rename table t to `_t_del`, `_t_gho` to t
    insert into t (id, c) values (4, 40)
    drop table `_t_ghc`, `_t_del`
"""

# What pt-online-schema-change does (its manual, "DESCRIPTION").
PT_OSC = """
    create table `_t_new` like t
    alter table `_t_new` add column c int default 7, drop column b
    create trigger pt_del after delete on t for each row delete ignore from `_t_new` where id <=> old.id
    create trigger pt_upd after update on t for each row replace into `_t_new` (id) values (new.id)
    create trigger pt_ins after insert on t for each row replace into `_t_new` (id) values (new.id)
    insert low_priority ignore into `_t_new` (id) select id from t lock in share mode
    insert into t (id, b) values (3, 30)
    analyze table `_t_new`
    rename table t to `_t_old`, `_t_new` to t
    drop table if exists `_t_old`
    insert into t (id, c) values (4, 40)
"""


def run(database: MysqlDatabase, script: str) -> None:
    for sql in script.strip().splitlines():
        database.execute(sql)


def seen(read: Reading) -> list[tuple[str, Any]]:
    """(table, the row) of each event."""
    return [(event.table.rpartition(".")[2], read.value(event)["after"]) for event in read.events]


@pytest.mark.parametrize("tool", [GH_OST, PT_OSC], ids=["gh-ost", "pt-osc"])
def test_an_online_schema_change_shows_no_shadow_table_and_copies_nothing_again(
    mysql: MysqlDatabase, tmp_path: Path, tool: str
) -> None:
    _online_schema_change(mysql, tmp_path, tool)


def _online_schema_change(database: MysqlDatabase, folder: Path, tool: str) -> None:
    database.execute("create table t (id int primary key, b int)")
    database.execute("insert into t values (1, 10), (2, 20)")
    shop = Shop(MysqlEngine(database), folder)
    with shop.reading() as read:
        read.catch_up()
        run(database, tool)
        read.read_until(4)
        assert read.read() is None or not read.events[4:]
    assert seen(read) == [
        ("t", {"id": 1, "b": 10}),
        ("t", {"id": 2, "b": 20}),
        ("t", {"id": 3, "b": 30}),
        ("t", {"id": 4, "c": 40}),
    ]


def test_an_interrupted_online_schema_change_leaves_the_table_as_it_was(mysql: MysqlDatabase, tmp_path: Path) -> None:
    mysql.execute("create table t (id int primary key, b int)")
    with Shop(MysqlEngine(mysql), tmp_path).reading(snapshot="never") as read:
        read.catch_up()
        run(mysql, GH_OST.partition("create table `_t_del`")[0])
        run(mysql, "drop table `_t_gho`\ndrop table `_t_ghc`\ninsert into t values (5, 50)")
        read.read_until(2)
    assert seen(read) == [("t", {"id": 3, "b": 30}), ("t", {"id": 5, "b": 50})]


ALTERED = """
    insert into t values (1, 'a')
    alter table t add column c int not null default 3
    insert into t (id, b) values (2, 'b')
    alter table t modify c int not null default 3 first, algorithm = copy
    insert into t (id, b) values (3, 'c')
    alter table t /*!50000 rename */ column c to d
    insert into t (id, b, d) values (4, 'd', 4)
    alter table t drop column d, modify b varchar(40) character set latin1
    insert into t values (5, 'ä')
    alter table t modify id bigint unsigned
    insert into t values (18446744073709551615, 'max')
    alter table t modify b enum('x', 'y')  null default null, algorithm = copy
    create index i on t (b)
    truncate t
"""


@pytest.mark.parametrize("live", [True, False], ids=["read at once", "read behind it all"])
def test_a_table_may_be_altered_between_any_two_rows(mysql: MysqlDatabase, tmp_path: Path, live: bool) -> None:
    mysql.execute("create table t (id int primary key, b varchar(20))")
    mysql.execute("set session sql_mode = ''")
    shop = Shop(MysqlEngine(mysql), tmp_path)
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        for sql in ALTERED.strip().splitlines():
            mysql.execute(sql)
            if live:
                read.read()
        read.read_until(7)
    rows = [value["after"] for value in read.values()]
    assert [{name: str(value) for name, value in row.items()} for row in rows[:6]] == [
        {"id": "1", "b": "a"},
        {"id": "2", "b": "b", "c": "3"},
        {"c": "3", "id": "3", "b": "c"},
        {"d": "4", "id": "4", "b": "d"},
        {"id": "5", "b": "ä"},
        {"id": "18446744073709551615", "b": "max"},
    ]
    assert [list(row) for row in rows[:4]] == [["id", "b"], ["id", "b", "c"], ["c", "id", "b"], ["d", "id", "b"]]
    assert read.ops()[6] == "t"


def test_names_are_exchanged_dropped_and_made_again(mysql: MysqlDatabase, tmp_path: Path) -> None:
    run(mysql, "create table a (id int primary key, x int)\ncreate table b (id int primary key, y int)")
    with Shop(MysqlEngine(mysql), tmp_path).reading(snapshot="never") as read:
        read.catch_up()
        run(
            mysql,
            """
            rename table a to c, b to a, c to b
            insert into a values (1, 1)
            insert into b values (2, 2)
            drop table a
            create table a (id int primary key, z int)
            insert into a values (3, 3)
            create table d (id int primary key) as select 4 as id, 'four' as name
            """,
        )
        read.read_until(4)
    assert seen(read) == [
        ("a", {"id": 1, "y": 1}),
        ("b", {"id": 2, "x": 2}),
        ("a", {"id": 3, "z": 3}),
        ("d", {"id": 4, "name": "four"}),
    ]


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011", "mariadb118"])
def test_without_names_in_the_log_a_connector_follows_what_it_sees_and_what_it_stored(
    own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str
) -> None:
    database = own_mysql(kind, "--binlog-row-metadata=MINIMAL")
    _online_schema_change(database, tmp_path, GH_OST)
    shop = Shop(MysqlEngine(database), tmp_path)
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        run(database, "alter table t add column d int first\ninsert into t values (8, 5, 80)")
        read.read_until(1)
        offset = read.offset
    run(database, "insert into t values (9, 6, 90)\nalter table t drop column c\ninsert into t values (9, 7)")
    with shop.reading(offset, snapshot="never") as read:
        read.read_until(2)
        offset = read.offset
    assert [row for _, row in seen(read)] == [{"d": 9, "id": 6, "c": 90}, {"d": 9, "id": 7}]
    run(
        database,
        "alter table t rename column d to e\ninsert into t values (9, 8)\nalter table t rename column e to f",
    )
    with shop.reading(offset, snapshot="never") as read, pytest.raises(LogGap, match="altered again"):
        read.read_until(1)


def test_an_alter_that_the_log_has_in_two_phases_counts_at_its_end_and_names_may_ignore_case(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    database = own_mysql(
        "mariadb118",
        "--binlog-row-metadata=MINIMAL",
        "--binlog-alter-two-phase=ON",
        "--lower-case-table-names=1",
    )
    database.execute("create table Orders (id int primary key, b int)")
    shop = Shop(MysqlEngine(database), tmp_path)
    tables = [f"{database.name}.orders"]
    with shop.reading(snapshot="never", tables=tables) as read:
        read.catch_up()
        offset = read.offset
    run(
        database,
        """
        insert into ORDERS values (1, 1)
        rename table ORDERS to Archive, ARCHIVE to oRDERS
        insert into Orders values (2, 2)
        alter table ORDERS drop b, add c int first
        insert into orders values (3, 3), (3, 4)
        """,
    )
    with pytest.raises(pymysql.IntegrityError):
        database.execute("alter table orders add unique (c)")
    with shop.reading(offset, snapshot="never", tables=tables) as read:
        read.read_until(4)
    assert seen(read) == [
        ("orders", {"id": 1, "b": 1}),
        ("orders", {"id": 2, "b": 2}),
        ("orders", {"c": 3, "id": 3}),
        ("orders", {"c": 3, "id": 4}),
    ]
