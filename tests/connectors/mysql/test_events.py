"""The binlog's events but for rows, as real servers write them; by hand only what no server writes when asked."""

import time
from collections.abc import Iterator

import pytest
import zstandard

from connectors.mysql import events, integers
from connectors.mysql.rows import MalformedEvent
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.dump import QUERIES, Dump, dumping, here
from tests.mysql_servers import BY_NAME, KINDS, MysqlDatabase, OwnMysql

mysql_only = pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
mariadb_only = pytest.mark.parametrize("mysql_server", KINDS[1:], ids=[kind.name for kind in KINDS[1:]], indirect=True)


def event(kind: int, body: bytes, *, end_pos: int = 0) -> bytes:
    """A log event of server 1 with `body`."""
    size = (19 + len(body)).to_bytes(4, "little")
    return bytes(4) + bytes((kind,)) + b"\1\0\0\0" + size + end_pos.to_bytes(4, "little") + bytes(2) + body


def logged(database: MysqlDatabase, *statements: str) -> Dump:
    """What the server logs for `statements`, run in one session."""
    start = here(database)
    for statement in statements:
        database.execute(statement)
    database.execute("create table done (a int)")
    with dumping(database, start, annotate=True) as dump:
        dump.until_sql("create table done")
    database.execute("drop table done")
    return dump


def statements(dump: Dump) -> list[str]:
    return [events.query(event).sql for event in dump.of(*QUERIES)][:-1]


@pytest.mark.mysql
@mysql_only
def test_a_gtid_event_tells_the_commit_time(mysql: MysqlDatabase) -> None:
    before_us = time.time_ns() // 1000
    dump = logged(mysql, "create table t (id int)", "insert into t values (1)")
    of_ddl, of_insert, _ = (events.gtid(event) for event in dump.of(events.GTID))
    [(uuid,)] = mysql.execute("select @@server_uuid")
    number = int(of_ddl.text.removeprefix(f"{uuid}:"))
    assert of_insert.text == f"{uuid}:{number + 1}"
    assert before_us <= of_ddl.commit_us < of_insert.commit_us < time.time_ns() // 1000
    assert of_insert.original_commit_us == of_insert.commit_us


@pytest.mark.mysql
@mysql_only
def test_a_tagged_gtid_event_tells_the_same(mysql: MysqlDatabase) -> None:
    dump = logged(
        mysql, "create table t (id int)", f"set gtid_next = 'automatic:{mysql.name}'", "insert into t values (1)",
        "set gtid_next = 'automatic'",
    )  # fmt: skip
    [tagged] = (events.gtid(event) for event in dump.of(events.GTID_TAGGED))
    plain = [events.gtid(event) for event in dump.of(events.GTID)]
    [(uuid,)] = mysql.execute("select @@server_uuid")
    assert tagged.text == f"{uuid}:{mysql.name}:1"
    assert plain[0].commit_us < tagged.commit_us == tagged.original_commit_us < plain[1].commit_us


@pytest.mark.mysql
def test_a_server_without_gtids_and_a_replica_show_where_a_transaction_comes_from(
    own_mysql: OwnMysqlFactory,
) -> None:
    own = own_mysql("mysql97")
    replica = own.replica()
    own.execute("create table t (id int)")
    own.followed_by(replica)
    start = here(own)
    with dumping(own, start) as first, dumping(replica) as second:
        own.execute("insert into t values (1)")
        [there] = [events.gtid(first.until(lambda event: event[4] == events.GTID))]
        relayed = second.until(lambda event: event[4] == events.GTID)
        again = events.gtid(relayed)
        assert (again.text, again.original_commit_us) == (there.text, there.commit_us)
        assert again.commit_us > again.original_commit_us
        assert events.server_id(relayed) == 1
    for mode in ("on_permissive", "off_permissive", "off"):
        own.execute(f"set global gtid_mode = {mode}")
    with dumping(own) as dump:
        own.execute("insert into t values (2)")
        anonymous = events.gtid(dump.until(lambda event: event[4] == events.ANONYMOUS_GTID))
        assert anonymous.text == ""
        assert anonymous.commit_us > there.commit_us


