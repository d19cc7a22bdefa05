"""The catalogue's view of a table is what the server writes into TABLE_MAP, for every type it has."""

import pytest

from connectors.mysql.catalog import Catalog, labels
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import identify
from connectors.mysql.events import TABLE_MAP
from connectors.mysql.names import is_captured, is_shadow, quoted
from connectors.mysql.shape import TableShape
from connectors.mysql.tablemap import GEOMETRY, VECTOR, Metadata, TableMap, table_map
from tests.connectors.mysql.logged import end_of_log, logged
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

COLUMNS = """
    a tinyint, b tinyint unsigned, c smallint, d mediumint unsigned zerofill, e int unsigned, f bigint,
    g bigint unsigned, h float, i float(7,3), j double unsigned, k float(53), l decimal(10,2),
    m decimal(65,30) unsigned, n year, o bit, p bit(9), q bit(64), r date, s datetime, t datetime(3),
    u timestamp null, v timestamp(6) null,
    w time, x time(2), aa char(10) character set latin1, ab char(200) character set utf8mb4, ac char(0),
    ad varchar(5) character set latin1, ae varchar(300), af binary(16), ag varbinary(20), ah varbinary(400),
    ai tinytext, aj text character set sjis, ak mediumtext, al longtext, am tinyblob, an blob, ao mediumblob,
    ap longblob, aq enum('a','b') character set latin1, ar enum('ä','x,y'), at set('a','b','c'),
    au set('q') character set latin1, av json, aw geometry, ax point, ay geometrycollection, az int not null,
    ba int as (a + 1) virtual, bb int as (a + 1) stored, bc int invisible, bd enum('ä') character set utf32,
    be char(255) character set latin1, bf char(64) character set utf8mb4, bg bool, bh enum('x') character set binary
"""
OF_ONE_SERVER = {
    "mysql97": "ca vector(3)",
    "mariadb1011": "ca uuid, cb inet4, cc inet6, cd text compressed, ce varchar(99) compressed, cf tinyblob compressed",
    "mariadb118": "ca uuid, cb inet4, cc inet6, cd varbinary(9) compressed, ce longblob compressed, cf vector(4)",
}


def catalog(database: MysqlDatabase) -> Catalog:
    connection = database.connect()
    return Catalog(connection, identify(connection))


def shapes(database: MysqlDatabase, name: str, insert: str = "values ()") -> tuple[TableShape, TableMap, Metadata]:
    """A table as the catalogue has it, and as the log shows it with a row."""
    since = end_of_log(database)
    database.execute(f"insert into `{name}` {insert}")
    maps = [table_map(e, database.flavor == "mariadb") for e in logged(database, since) if e[4] == TABLE_MAP]
    [shown] = [m for m in maps if (m.database, m.name) == (database.name, name)]
    shape = catalog(database).shape(database.name, name)
    assert shape is not None
    assert shown.metadata is not None
    return shape, shown, shown.metadata


def test_every_column_type_is_the_one_in_the_log(mysql: MysqlDatabase) -> None:
    mysql.execute("set session sql_mode = ''")
    mysql.execute(f"create table t ({COLUMNS}, {OF_ONE_SERVER[mysql.kind.name]}, primary key (e, az))")
    shape, shown, metadata = shapes(mysql, "t")
    assert tuple(column.name for column in shape.columns) == metadata.names
    assert [(c.name, c.kind, c.meta, c.optional) for c in shape.columns] == list(
        zip(metadata.names, shown.kinds, shown.metas, shown.optional, strict=True)
    )
    assert shape.key == metadata.key
    charset = catalog(mysql).charset
    for column, unsigned, collation in zip(shape.columns, metadata.unsigned, metadata.collations, strict=True):
        assert column.unsigned == (unsigned and not column.declared.startswith("year")), column
        if column.kind not in (GEOMETRY, VECTOR):
            assert column.charset == (charset(collation) if collation else ""), column


