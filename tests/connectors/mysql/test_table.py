"""What a table looks like where the stream is, on real servers, with all metadata in the log and without."""

import sys

import pytest

from connectors.errors import LogGap
from connectors.mysql import events, rows
from connectors.mysql.catalog import Catalog
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import identify
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.names import TableName
from connectors.mysql.place import Place
from connectors.mysql.scout import Scout
from connectors.mysql.shape import load
from connectors.mysql.shapes import Shapes, shapes_in
from connectors.mysql.statements import Kind, statement
from connectors.mysql.table import CapturedTable, Tables
from connectors.mysql.tablemap import table_map
from service.state import State
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.logged import end_of_log, logged
from tests.connectors.mysql.test_catalog import COLUMNS, OF_ONE_SERVER
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

REDEFINES = (Kind.DDL, Kind.RENAME, Kind.DROP)


class Reader:
    """Follows a database's log and tells the columns of the rows in it; a new one begins where it is told to."""

    def __init__(self, database: MysqlDatabase, known: dict[str, str] | None = None) -> None:
        self._database = database
        address = database.address
        config = MysqlConfig(type="mysql", host=address.host, port=address.port, user=address.user)
        connection = database.connect()
        server = identify(connection)
        self.catalog = Catalog(connection, server)
        scout = Scout(config, server, database.connect(), self.catalog.ignores_case)
        self.shapes = Shapes(self.catalog, scout, shapes_in(known or {}))
        self.registry = State.open(database.folder / "state").registry()
        self.tables = Tables(self.shapes, self.registry, "p", server.flavor, "0")

    def read(self, since: Coordinates) -> list[tuple[str, CapturedTable]]:
        """(table, its version) of each rows event."""
        place = Place(since)
        by_id: dict[int, CapturedTable] = {}
        found = []
        for event in logged(self._database, since):
            at = place.step(event)
            if event[4] == events.QUERY:
                query = events.query(event)
                said = statement(query.sql, query.schema)
                if said.kind in REDEFINES and query.schema == self._database.name:
                    here = Coordinates(place.file, place.pos)
                    self.tables.altered(said, [TableName(*name) for name in said.tables], here)
            elif event[4] == events.TABLE_MAP:
                shown = table_map(event, self._database.flavor == "mariadb")
                by_id[shown.table_id] = self.tables.captured(shown, Coordinates(place.file, at))
            elif event[4] in (rows.WRITE, rows.WRITE_V1):
                table = by_id[rows.table_id(event)]
                found.append((table.name.rpartition(".")[2], table))
        return found

    def columns(self, since: Coordinates) -> list[tuple[str, str]]:
        """(table, its columns' names) of each rows event."""
        return [(name, " ".join(c.name for c in table.shape.columns)) for name, table in self.read(since)]


def run(database: MysqlDatabase, script: str) -> Coordinates:
    """Run the statements; where the log was before."""
    since = end_of_log(database)
    for sql in script.strip().splitlines():
        database.execute(sql)
    return since


ALTERED = """
    create table t (a int, b int)
    insert into t values (1, 2)
    alter table t add c int first
    insert into t values (1, 2, 3)
    alter table t drop column b, change a z bigint
    insert into t values (1, 2)
    drop table t
    create table t (q varchar(9))
    insert into t values ('x')
    rename table t to u
    create table t (w int)
    insert into u values ('y')
    insert into t values (1)
    rename table t to v, u to t
    insert into t values ('z')
"""


def test_with_all_metadata_rows_have_the_columns_they_were_written_with_however_late_they_are_read(
    mysql: MysqlDatabase,
) -> None:
    since = run(mysql, ALTERED)
    assert Reader(mysql).columns(since) == [
        ("t", "a b"),
        ("t", "c a b"),
        ("t", "c z"),
        ("t", "q"),
        ("u", "q"),
        ("t", "w"),
        ("t", "q"),
    ]


def test_what_the_log_does_not_tell_comes_from_the_catalogue_where_both_agree(mysql: MysqlDatabase) -> None:
    uuid = ", u uuid" if mysql.flavor == "mariadb" else ""
    since = run(
        mysql,
        f"""
        create table t (a int not null default 7 unique, b bit(3) default b'101', e enum('x','😀') default 'x'{uuid})
        insert into t () values ()
        """,
    )
    [(_, table)] = Reader(mysql).read(since)
    columns = {column.name: column for column in table.shape.columns}
    assert (columns["a"].default, columns["b"].default, columns["e"].default) == ("7", "b'101'", "x")
    assert columns["e"].labels == ("x", "😀")
    assert table.key == (0,)
    if uuid:
        assert columns["u"].declared == "uuid"