@pytest.mark.mysql
@mariadb_only
def test_a_mariadb_gtid_event_tells_ddl_xa_and_two_phase_alters(mysql: MysqlDatabase) -> None:
    dump = logged(
        mysql,
        "create table t (id int)",
        "insert into t values (1)",
        "xa start 'x', 'y', 7",
        "insert into t values (2)",
        "xa end 'x', 'y', 7",
        "xa prepare 'x', 'y', 7",
        "xa rollback 'x', 'y', 7",
        "set binlog_alter_two_phase = 1",
        "alter table t add v int, algorithm = copy",
        "set binlog_alter_two_phase = 0",
    )
    ddl, insert, prepared, completed, begun, done = map(events.mariadb_gtid, dump.of(events.MARIADB_GTID)[:6])
    domain, server, seq_no = map(int, ddl.text.split("-"))
    assert insert.text == f"{domain}-{server}-{seq_no + 1}"
    assert (ddl.flags & (events.STANDALONE | events.DDL), insert.flags & events.STANDALONE) == (33, 0)
    assert (prepared.xid, completed.xid, insert.xid) == ("X'78',X'79',7", "X'78',X'79',7", "")
    assert prepared.flags & events.XA_PREPARED
    assert completed.flags & events.XA_COMPLETED
    assert begun.extra_flags & events.START_ALTER
    assert done.extra_flags & events.COMMIT_ALTER
    assert begun.text == f"{domain}-{server}-{done.alter_seq_no}"
    if mysql.kind.name == "mariadb118":
        assert {ddl.thread, insert.thread, prepared.thread, done.thread} == {mysql.admin.thread_id()}
    else:
        assert ddl.thread is None


@pytest.mark.mysql
def test_an_xid_is_the_same_wherever_it_stands(mysql: MysqlDatabase) -> None:
    xid = "'a\\'b\\0', 'q'"
    dump = logged(
        mysql,
        "create table t (id int)",
        f"xa start {xid}",
        "insert into t values (1)",
        f"xa end {xid}",
        f"xa prepare {xid}",
        f"xa commit {xid}",
    )
    [prepare] = dump.of(events.XA_PREPARE)
    shown = "X'61276200',X'71',1"
    assert events.xa_prepare(prepare) == (shown, False)
    assert {sql.partition("X'")[1] + sql.partition("X'")[2] for sql in statements(dump) if sql.startswith("XA")} == {
        shown
    }


@pytest.mark.mysql
@mysql_only
def test_one_phase_is_told(mysql: MysqlDatabase) -> None:
    dump = logged(
        mysql, "create table t (id int)", "xa start 'x'", "insert into t values (1)", "xa end 'x'",
        "xa commit 'x' one phase",
    )  # fmt: skip
    assert [events.xa_prepare(event) for event in dump.of(events.XA_PREPARE)] == [("X'78',X'',1", True)]


@pytest.mark.mysql
def test_a_statement_is_text_in_whichever_charset_its_client_spoke(mysql: MysqlDatabase) -> None:
    clients = (
        ("latin1", "cp1252", "tä€"),
        ("utf8mb4", "utf8", "tä漢"),
        ("gbk", "gbk", "t運"),
        ("sjis", "shift_jis", "t表"),  # its second byte is a backslash
        ("cp1251", "cp1251", "tж"),
    )
    start = here(mysql)
    for charset, encoding, name in clients:
        mysql.execute(f"set names {charset}")
        with mysql.admin.cursor() as cursor:
            cursor.execute(f"create table `{name}` (a int)".encode(encoding))
    mysql.execute("set names utf8mb4")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start) as dump:
        dump.until_sql("create table done")
    assert statements(dump) == [f"create table `{name}` (a int)" for _, _, name in clients]
    query = events.query(dump.of(*QUERIES)[0])
    assert (query.schema, query.thread, query.error_code) == (mysql.name, mysql.admin.thread_id(), 0)


def inner(dump: Dump) -> Iterator[bytes]:
    for payload in dump.of(events.TRANSACTION_PAYLOAD):
        yield from events.unpacked(payload)


@pytest.mark.mysql
@mysql_only
def test_a_compressed_transaction_holds_the_events_of_a_plain_one(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int primary key, v longtext)")
    fill = (
        "insert into t with recursive n as (select 1 i union all select i + 1 from n where i < 900)"
        " select i, repeat('x', 1000) from n"
    )
    changes = [fill, "update t set v = repeat('y', 3000000) where id = 1", "delete from t"]
    plain = logged(mysql, *changes)
    packed = logged(
        mysql, "set binlog_transaction_compression = on", *changes, "set binlog_transaction_compression = off"
    )
    kinds = (events.QUERY, events.WRITE_ROWS, events.UPDATE_ROWS, events.DELETE_ROWS, events.XID)
    bodies = [(event[4], len(event)) for event in plain.of(*kinds)][:-1]
    assert [(event[4], len(event)) for event in inner(packed) if event[4] in kinds] == bodies
    assert len(bodies) > 100
    assert len(packed.of(events.TRANSACTION_PAYLOAD)) == 3


