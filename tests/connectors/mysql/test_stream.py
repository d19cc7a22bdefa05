"""The dump of a binlog, read from real servers."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.errors import LogGap, SourceError, SourceRefused, SourceUnreachable
from connectors.mysql import events, stream
from connectors.mysql.connection import connect, identify, start_of_log
from connectors.mysql.coordinates import Coordinates
from connectors.mysql.place import Place
from tests.connectors.mysql.dump import Dump, config_of, dumping, here
from tests.mysql_servers import KINDS, LocalMysql, MysqlDatabase, OwnMysql
from tests.servers import until

pytestmark = pytest.mark.mysql


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def restless_server(request: pytest.FixtureRequest) -> Iterator[LocalMysql]:
    server = LocalMysql(request.param)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def restless(restless_server: LocalMysql, tmp_path: Path) -> OwnMysql:
    """A fresh database on a server that these tests purge, stop and set as they like, and leave as it was."""
    return OwnMysql(restless_server, tmp_path)


def rows(dump: Dump) -> int:
    return len(dump.of(events.WRITE_ROWS, events.WRITE_ROWS_V1))


def a_table_with_rows(database: MysqlDatabase, count: int) -> None:
    database.execute("create table t (id int primary key auto_increment, v longtext)")
    for _ in range(count):
        database.execute("insert into t (v) values ('x')")


@pytest.mark.parametrize("by_gtid", [False, True], ids=["position", "gtid"])
def test_a_stream_begins_behind_its_start(mysql: MysqlDatabase, by_gtid: bool) -> None:
    a_table_with_rows(mysql, 1)
    start = here(mysql)
    mysql.execute("insert into t (v) values ('x'), ('y')")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start, by_gtid=by_gtid) as dump:
        dump.until_sql("create table done")
        assert rows(dump) == 1


def test_positions_count_up_to_the_end_of_the_log(mysql: MysqlDatabase) -> None:
    start = here(mysql)
    a_table_with_rows(mysql, 3)
    mysql.execute("create table done (a int)")
    end = here(mysql)
    with dumping(mysql, start) as dump:
        dump.until_sql("create table done")
        place = Place(start)
        for event in dump.events:
            place.step(event)
        assert (place.file, place.pos) == (end.file, end.pos)


def test_a_statement_comes_before_its_rows_where_it_is_asked_for(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int primary key)")
    start = here(mysql)
    if mysql.flavor == "mysql":
        mysql.execute("set binlog_rows_query_log_events = on")
    mysql.execute("insert into t values (1) /* naïve */")
    mysql.execute("create table done (a int)")
    for annotate in (True, False):
        with dumping(mysql, start, annotate=annotate) as dump:
            dump.until_sql("create table done")
            shown = [events.rows_query(event) for event in dump.of(events.ROWS_QUERY, events.ANNOTATE_ROWS)]
            asked = annotate or mysql.flavor == "mysql"
            assert shown == (["insert into t values (1) /* naïve */"] if asked else [])


def test_a_log_event_of_more_than_16_mb_comes_whole(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (v longtext, w longtext)")
    start = here(mysql)
    mysql.execute("insert into t values (repeat('v', 9000000), repeat('w', 9000000))")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start) as dump:
        dump.until_sql("create table done")
        [large] = dump.of(events.WRITE_ROWS, events.WRITE_ROWS_V1)
        assert (large.count(b"v" * 1000), large.count(b"w" * 1000)) == (9000, 9000)


def test_each_boundary_of_a_long_packet_is_read(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (v longtext)")
    start = here(mysql)
    mysql.execute("insert into t values ('')")
    mysql.execute("create table probe (a int)")
    with dumping(mysql, start) as dump:
        dump.until_sql("create table probe")
        [small] = dump.of(events.WRITE_ROWS, events.WRITE_ROWS_V1)
    start = here(mysql)
    wanted = [0xFFFFFF - 5 + by for by in (-1, 0, 1)]  # a packet holds a status byte and the checksum too
    for size in wanted:
        mysql.execute(f"insert into t values (repeat('x', {size - len(small)}))")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start) as dump:
        dump.until_sql("create table done")
        assert [len(event) for event in dump.of(events.WRITE_ROWS, events.WRITE_ROWS_V1)] == wanted


def test_a_stream_goes_on_over_rotations_and_switched_checksums(restless: OwnMysql) -> None:
    restless.execute("create table t (id int primary key auto_increment, v longtext)")
    restless.execute("set global binlog_checksum = NONE")
    start = here(restless)
    files = [start.file]
    for checksum in ("CRC32", "CRC32", "NONE", "CRC32"):
        restless.execute("insert into t (v) values ('x')")
        restless.execute(f"set global binlog_checksum = {checksum}")
        restless.execute("flush binary logs")
        files.append(here(restless).file)
    restless.execute("create table done (a int)")
    for by_gtid in (False, True):
        with dumping(restless, start, by_gtid=by_gtid) as dump:
            dump.until_sql("create table done")
            assert rows(dump) == 4
            named = {events.rotate(event)[0] for event in dump.of(events.ROTATE)}
            assert named >= set(files)
            assert all(name.startswith("binlog.") and name[7:].isdigit() for name in named)
    with dumping(restless) as dump:  # and while it is read
        dump.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
        restless.execute("set global binlog_checksum = NONE")
        restless.execute("insert into t (v) values ('x')")
        restless.execute("set global binlog_checksum = CRC32")
        restless.execute("create table again (a int)")
        dump.until_sql("create table again")
        assert rows(dump) == 1


def test_a_stream_begins_in_a_file_without_checksums(restless: OwnMysql) -> None:
    restless.execute("set global binlog_checksum = NONE")
    a_table_with_rows(restless, 1)
    with dumping(restless) as dump:
        restless.execute("insert into t (v) values ('x')")
        restless.execute("create table done (a int)")
        dump.until_sql("create table done")
        assert rows(dump) == 1
        assert {events.rotate(event)[0] for event in dump.of(events.ROTATE)} == {here(restless).file}
    restless.execute("set global binlog_checksum = CRC32")


def test_an_idle_server_sends_heartbeats_that_tell_its_position(
    mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 1)
    start = here(mysql)
    with dumping(mysql, start) as dump:
        event = dump.until(lambda event: event[4] in (events.HEARTBEAT, events.HEARTBEAT_V2))
        assert events.heartbeat(event) == (start.file, start.pos)
        assert events.is_artificial(event)


def test_a_server_that_says_nothing_is_a_dead_link(restless: OwnMysql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE_S", 5.0)
    with dumping(restless) as dump:
        dump.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
        restless.server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(SourceUnreachable, match="silent for 5 s, without the heartbeats"):
                for _ in range(100):
                    dump.stream.receive(0.2, 1 << 20)
        finally:
            restless.server.signal(signal.SIGCONT)


def test_a_stopped_or_killed_server_is_unreachable_and_read_on_when_it_is_back(restless: OwnMysql) -> None:
    own = restless
    a_table_with_rows(own, 1)
    start = here(own)
    for end in (own.server.stop, own.server.kill):
        with dumping(own, start, by_gtid=True) as dump:
            dump.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
            end()
            with pytest.raises(SourceUnreachable) as caught:
                for _ in range(50):
                    dump.stream.receive(0.2, 1 << 20)
            assert caught.value.hint
            own.server.start()
            own.reconnect()
            own.execute("insert into t (v) values ('x')")
    own.execute("create table done (a int)")
    with dumping(own, start, by_gtid=True) as dump:
        dump.until_sql("create table done")
        assert rows(dump) == 2


def test_a_purged_start_is_a_gap(restless: OwnMysql) -> None:
    a_table_with_rows(restless, 1)
    start = here(restless)
    for _ in range(2):
        restless.execute("insert into t (v) values ('x')")
        restless.execute("flush binary logs")

    def purged() -> bool:
        restless.execute(f"purge binary logs to '{here(restless).file}'")
        return len(restless.execute("show binary logs")) == 1

    until(purged, "no dump of another test reads the old files")
    for by_gtid in (False, True):
        with dumping(restless, start, by_gtid=by_gtid) as dump, pytest.raises(LogGap) as caught:
            dump.until(lambda event: False)
        assert "reset NAME" in caught.value.hint
        assert not caught.value.retryable
    connection = connect(config_of(restless), application="test")
    left = start_of_log(connection, identify(connection))
    connection.close()
    assert left == here(restless)._replace(pos=4)
    restless.execute("create table done (a int)")
    with dumping(restless, left, by_gtid=True) as dump:
        dump.until_sql("create table done")


@pytest.mark.parametrize("by", [1_000_000, 5 << 32], ids=["near", "far"])
def test_a_position_behind_the_end_of_its_file_is_a_gap(restless: OwnMysql, by: int) -> None:
    end = here(restless)
    restless.execute("flush binary logs")
    with dumping(restless, Coordinates(end.file, end.pos + by)) as dump, pytest.raises(LogGap):
        dump.until(lambda event: False)


def test_gtids_that_the_server_does_not_know_are_a_gap(mysql: MysqlDatabase) -> None:
    end = here(mysql)
    more = end.gtids.rpartition("-")[0] + "-4000000000" if mysql.flavor == "mariadb" else end.gtids + ":4000000000"
    with dumping(mysql, end._replace(gtids=more), by_gtid=True) as dump, pytest.raises(LogGap):
        dump.until(lambda event: False)


@pytest.mark.parametrize("by_gtid", [False, True], ids=["position", "gtid"])
def test_a_second_reader_with_our_server_id_ends_the_first(mysql: MysqlDatabase, by_gtid: bool) -> None:
    with dumping(mysql, server_id=9001, by_gtid=by_gtid) as first:
        first.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
        with dumping(mysql, server_id=9001, by_gtid=by_gtid) as second:
            second.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
            with pytest.raises(SourceError) as caught:
                first.until(lambda event: False)
    assert isinstance(caught.value, SourceRefused)
    assert "9001" in str(caught.value)
    assert "server_id" in caught.value.hint


def test_the_server_lists_us_among_its_replicas(mysql: MysqlDatabase) -> None:
    with dumping(mysql, server_id=9002) as dump:
        dump.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
        listed = mysql.execute("show replicas" if mysql.flavor == "mysql" else "show slave hosts")
        assert 9002 in [row[0] for row in listed]


def test_a_flipped_byte_in_the_log_is_fatal_and_named(restless: OwnMysql) -> None:
    own = restless
    own.execute("flush binary logs")
    a_table_with_rows(own, 1)
    before = here(own)
    own.execute("insert into t (v) values ('a value to be corrupted')")
    own.execute("create table done (a int)")
    own.execute("flush binary logs")
    own.server.stop()
    file = own.server.data / before.file
    data = bytearray(file.read_bytes())
    at = data.rindex(b"a value to be corrupted")
    data[at] ^= 1
    file.write_bytes(data)
    own.server.start()
    own.reconnect()
    with dumping(own, before._replace(pos=4)) as dump:
        with pytest.raises(SourceError, match="corrupt: its checksum does not match") as caught:
            dump.until_sql("create table done")
        assert rows(dump) == 1
    assert not caught.value.retryable
    behind = int(str(caught.value).partition(f"{before.file}:")[2].split()[0])
    assert before.pos <= behind <= at
    assert "mysqlbinlog" in caught.value.hint


def test_a_start_behind_4_gb_leaves_out_what_its_file_has_before(
    mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_table_with_rows(mysql, 3)
    start = here(mysql)
    mysql.execute("insert into t (v) values ('x')")
    mysql.execute("create table done (a int)")
    monkeypatch.setattr(stream, "LONGEST_POS", 4)
    connection = connect(config_of(mysql), application="test")
    server = identify(connection)
    connection.close()
    for gtids in (True, False):
        monkeypatch.setattr(
            "tests.connectors.mysql.dump.identify", lambda _, gtids=gtids: server._replace(gtids=gtids and server.gtids)
        )
        with dumping(mysql, start) as dump:
            dump.until_sql("create table done")
            assert rows(dump) == 1


def test_a_stream_by_gtid_from_a_server_without_gtids_says_so(restless: OwnMysql) -> None:
    if restless.flavor == "mariadb":
        return  # it always has them
    modes = ("on_permissive", "off_permissive", "off")
    for mode in modes:
        restless.execute(f"set global gtid_mode = {mode}")
    assert here(restless).gtids == ""
    with dumping(restless, by_gtid=True) as dump, pytest.raises(SourceRefused, match="GTID_MODE") as caught:
        dump.until(lambda event: False)
    assert "gtid_mode" in caught.value.hint
    for mode in (*reversed(modes[:-1]), "on"):
        restless.execute(f"set global gtid_mode = {mode}")


def test_a_stream_over_tls_is_the_same(mysql: MysqlDatabase) -> None:
    if mysql.kind.name == "mariadb1011":
        return  # it has no certificate unless it is given one
    mysql.execute("create table t (v longtext, w longtext)")
    start = here(mysql)
    for size in (1, 100_000, 9_000_000):
        mysql.execute(f"insert into t values (repeat('v', {size}), repeat('w', {size}))")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start, tls={"mode": "require"}) as dump:
        dump.until_sql("create table done")
        assert rows(dump) == 3


def test_the_stream_waits_no_longer_than_it_is_told(mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 600)  # what waited for it would find the link dead before
    with dumping(mysql) as dump:
        dump.until(lambda event: event[4] == events.FORMAT_DESCRIPTION)
        until(lambda: not dump.stream.receive(0.01, 1 << 20), "nothing more comes")
        assert dump.stream.silent_s > 0