def test_of_a_column_that_changed_since_the_catalogue_tells_nothing(mysql: MysqlDatabase) -> None:
    since = run(
        mysql,
        """
        create table t (a int default 7, b int default 1)
        insert into t () values ()
        alter table t modify a bigint default 8
        """,
    )
    [(_, table)] = Reader(mysql).read(since)
    assert [(column.kind, column.default) for column in table.shape.columns] == [(3, None), (3, "1")]


def test_a_key_that_came_later_is_none_of_the_rows_before(mysql: MysqlDatabase) -> None:
    since = run(
        mysql,
        """
        create table t (a int not null, b int not null)
        insert into t values (1, 1)
        alter table t add unique (b)
        insert into t values (2, 2)
        alter table t add primary key (a)
        insert into t values (3, 3)
        """,
    )
    assert [table.key for _, table in Reader(mysql).read(since)] == [(), (1,), (0,)]


def test_a_copy_and_the_stream_see_one_version(mysql: MysqlDatabase) -> None:
    since = run(
        mysql,
        """
        create table t (a int primary key, e enum('x','😀'), g point, y year, j json, c char(9) character set latin1)
        insert into t (a) values (1)
        """,
    )
    reader = Reader(mysql)
    now = reader.catalog.shape(mysql.name, "t")
    assert now is not None
    copied = reader.tables.copied(now)
    [(_, streamed)] = reader.read(since)
    assert [c._replace(labels=(), declared="") for c in copied.shape.columns] == [
        c._replace(labels=(), declared="") for c in streamed.shape.columns
    ]
    assert reader.tables.copied(now) is streamed
    assert reader.tables.current(TableName(mysql.name, "t")) is streamed
    assert reader.tables.current(TableName(mysql.name, "gone")) is None


def test_log_and_catalogue_agree_on_every_column_type(mysql: MysqlDatabase) -> None:
    mysql.execute("set session sql_mode = ''")
    columns = f"{COLUMNS}, {OF_ONE_SERVER[mysql.kind.name]}"
    since = run(mysql, f"create table t ({' '.join(columns.split())}, primary key (e, az))\ninsert into t values ()")
    reader = Reader(mysql)
    [(_, streamed)] = reader.read(since)
    now = reader.catalog.shape(mysql.name, "t")
    assert now is not None
    assert streamed.shape == now
    assert reader.tables.copied(now) is streamed


