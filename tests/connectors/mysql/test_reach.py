"""What a user's word for a position means to a real server."""

import json

import pytest

from connectors.chunk import Progress, in_words
from connectors.errors import LogGap, SourceMisconfigured
from connectors.mysql import coordinates, reach
from connectors.mysql.config import MariadbConfig, MysqlConfig
from connectors.mysql.coordinates import Coordinates
from tests.conftest import OwnMysqlFactory
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql


def config(database: MysqlDatabase) -> MysqlConfig:
    model = MariadbConfig if database.flavor == "mariadb" else MysqlConfig
    reach_of = {"type": database.flavor, "host": database.address.host, "port": database.address.port}
    login = {"user": database.address.user, "password": database.address.password or None}
    return model.model_validate({**reach_of, **login, "databases": (database.name,)})


def end(database: MysqlDatabase) -> Coordinates:
    return coordinates.parse(reach.positions(config(database)).latest.token)


def found(database: MysqlDatabase, word: object) -> Coordinates:
    ours = config(database)
    position = reach.position(ours, str(word), reach.positions(ours))
    at = coordinates.parse(position.token)
    assert position.order == coordinates.order(at)
    assert json.loads(position.origin)["port"] == database.address.port
    return at


def insert(database: MysqlDatabase) -> Coordinates:
    """One transaction more; where the log ends then."""
    database.execute("insert into notes (note) values (repeat('x', 300)), ('y')")
    return end(database)


@pytest.fixture
def notes(mysql: MysqlDatabase) -> MysqlDatabase:
    """A table, and a transaction in a binlog of its own."""
    mysql.execute("create table notes (id int primary key auto_increment, note text)")
    mysql.rotate()
    insert(mysql)
    return mysql


def test_a_position_is_found_by_its_token_its_gtids_and_its_file_and_offset(notes: MysqlDatabase) -> None:
    before = insert(notes)
    after = insert(notes)
    for at in (before, after):
        for word in (at, at.gtids, f"{at.file}:{at.pos}"):
            assert found(notes, word) == at


def test_a_byte_within_a_transaction_stands_for_the_place_before_it(notes: MysqlDatabase) -> None:
    before = insert(notes)
    after = insert(notes)
    for pos in (before.pos + 1, after.pos - 1):
        assert found(notes, f"{before.file}:{pos}") == before


def test_the_end_of_an_earlier_file_and_the_begin_of_the_next_are_one_place(notes: MysqlDatabase) -> None:
    old = end(notes)
    notes.rotate()
    new = insert(notes)
    assert found(notes, f"{old.file}:{old.pos}") == old
    first = found(notes, f"{new.file}:4")
    assert (first.file, first.gtids) == (new.file, old.gtids)
    assert found(notes, old.gtids).file == new.file


@pytest.mark.parametrize("word", ["", "yesterday", "0/31C6530", "binlog.000001", "binlog.000001:", "1-5", "uuid:1-5"])
def test_a_word_of_another_kind_is_no_position(mysql: MysqlDatabase, word: str) -> None:
    with pytest.raises(ValueError):
        found(mysql, word)


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_what_the_server_no_longer_has_or_does_not_have_yet_is_a_gap_that_names_it(
    own_mysql: OwnMysqlFactory, kind: str
) -> None:
    own = own_mysql(kind)
    own.execute("create table notes (id int primary key auto_increment, note text)")
    own.rotate()
    first = end(own)
    insert(own)
    own.rotate()
    last = insert(own)
    own.execute("purge binary logs to 'binlog.000003'")
    with pytest.raises(LogGap, match=r"does not have binlog\.000002; its binlogs are binlog\.000003 to"):
        found(own, f"{first.file}:{first.pos}")
    with pytest.raises(LogGap, match="no longer has") as gap:
        found(own, first.gtids)
    assert "binlog.000003:4" in gap.value.hint
    with pytest.raises(LogGap, match=rf"ends at {last.pos}, before {last.pos + 1}"):
        found(own, f"{last.file}:{last.pos + 1}")
    head, _, number = last.gtids.rpartition("-")
    with pytest.raises(LogGap, match="does not have"):
        found(own, f"{head}-{int(number) + 1}")


def test_without_gtids_a_position_is_file_and_offset(own_mysql: OwnMysqlFactory) -> None:
    own = own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    own.execute("create table notes (id int primary key auto_increment, note text)")
    before = insert(own)
    after = insert(own)
    assert (before.gtids, after.gtids) == ("", "")
    assert found(own, before) == before and found(own, after) == after
    assert found(own, f"{after.file}:{after.pos - 1}") == before
    with pytest.raises(SourceMisconfigured, match="no GTIDs"):
        found(own, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")


def test_only_what_the_connector_captures_counts_as_copied(mysql: MysqlDatabase) -> None:
    mysql.execute("create table orders (id int primary key)")
    mysql.execute("create view seen as select * from orders")
    copied = reach.copied(config(mysql))
    assert list(copied) == [f"{mysql.name}.orders"]
    assert in_words(copied[f"{mysql.name}.orders"]) == "copied"
    half = Progress(f"{mysql.name}.orders", rows=1200, after=("41", "b"))
    assert in_words(half.dump()) == "1,200 rows copied, up to key 41, b"


def test_the_log_between_two_positions_is_measured_within_a_file(mysql: MysqlDatabase) -> None:
    latest = reach.positions(config(mysql)).latest
    at = coordinates.parse(latest.token)
    before = latest._replace(token=str(at._replace(pos=at.pos - 70)))
    assert reach.size_bytes(before, latest) == 70
    assert reach.size_bytes(latest._replace(token="binlog.000000:4"), latest) is None