def test_a_payload_is_read_whole_whatever_its_compression_and_its_blocks() -> None:
    inside = [event(events.QUERY, bytes([i]) * size) for i, size in enumerate((0, 200_000, 5, 131_072, 131_053, 1))]
    data = b"".join(inside)
    for field, payload in (
        (b"\x02\x01\x00", zstandard.compress(data[:1000]) + zstandard.compress(data[1000:])),  # more than one frame
        (b"", data),
        (b"\x02\x03\xfc\xff\x00", data),
    ):
        packed = event(events.TRANSACTION_PAYLOAD, field + b"\x01\x01\x07\x00" + payload)
        assert list(events.unpacked(packed)) == inside
    for payload, reason in (
        (b"\x02\x01\x00\x00" + zstandard.compress(data)[:-9], "ends within|decompressed"),
        (b"\x02\x01\x00\x00" + b"nonsense", "cannot be decompressed"),
        (b"\x00" + data[:-1], "ends within"),
        (b"\x02\x01\x09\x00" + data, "compression type 9"),
    ):
        with pytest.raises(MalformedEvent, match=reason):
            list(events.unpacked(event(events.TRANSACTION_PAYLOAD, payload)))


@pytest.mark.mysql
@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_compressed_events_of_mariadb_are_the_plain_ones(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own: OwnMysql = own_mysql(kind)
    own.execute("create table t (id int primary key, v longtext, w int, x int, y int, z int, a int, b int, c int)")
    changes = [
        "insert into t (id, v) values (1, repeat('x', 3000))",
        "update t set v = repeat('y', 70000)",
        "delete from t",
        f"create table u (a int comment '{'c' * 500}')",
        "drop table u",
    ]
    plain = logged(own, *changes)
    own.execute("set global log_bin_compress = 1")
    packed = logged(own, *changes)
    rows = plain.of(events.WRITE_ROWS_V1, events.UPDATE_ROWS_V1, events.DELETE_ROWS_V1)
    compressed = packed.of(*range(events.WRITE_ROWS_COMPRESSED_V1, events.DELETE_ROWS_COMPRESSED + 1))
    expanded = [events.expanded(event) for event in compressed]
    # Behind the table's id, which is a new one after DDL on it.
    assert [(event[4], event[25:]) for event in expanded] == [(event[4], event[25:]) for event in rows]
    assert [int.from_bytes(event[9:13], "little") for event in expanded] == [len(event) for event in rows]
    assert len(packed.of(events.QUERY_COMPRESSED)) == 1
    assert statements(packed) == statements(plain)
    for broken in (compressed[0][:-1], compressed[0][:-30] + bytes(30)):
        with pytest.raises(MalformedEvent, match="compressed"):
            events.expanded(broken)


def test_a_heartbeat_tells_positions_beyond_4_gb() -> None:
    far = 5 << 32
    mariadb = event(events.HEARTBEAT, far.to_bytes(8, "little") + b"binlog.000007")
    assert events.heartbeat(mariadb) == ("binlog.000007", far)
    body = b"\x01\x0dbinlog.000007\x02\x09\xfe" + far.to_bytes(8, "little") + b"\x00"
    assert events.heartbeat(event(events.HEARTBEAT_V2, body)) == ("binlog.000007", far)
    assert events.heartbeat(event(events.HEARTBEAT, b"binlog.000007", end_pos=99)) == ("binlog.000007", 99)


def test_an_incident_says_what_is_lost() -> None:
    assert events.incident(event(events.INCIDENT, b"\x01\x00\x05gone!")) == "gone!"


@pytest.mark.mysql
@mariadb_only
def test_a_file_begins_with_what_the_files_before_it_hold(mysql: MysqlDatabase) -> None:
    [(first, *_)], *_ = [mysql.execute("show binary logs")]
    with dumping(mysql, here(mysql)._replace(file=first, pos=4)) as dump:
        shown = dump.until(lambda event: event[4] == events.MARIADB_GTID_LIST)
    assert events.mariadb_gtid_list(shown) == ""
    listed = event(
        events.MARIADB_GTID_LIST,
        b"\x02\0\0\x10" + b"\x03\0\0\0\x01\0\0\0\x09" + bytes(7) + bytes(4) + b"\x02\0\0\0\x05" + bytes(7),
    )
    assert events.mariadb_gtid_list(listed) == "3-1-9,0-2-5"


@pytest.mark.parametrize(
    ("data", "number", "size"),
    [
        (b"\x02", 1, 1),
        (b"\xfe", 127, 1),
        (b"\xfb\xff\x07", 65535, 3),
        (b"\x7f" + b"\xff" * 7, (1 << 56) - 1, 8),
        (b"\xff" + b"\xff" * 8, (1 << 64) - 1, 9),
    ],
)
def test_variable_integers_are_as_long_as_their_first_byte_says(data: bytes, number: int, size: int) -> None:
    assert integers.variable(b"?" + data + b"?", 1) == (number, 1 + size)


def test_length_encoded_integers_are_as_long_as_their_first_byte_says() -> None:
    for data, number in (
        (b"\xfa", 250),
        (b"\xfc\xfb\x00", 251),
        (b"\xfd\x01\x00\x01", 65537),
        (b"\xfe" + b"\xff" * 8, 2**64 - 1),
    ):
        assert integers.length_encoded(b"?" + data, 1) == (number, 1 + len(data))
    with pytest.raises(MalformedEvent, match="0xff"):
        integers.length_encoded(b"\xff", 0)