def test_enums_and_sets_take_as_many_bytes_as_they_have_labels(mysql: MysqlDatabase) -> None:
    lists = {n: ",".join(f"'m{i}'" for i in range(n)) for n in (8, 9, 17, 25, 33, 64, 255, 256)}
    columns = [f"e{n} enum({lists[n]})" for n in (255, 256)] + [f"s{n} set({lists[n]})" for n in (8, 9, 17, 25, 33, 64)]
    mysql.execute(f"create table t ({','.join(columns)})")
    shape, shown, metadata = shapes(mysql, "t")
    assert tuple(column.meta for column in shape.columns) == shown.metas
    assert tuple(tuple(label.encode() for label in column.labels) for column in shape.columns) == metadata.labels


def test_labels_are_taken_out_of_their_quotes(mysql: MysqlDatabase) -> None:
    wanted = ["t\tab", "n\nl", "r\rr", 'q"q', "p%p", "b\\n", "'", "", "it's", "enum('unsigned')", "ä"]
    quoted = ",".join(mysql.admin.escape(label) for label in wanted)
    mysql.execute(f"create table t (e enum({quoted}))")
    shape, _, metadata = shapes(mysql, "t")
    assert list(shape.columns[0].labels) == wanted
    assert metadata.labels[0] == tuple(label.encode() for label in wanted)
    assert not shape.columns[0].unsigned
    assert labels("set('a','b')") == ("a", "b")


def test_a_row_is_known_by_its_primary_key_else_by_whole_columns_that_are_unique_and_not_null(
    mysql: MysqlDatabase,
) -> None:
    cases = {
        "a int, b int, primary key (b, a)": ("b", "a"),
        "a varchar(50) not null, b int not null, primary key (a(10), b)": ("a", "b"),
        "a int not null, b int not null, c int, unique (c), unique z (b, a)": ("b", "a"),
        "a int not null, unique y (a), b int not null, unique x (b)": ("a",),
        "a varchar(50) not null, unique (a(10))": (),
        "a int, unique (a), b int not null, index (b)": (),
        "a int primary key, b int not null, unique (b)": ("a",),
        "a int primary key) partition by hash (a": ("a",),
    }
    mysql.execute("set session sql_mode = ''")
    for nth, (definition, key) in enumerate(cases.items()):
        mysql.execute(f"create table t{nth} ({definition})")
        shape, _, metadata = shapes(mysql, f"t{nth}")
        assert tuple(shape.columns[i].name for i in shape.key) == key, definition
        assert shape.key == metadata.key, definition


def test_a_generated_invisible_primary_key_is_a_column_and_an_indexed_expression_is_none(mysql: MysqlDatabase) -> None:
    if mysql.flavor == "mariadb":
        pytest.skip("MariaDB has neither")
    mysql.execute("set session sql_generate_invisible_primary_key = on")
    mysql.execute("create table t (a int, unique ((a + 1)))")
    shape, shown, metadata = shapes(mysql, "t", "(a) values (1)")
    assert [column.name for column in shape.columns] == ["my_row_id", "a"]
    assert metadata.names == ("my_row_id", "a")
    assert tuple(column.kind for column in shape.columns) == shown.kinds
    assert shape.key == metadata.key == (0,)
    mysql.execute("set session sql_generate_invisible_primary_key = off")
    mysql.execute("create table u (a int not null, unique ((a + 1)), unique ((a + 2), a))")
    shape, _, metadata = shapes(mysql, "u", "(a) values (1)")
    assert shape.key == metadata.key == ()


@pytest.mark.parametrize(
    "period", ["", ", s timestamp(6) as row start, e timestamp(6) as row end, period for system_time (s, e)"]
)
def test_a_system_versioned_table_has_its_period_even_where_the_catalogue_hides_it(
    mysql: MysqlDatabase, period: str
) -> None:
    if mysql.flavor == "mysql":
        pytest.skip("MySQL has none")
    mysql.execute(f"create table t (id int primary key, b int{period}) with system versioning")
    mysql.execute("set session system_versioning_alter_history = keep")
    mysql.execute("alter table t add c int")
    shape, shown, metadata = shapes(mysql, "t", "(id) values (1)")
    assert tuple(column.name for column in shape.columns) == metadata.names
    assert tuple((c.kind, c.meta, c.optional) for c in shape.columns) == tuple(
        zip(shown.kinds, shown.metas, shown.optional, strict=True)
    )
    assert shape.key == metadata.key
    mysql.execute("create table u (id int not null unique, b int) with system versioning")
    shape, _, metadata = shapes(mysql, "u", "(id) values (1)")
    assert shape.key == metadata.key


