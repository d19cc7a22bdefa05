"""GTID sets, compared with the servers' own arithmetic."""

import random

import pytest
from pymysqlreplication.gtid import GtidSet

from connectors.mysql import events
from connectors.mysql.gtid import MariadbGtids, MysqlGtids
from tests.connectors.mysql.dump import dumping, here
from tests.mysql_servers import BY_NAME, MysqlDatabase

mysql_only = pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)

UUIDS = (
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "00000000-0000-0000-0000-000000000001",
    "ffffffff-71ca-11e1-9e33-c80aa9429562",
)


def some_set(seeded: random.Random) -> str:
    """As a person may write it: in any order, overlapping, in capitals, with tags or without."""
    parts = []
    for _ in range(seeded.randint(0, 6)):
        tag = seeded.choice(("", "", ":a", ":b_1", ":_z"))
        firsts = [seeded.randint(1, 30) for _ in range(seeded.randint(1, 4))]
        ranges = [f"{first}-{first + seeded.randint(0, 4)}" for first in firsts]
        uuid = seeded.choice(UUIDS)
        parts.append(":".join([(uuid.upper() if seeded.random() < 0.2 else uuid) + tag, *ranges]))
    return ",\n".join(parts)


@pytest.mark.mysql
@mysql_only
def test_sets_print_compare_and_subtract_as_on_the_server(mysql: MysqlDatabase) -> None:
    seeded = random.Random(7)
    pairs = [(some_set(seeded), some_set(seeded)) for _ in range(400)]
    for left, right in pairs:
        ours, others = MysqlGtids.parse(left), MysqlGtids.parse(right)
        [(same, is_subset, rest)] = mysql.execute(
            "select gtid_subtract(%s, ''), gtid_subset(%s, %s), gtid_subtract(%s, %s)", left, left, right, left, right
        )
        assert str(ours) == same.replace("\n", "")
        assert others.contains(ours) == bool(is_subset)
        assert str(ours.minus(others)) == rest.replace("\n", "")


def test_a_set_survives_its_binary_form_with_tags_and_without() -> None:
    seeded = random.Random(7)
    sets = [MysqlGtids.parse(some_set(seeded)) for _ in range(200)]
    assert [MysqlGtids.decoded(gtids.encoded()) for gtids in sets] == sets
    assert MysqlGtids.parse("").encoded() == bytes(8)


def test_sets_are_what_mysql_replication_makes_of_them() -> None:
    """It knows no tags."""
    dice = random.Random(7)
    uuids = [f"{dice.getrandbits(32):08x}-0000-11f1-8000-{dice.getrandbits(48):012x}" for _ in range(3)]

    def text() -> str:
        of_servers = []
        for uuid in sorted(dice.sample(uuids, dice.randint(1, 3))):
            ends = sorted(dice.sample(range(1, 60), 2 * dice.randint(1, 4)))
            pairs = zip(ends[::2], ends[1::2], strict=True)
            of_servers.append(f"{uuid}:{':'.join(f'{first}-{last}' for first, last in pairs)}")
        return ",".join(of_servers)

    for _ in range(200):
        given = text()
        ours, theirs = MysqlGtids.parse(given), GtidSet(given)
        assert str(ours) == str(theirs)
        assert ours.encoded() == theirs.encode()


def test_one_transaction_more_is_the_union_with_it() -> None:
    seeded = random.Random(7)
    for _ in range(200):
        text = some_set(seeded)
        gtid = f"{seeded.choice(UUIDS)}{seeded.choice(('', ':a'))}:{seeded.randint(1, 40)}"
        assert MysqlGtids.parse(text) + gtid == MysqlGtids.parse(f"{text},{gtid}")


@pytest.mark.parametrize("text", ["x", "3e11fa47-71ca-11e1-9e33-c80aa9429562", UUIDS[0] + ":1-5:9-7", UUIDS[0] + ":0"])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        MysqlGtids.parse(text)


@pytest.mark.mysql
@mysql_only
def test_a_stream_leaves_out_what_a_set_with_tags_holds(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int primary key)")
    start = here(mysql)
    mysql.execute("set gtid_next = 'automatic:shop'")
    mysql.execute("insert into t values (1)")
    mysql.execute("set gtid_next = 'automatic'")
    mysql.execute("insert into t values (2)")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start, by_gtid=True) as dump:
        dump.until_sql("create table done")
        logged = [events.gtid(event).text for event in dump.of(events.GTID, events.GTID_TAGGED)]
    assert [":shop:" in gtid for gtid in logged] == [True, False, False]
    seen = MysqlGtids.parse(start.gtids) + logged[0]
    with dumping(mysql, start._replace(gtids=str(seen)), by_gtid=True) as dump:
        dump.until_sql("create table done")
        assert [events.gtid(event).text for event in dump.of(events.GTID, events.GTID_TAGGED)] == logged[1:]
    for gtid in logged[1:]:
        seen += gtid
    assert str(seen) == here(mysql).gtids


def test_mariadb_keeps_the_last_transaction_of_each_domain() -> None:
    gtids = MariadbGtids.parse("1-2-7,\n0-1-5")
    assert str(gtids) == "0-1-5,1-2-7"
    assert str(gtids + "0-3-6" + "2-1-1") == "0-3-6,1-2-7,2-1-1"
    assert str(MariadbGtids.parse("0-1-9,0-2-4")) == "0-2-4"
    assert (gtids + "0-3-6").contains(gtids)
    assert not gtids.contains(gtids + "0-3-6")
    assert str((gtids + "0-3-6" + "2-1-1").minus(gtids)) == "0-3-6,2-1-1"
    with pytest.raises(ValueError, match="no GTID of MariaDB"):
        MariadbGtids.parse("0-1")


@pytest.mark.mysql
def test_the_transactions_of_the_log_add_up_to_what_the_server_has(mysql: MysqlDatabase) -> None:
    start = here(mysql)
    mysql.execute("create table t (id int primary key)")
    if mysql.flavor == "mariadb":
        mysql.execute("set gtid_domain_id = 7")
    mysql.execute("insert into t values (1)")
    mysql.execute("create table done (a int)")
    with dumping(mysql, start) as dump:
        dump.until_sql("create table done")
        if mysql.flavor == "mariadb":
            theirs: MysqlGtids | MariadbGtids = MariadbGtids.parse(start.gtids)
            texts = [events.mariadb_gtid(event).text for event in dump.of(events.MARIADB_GTID)]
        else:
            theirs = MysqlGtids.parse(start.gtids)
            texts = [events.gtid(event).text for event in dump.of(events.GTID)]
        for text in texts:
            theirs += text
    assert theirs == type(theirs).parse(here(mysql).gtids)