def test_labels_that_the_catalogue_hides_are_learnt_from_rows(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (e enum('a?','😀','u?'), s set('x','y?','😀','z'))")
    mysql.execute("insert into t values ('😀', '😀,x'), ('a?', 'y?')")
    reader = Reader(mysql)
    shape = reader.catalog.shape(mysql.name, "t")
    assert shape is not None
    assert [column.labels for column in shape.columns] == [("a?", "?", "u?"), ("x", "y?", "?", "z")]
    told = reader.tables.copied(shape).shape
    assert [column.labels for column in told.columns] == [("a?", "😀", "u?"), ("x", "y?", "😀", "z")]


def test_a_column_may_be_loosened_and_stays_so(mysql: MysqlDatabase) -> None:
    since = run(mysql, "create table t (a int not null)\ninsert into t values (1)")
    reader = Reader(mysql)
    [(_, table)] = reader.read(since)
    assert table.encoder.columns[0][1] is None
    loose = reader.tables.loosened(table, "a")
    assert loose.encoder.columns[0][1] is not None
    assert reader.tables.of(table.shape) is loose


@pytest.fixture(params=["mysql97", "mariadb1011", "mariadb118"])
def minimal(request: pytest.FixtureRequest, own_mysql: OwnMysqlFactory) -> MysqlDatabase:
    return own_mysql(request.param, "--binlog-row-metadata=MINIMAL")


def test_without_names_in_the_log_rows_are_read_as_the_catalogue_was_or_not_at_all(minimal: MysqlDatabase) -> None:
    _a_table_that_stays_is_read(minimal)
    _a_restart_behind_ddl_reads_with_the_stored_columns(minimal)
    _rows_between_two_statements_are_refused(minimal)
    _a_renamed_table_keeps_its_columns(minimal)
    _a_change_that_the_log_does_not_have_is_noticed(minimal)
    _a_table_filled_by_its_create_is_read(minimal)
    _labels_that_the_catalogue_hides_are_refused(minimal)


def _a_table_that_stays_is_read(database: MysqlDatabase) -> None:
    since = run(
        database,
        """
        create table a (i int unsigned, v varchar(9) charset latin1, e enum('x','y'))
        insert into a values (1, 'v', 'y')
        """,
    )
    [(_, table)] = Reader(database).read(since)
    assert [(c.name, c.unsigned, c.charset, c.labels) for c in table.shape.columns] == [
        ("i", True, "", ()),
        ("v", False, "latin1", ()),
        ("e", False, "utf8mb4", ("x", "y")),
    ]


def _a_restart_behind_ddl_reads_with_the_stored_columns(database: MysqlDatabase) -> None:
    run(database, "create table b (i int, j int)")
    first = Reader(database)
    first.tables.learn([TableName(database.name, "b")], end_of_log(database))
    stored = first.tables.noted(sys.maxsize)
    assert not first.tables.has_noted(sys.maxsize)
    since = run(database, "insert into b values (1, 2)\nalter table b drop i, add i int\ninsert into b values (2, 1)")
    assert Reader(database, stored).columns(since) == [("b", "i j"), ("b", "j i")]


def _rows_between_two_statements_are_refused(database: MysqlDatabase) -> None:
    since = run(
        database, "create table c (i int, j int)\ninsert into c values (1, 2)\nalter table c rename column i to k"
    )
    with pytest.raises(LogGap, match=r"\.c: the log has rows at .* it was altered again at binlog") as refused:
        Reader(database).read(since)
    assert "binlog_row_metadata = FULL" in refused.value.hint
    since = run(database, "create table c2 (i int, j int)\ninsert into c2 values (1, 2)\ndrop table c2")
    with pytest.raises(LogGap, match="altered again"):
        Reader(database).read(since)


def _a_renamed_table_keeps_its_columns(database: MysqlDatabase) -> None:
    run(database, "create table d (i int)\ncreate table e (j int)")
    first = Reader(database)
    first.tables.learn([TableName(database.name, "d"), TableName(database.name, "e")], end_of_log(database))
    since = run(
        database,
        """
        rename table d to x, e to d, x to e
        insert into d values (1)
        insert into e values (1)
        alter table d add k int
        """,
    )
    assert Reader(database, first.tables.noted(sys.maxsize)).columns(since) == [("d", "j"), ("e", "i")]


def _a_change_that_the_log_does_not_have_is_noticed(database: MysqlDatabase) -> None:
    run(database, "create table f (i int)")
    first = Reader(database)
    first.tables.learn([TableName(database.name, "f")], end_of_log(database))
    stored = first.tables.noted(sys.maxsize)
    for change, found in (
        ("add j int", "1 columns are known, the log has 2"),
        ("drop j, modify i bigint", "i is a int"),
        ("modify i int unsigned", "the other sign"),
        ("modify i int not null", "may be NULL"),
    ):
        run(database, f"set session sql_log_bin = 0\nalter table f {change}\nset session sql_log_bin = 1")
        since = run(database, "insert into f values (1, 1)" if "add" in change else "insert into f values (1)")
        with pytest.raises(LogGap, match=found):
            Reader(database, stored).read(since)


def _a_table_filled_by_its_create_is_read(database: MysqlDatabase) -> None:
    since = run(database, "create table g as select 1 as one, 'x' as two")
    assert Reader(database).columns(since) == [("g", "one two")]


def _labels_that_the_catalogue_hides_are_refused(database: MysqlDatabase) -> None:
    since = run(database, "create table h (e enum('😀'))\ninsert into h values ('😀')")
    with pytest.raises(LogGap, match=r"h\.e: the catalogue shows a label"):
        Reader(database).read(since)


def test_a_shape_is_stored_as_text_and_comes_back(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (a int primary key, e enum('x','ä') default 'x', v varchar(3) default '', b blob)")
    shape = Reader(mysql).catalog.shape(mysql.name, "t")
    assert shape is not None
    assert load(shape.dump()) == shape
