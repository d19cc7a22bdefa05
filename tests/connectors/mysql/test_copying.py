"""What MySQL and MariaDB give to a snapshot: chunks in key order, pieces of one moment, and where the log stood."""

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pymysql
import pytest

from connectors.chunk import Progress, Read
from connectors.copying import Limit, NotRead, Piece
from connectors.mysql.catalog import Catalog
from connectors.mysql.config import MariadbConfig, MysqlConfig
from connectors.mysql.connection import connect, end_of_log, identify
from connectors.mysql.coordinates import order
from connectors.mysql.copying import MysqlCopying
from connectors.mysql.names import TableName
from connectors.mysql.resultset import cells
from connectors.mysql.select import select_lines
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

pytestmark = pytest.mark.mysql

MANY = Limit(1_000_000, 1 << 30)


class Copier:
    """Reads as a snapshot would, without a stream."""

    def __init__(self, database: MysqlDatabase) -> None:
        self.database = database
        section = database.connector()["source"]
        config = (MariadbConfig if database.flavor == "mariadb" else MysqlConfig).model_validate(section)
        self.connection: Any = connect(config, application="test")
        self.server = identify(self.connection)
        self.streamed = ""
        catalog = Catalog(self.connection, self.server)
        tables: Any = None
        self.copying = MysqlCopying(
            config, "shop", self.connection, self.server, catalog, tables, lambda: self.streamed
        )
        (reader,) = self.copying.readers(1)
        self.reader = reader

    def name(self, table: str) -> TableName:
        return TableName(self.database.name, table)

    def read(self, table: str, progress: Progress | None = None, limit: Limit = MANY) -> Read:
        read = self.reader.read(self.name(table), progress or Progress(self.name(table).id), limit, ())
        assert isinstance(read, Read)
        return read

    def chunks(self, table: str, rows: int) -> Iterator[list[list[bytes | None]]]:
        """A table's copy, chunk by chunk."""
        progress = Progress(self.name(table).id)
        while not progress.done:
            read = self.read(table, progress, Limit(rows, 1 << 30))
            yield [cells(line) for line in read.lines]
            progress = Progress.load(progress.of_key(read.key).behind(read).dump())

    def end(self) -> int:
        return order(end_of_log(self.connection, self.server))


@pytest.fixture
def copier(mysql: MysqlDatabase) -> Iterator[Copier]:
    copier = Copier(mysql)
    yield copier
    copier.connection.close()


@pytest.mark.parametrize(
    ("declared", "expression"),
    [
        ("int", "n - 20"),
        ("bigint unsigned", "18446744073709551615 - n"),
        ("decimal(20,5)", "(n - 20) / 7"),
        ("double", "(n - 20) / 7"),
        ("float", "(n - 20) / 8"),
        ("bit(13)", "n * 100"),
        ("year", "1950 + n"),
        ("date", "date'2000-02-20' + interval n day"),
        ("datetime(6)", "timestamp'2000-01-01 00:00:00.999990' + interval n microsecond"),
        (
            "timestamp(3) default current_timestamp(3)",
            "timestamp'2000-01-01 00:00:00.990' + interval n*1000 microsecond",
        ),
        ("time(2)", "sec_to_time(n * 10000 - 200000)"),
        ("varchar(20)", "concat(char(97 + n % 7 using utf8mb4), 'É', n)"),
        ("varchar(20) character set latin1", "concat('Ä', 100 - n)"),
        ("varchar(20) character set sjis", "concat('表', n)"),
        ("char(5) character set ucs2", "concat('日', n)"),
        ("binary(3)", "concat(char(n), 'x')"),
        ("varbinary(9)", "concat(char(255 - n), '''', char(0))"),
        ("enum('z','y','x','w','v','u','t','s','r','q','p','o','n','m','l','k','j','i','h','g')", "1 + n % 20"),
        ("set('a','b','c','d','e','f')", "n"),
    ],
)
def test_chunks_of_every_key_type_are_the_table_in_key_order(copier: Copier, declared: str, expression: str) -> None:
    database = copier.database
    database.execute(f"create table t (k {declared} not null, id int not null, v text, primary key (k, id))")
    database.execute("set session sql_mode = ''")
    numbers = "with recursive s as (select 0 n union all select n + 1 from s where n < 39)"
    database.execute(f"insert into t {numbers} select {expression}, n, if(n % 3, 'v', null) from s")
    copied = [row for chunk in copier.chunks("t", 7) for row in chunk]
    expected = [str(row[0]).encode() for row in database.execute("select id from t order by k, id")]
    assert [row[1] for row in copied] == expected
    assert {row[2] for row in copied} == {b"v", None}


