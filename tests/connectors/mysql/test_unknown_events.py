"""Log events of types that no released server documents: Aurora's 100, and what newer servers may bring."""

from pathlib import Path
from struct import pack
from zlib import crc32

import pytest

from connectors.errors import SourceError
from tests.conftest import OwnMysqlFactory
from tests.contract.engines import MysqlEngine, Shop
from tests.mysql_servers import OwnMysql

SKIPPABLE = 0x80

pytestmark = pytest.mark.mysql
newest = pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])


def append(database: OwnMysql, kind: int, flags: int) -> None:
    """A log event of type `kind` at the end of the server's last binlog, as if the server had written it."""
    database.server.stop()
    log = max(database.server.data.glob("binlog.0*"))
    data = log.read_bytes()
    size = 19 + 4 + 4
    event = pack("<IBIIIH", 1_700_000_000, kind, 1, size, len(data) + size, flags) + b"data"
    log.write_bytes(data + event + pack("<I", crc32(event)))
    database.server.start()
    database.reconnect()


@newest
def test_an_unknown_log_event_that_may_be_left_out_is(own_mysql: OwnMysqlFactory, tmp_path: Path, kind: str) -> None:
    database = own_mysql(kind)
    shop = Shop(MysqlEngine(database), tmp_path)
    database.execute("create table t (id int primary key)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        offset = read.offset
    database.execute("insert into t values (1)")
    append(database, 100, SKIPPABLE)
    database.execute("insert into t values (2)")
    with shop.reading(offset, snapshot="never") as read:
        read.catch_up()
        assert read.afters() == [{"id": 1}, {"id": 2}]


def test_an_unknown_log_event_that_may_not_be_left_out_ends_the_run_at_its_place(
    own_mysql: OwnMysqlFactory, tmp_path: Path
) -> None:
    """MariaDB does not send what it does not know."""
    database = own_mysql("mysql97")
    shop = Shop(MysqlEngine(database), tmp_path)
    database.execute("create table t (id int primary key)")
    with shop.reading(snapshot="never") as read:
        read.catch_up()
        offset = read.offset
    database.execute("insert into t values (1)")
    append(database, 100, 0)
    database.execute("insert into t values (2)")
    with shop.reading(offset, snapshot="never") as read:
        with pytest.raises(SourceError, match=r"unknown type 100 at binlog\.\d+:\d+") as told:
            read.read_until(2)
        assert not told.value.retryable
        assert {"id": 2} not in [value["after"] for value in read.values()]