def test_defaults_are_their_text_and_what_is_computed_has_none(mysql: MysqlDatabase) -> None:
    mysql.execute(
        r"""create table t (a int default 5, b varchar(10) default 'x''y', c varchar(10) default 'NULL',
            d varchar(10) default null, e int not null, f timestamp(6) default current_timestamp(6),
            g int default (1+2), h bit(5) default b'101', i binary(3) default 'a', j decimal(5,2) default 1.5,
            k double default 1e3, l varchar(20) default 'CURRENT_TIMESTAMP',
            m datetime default '2020-01-01 00:00:00', n set('a','b') default 'a,b', o bigint default -5,
            p varchar(10) default '', q varchar(9) default '😀', r varchar(36) default (uuid()),
            s varchar(9) default 'a\nb\\c', t datetime default now())"""
    )
    shape = catalog(mysql).shape(mysql.name, "t")
    assert shape is not None
    assert {column.name: column.default for column in shape.columns if column.default is not None} == {
        "a": "5",
        "b": "x'y",
        "c": "NULL",
        "f": "CURRENT_TIMESTAMP",
        "h": "b'101'",
        "j": "1.50",
        "k": "1000",
        "l": "CURRENT_TIMESTAMP",
        "m": "2020-01-01 00:00:00",
        "n": "a,b",
        "o": "-5",
        "p": "",
        "s": "a\nb\\c",
        "t": "CURRENT_TIMESTAMP",
    }


def test_a_json_column_of_mariadb_is_told_from_a_text(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (j json, `a``b` json, k longtext)")
    shape = catalog(mysql).shape(mysql.name, "t")
    assert shape is not None
    assert [column.declared for column in shape.columns] == ["json", "json", "longtext"]


def test_tables_are_found_by_their_exact_names_and_views_are_none(mysql: MysqlDatabase) -> None:
    names = ["a.b", "back`tick", "ä", "Case", "case", "a", "%", "select"]
    for name in names:
        mysql.execute(f"create table {quoted(name)} ({quoted(name)} int)")
    mysql.execute("create view v as select 1 as one")
    if mysql.flavor == "mariadb":
        mysql.execute("create sequence s")
    found = catalog(mysql)
    assert {table.name for table in found.tables() if table.database == mysql.name} == set(names)
    for name in names:
        shape = found.shape(mysql.name, name)
        assert shape is not None
        assert (shape.name, [column.name for column in shape.columns]) == (name, [name])
    assert found.shape(mysql.name, "CASE") is None
    assert found.shape(mysql.name, "gone") is None


def test_the_servers_own_databases_hold_no_tables_of_the_users(mysql: MysqlDatabase) -> None:
    assert not {t.database for t in catalog(mysql).tables()} & {"mysql", "sys", "performance_schema"}


def config(**keys: object) -> MysqlConfig:
    return MysqlConfig.model_validate({"type": "mysql", "host": "h", "user": "u", **keys})


@pytest.mark.parametrize(
    ("keys", "database", "table", "expected"),
    [
        ({}, "shop", "orders", True),
        ({}, "mysql", "user", False),
        ({"databases": ["shop*"]}, "shop_eu", "orders", True),
        ({"databases": ["shop*", "!shop_test"]}, "shop_test", "orders", False),
        ({"databases": ["shop"], "tables": ["*.orders"]}, "bank", "orders", False),
        ({"tables": ["shop.*", "!shop.audit"]}, "shop", "audit", False),
        ({"tables": ["shop.*"]}, "shop", "_orders_gho", False),
        ({}, "shop", "__orders_new", False),
        ({"tables": ["shop._orders_gho"]}, "shop", "_orders_gho", True),
    ],
)
def test_patterns_choose_tables_but_shadow_tables_must_be_named(
    keys: dict[str, object], database: str, table: str, expected: bool
) -> None:
    assert is_captured(config(**keys), database, table) is expected


def test_the_tables_of_online_schema_changes_are_shadows() -> None:
    assert all(
        is_shadow(name) for name in ("_t_gho", "_t_ghc", "_t_del", "_t_20260101120000_del", "_t_new", "___t_old")
    )
    assert not any(is_shadow(name) for name in ("orders", "new", "_new", "t_old", "_t_older"))