def test_keys_that_differ_only_in_what_the_collation_ignores_are_one_and_none_is_lost(copier: Copier) -> None:
    copier.database.execute("create table t (a varchar(20), b varchar(20), primary key (a, b))")
    words = ["a", "A", "á", "b", "B", "Z", "z", "_", "%", "\\", "'", "é", "E", "ß", "ss"]
    for a in words:
        for b in words:
            copier.database.execute("insert ignore into t values (%s, %s)", a, b)
    copied = [row for chunk in copier.chunks("t", 10) for row in chunk]
    rows = copier.database.execute("select a, b from t order by a, b")
    assert copied == [[a.encode(), b.encode()] for a, b in rows]


def test_rows_that_moved_are_read_again_by_their_keys(copier: Copier) -> None:
    copier.database.execute("create table t (a int, b varchar(9), primary key (a, b))")
    copier.database.execute("insert into t values (1, 'x'), (1, 'y'), (2, 'x')")
    read = copier.read("t")
    moved = Progress("t", ended=True, again=(("1", "y"), ("2", "x"), ("7", "x")), key=read.key)
    read = copier.read("t", moved)
    assert [cells(line) for line in read.lines] == [[b"1", b"y"], [b"2", b"x"]]
    assert moved.behind(read).done


def test_a_condition_limits_a_copy(copier: Copier) -> None:
    copier.database.execute("create table t (id int primary key, v int)")
    copier.database.execute("insert into t values (1, 1), (2, 2), (3, 1), (4, 2)")
    progress = Progress("t", where="v = 1 or v = 7")
    first = copier.read("t", progress, Limit(1, 1 << 20))
    rest = copier.read("t", progress.of_key(first.key).behind(first))
    assert [cells(line) for line in (*first.lines, *rest.lines)] == [[b"1", b"1"], [b"3", b"1"]]


def test_a_chunk_ends_where_its_bytes_do_and_the_connection_goes_on(copier: Copier) -> None:
    copier.database.execute("create table t (id int primary key, v mediumtext)")
    copier.database.execute(
        f"insert into t values {', '.join(f'({i}, repeat(char(65 + {i}), 50000))' for i in range(30))}"
    )
    read = copier.read("t", limit=Limit(1000, 200_000))
    assert len(read.lines) == 4
    assert not read.is_last
    again = copier.read("t")
    assert len(again.lines) == 30
    assert again.is_last


def test_a_row_longer_than_a_packet_is_read_whole(copier: Copier) -> None:
    size = (1 << 24) - 1
    for length in (size - 5, size - 4, size, 2 * size, 20_000_000):
        query = f"select repeat('x', {length}), 'behind' union all select 'a', null"
        (limit,) = copier.database.execute("select @@max_allowed_packet")[0]
        if length > limit:
            continue
        found = [cells(line) for line in select_lines(copier.connection, query, None)]
        assert [[len(cell or b"") for cell in row] for row in found] == [[length, 6], [1, 0]]


def test_a_query_that_fails_names_the_servers_error_and_the_connection_goes_on(copier: Copier) -> None:
    with pytest.raises(pymysql.MySQLError, match="no_such"):
        list(select_lines(copier.connection, "select no_such from information_schema.tables", None))
    assert [cells(line) for line in select_lines(copier.connection, "select 1", None)] == [[b"1"]]


def test_a_table_that_is_gone_or_has_no_key_is_told_apart(copier: Copier) -> None:
    copier.database.execute("create table t (id int)")
    gone = copier.reader.read(copier.name("gone"), Progress("gone"), MANY, ())
    assert gone is NotRead.GONE
    assert copier.reader.read(copier.name("t"), Progress("t"), MANY, ()) is NotRead.NO_KEY
    assert copier.copying.piece(copier.name("gone"), ()) is NotRead.GONE
    assert not copier.copying.has_key(copier.name("t"))


def test_a_chunk_lies_before_its_high_mark_and_changes_behind_it_are_not_in_it(copier: Copier) -> None:
    copier.database.execute("create table t (id int primary key)")
    copier.database.execute("insert into t values (1)")
    before = copier.end()
    read = copier.read("t")
    assert read.high >= before
    copier.database.execute("insert into t values (2)")
    assert read.high < copier.end()
    assert len(read.lines) == 1


def test_a_chunk_that_cannot_see_what_was_streamed_is_too_early(copier: Copier) -> None:
    copier.database.execute("create table t (id int primary key)")
    name = copier.name("t")
    if copier.server.flavor == "mariadb":
        later = copier.end()
        assert copier.reader.read(name, Progress(name.id), MANY, (later,)) is NotRead.TOO_EARLY
        copier.database.execute("insert into t values (1)")
        assert isinstance(copier.reader.read(name, Progress(name.id), MANY, (later,)), Read)
    else:
        copier.streamed = "00000000-1111-2222-3333-444444444444:1"
        assert copier.reader.read(name, Progress(name.id), MANY, ()) is NotRead.TOO_EARLY
        copier.streamed = copier.database.execute("select @@global.gtid_executed")[0][0].replace("\n", "")
        assert isinstance(copier.reader.read(name, Progress(name.id), MANY, ()), Read)


def test_a_piece_is_of_one_moment_of_the_log_while_writers_go_on(copier: Copier) -> None:
    copier.database.execute("create table t (n int)")
    written: list[int] = []
    pieces: list[tuple[int, int]] = []
    enough = Event()

    def write() -> None:
        with copier.database.connect() as connection, connection.cursor() as cursor:
            while not enough.is_set():
                cursor.execute("insert into t values (1)")
                cursor.execute("show binary log status" if modern else "show master status")
                file, pos = cursor.fetchone()[:2]
                written.append(int(file.rpartition(".")[2]) << 38 | int(pos))

    def has_read() -> bool:
        piece = copier.copying.piece(copier.name("t"), ())
        copier.copying._lock_at = 0.0
        if isinstance(piece, Piece):  # a busy machine gives no lock within a second
            pieces.append((piece.contained.until, len(list(piece.lines))))
        return len(pieces) >= 10 and len(written) >= 100

    modern = copier.server.flavor == "mysql"
    writer = Thread(target=write)
    writer.start()
    try:
        until(has_read, "pieces between writes")
    finally:
        enough.set()
        writer.join()
    for until_order, rows in pieces:
        assert rows == sum(end <= until_order for end in written)


def test_a_table_that_is_written_for_long_is_tried_again_and_its_writer_goes_on(copier: Copier) -> None:
    copier.database.execute("create table t (n int)")
    with copier.database.connect() as writer, writer.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("insert into t values (1)")
        assert copier.copying.piece(copier.name("t"), ()) is NotRead.TOO_EARLY
        cursor.execute("insert into t values (2)")
        cursor.execute("commit")
    copier.copying._lock_at = 0.0
    until(lambda: isinstance(copier.copying.piece(copier.name("t"), ()), Piece), "the piece")
