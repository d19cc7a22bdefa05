"""What `tailrace check` tells of real servers, taken at its word."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.mysql import preflight
from connectors.mysql.config import MariadbConfig, MysqlConfig
from schema.preflight import Finding
from tests.conftest import OwnMysqlFactory
from tests.mysql_servers import MysqlDatabase
from tests.servers import ROOT

pytestmark = pytest.mark.mysql

KINDS = pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
PASSWORD = "Of-the-checker-1"


def config(database: MysqlDatabase, **keys: Any) -> MysqlConfig:
    model = MariadbConfig if database.flavor == "mariadb" else MysqlConfig
    reach = {"type": database.flavor, "host": database.address.host, "port": database.address.port}
    login = {"user": database.address.user, "password": database.address.password or None}
    return model.model_validate({**reach, **login, "databases": (database.name,), **keys})


def check(database: MysqlDatabase, **keys: Any) -> list[Finding]:
    return list(preflight.check(config(database, **keys)))


def bad(findings: list[Finding]) -> list[str]:
    return [f"{finding.level}: {finding.text}" for finding in findings if finding.level != "ok"]


def mended(database: MysqlDatabase, findings: list[Finding]) -> None:
    """Run what `check` prints, as an operator would paste it."""
    for finding in findings:
        if finding.level != "ok":
            for statement in finding.mend.rpartition("or: ")[2].split("; "):
                database.execute(statement)


MakeUser = Callable[[str], dict[str, Any]]


@pytest.fixture
def make_user(mysql: MysqlDatabase) -> Iterator[MakeUser]:
    """Runs SQL that makes `'tailrace'@'%'` and grants it something on `shop`; gives the keys of its connector."""
    name = f"checker_{mysql.name}"

    def make(sql: str) -> dict[str, Any]:
        for old, new in (("tailrace", name), ("shop", mysql.name), ("'...'", f"'{PASSWORD}'")):
            sql = sql.replace(old, new)
        for statement in filter(None, map(str.strip, sql.split(";"))):
            mysql.execute(statement)
        return {"user": name, "password": PASSWORD}

    yield make
    mysql.execute(f"drop user if exists {name}@'%'")


def test_the_documented_privileges_are_enough_and_each_of_them_is_needed(
    mysql: MysqlDatabase, make_user: MakeUser
) -> None:
    found = re.search(r"```sql\n(create user .*?)```", (ROOT / "docs" / "mysql.md").read_text(), re.DOTALL)
    assert found
    keys = make_user(found[1])
    mysql.execute("create table orders (id int primary key)")
    mysql.execute("create table notes (note text)")
    assert [words for words in bad(check(mysql, **keys)) if words.startswith("fail")] == []
    user = f"{keys['user']}@'%'"
    for privilege, target, expected in (
        ("replication slave", "*.*", "lacks REPLICATION SLAVE"),
        ("replication client", "*.*", "lacks REPLICATION CLIENT"),
        ("lock tables", f"{mysql.name}.*", f"may not lock {mysql.name}.notes, which has no key"),
        ("select", f"{mysql.name}.*", "sees no table to capture"),
    ):
        mysql.execute(f"revoke {privilege} on {target} from {user}")
        assert expected in " ".join(bad(check(mysql, **keys)))
        mysql.execute(f"grant {privilege} on {target} to {user}")


def test_each_grant_that_check_prints_works_and_together_they_are_enough(
    mysql: MysqlDatabase, make_user: MakeUser
) -> None:
    keys = make_user("create user 'tailrace'@'%' identified by '...'")
    mysql.execute("create table orders (id int primary key)")
    found = check(mysql, **keys)
    assert len(bad(found)) == 2
    mended(mysql, found)
    assert bad(check(mysql, **keys)) == []


def test_privileges_that_a_role_gives_count(mysql: MysqlDatabase, make_user: MakeUser) -> None:
    role = f"role_{mysql.name}"
    default = "to" if mysql.flavor == "mysql" else "for"
    keys = make_user(
        f"create role {role}; grant replication slave, replication client on *.* to {role}; grant select on shop.* to"
        f" {role}; create user 'tailrace'@'%' identified by '...'; grant {role} to tailrace;"
        f" set default role {role} {default} tailrace"
    )
    mysql.execute("create table orders (id int primary key)")
    assert bad(check(mysql, **keys)) == []
    mysql.execute(f"drop role {role}")


def test_one_table_that_may_not_be_read_is_named_with_its_grant(mysql: MysqlDatabase, make_user: MakeUser) -> None:
    keys = make_user(
        "create user 'tailrace'@'%' identified by '...'; grant insert on shop.* to tailrace;"
        " grant replication slave, replication client on *.* to tailrace"
    )
    mysql.execute("create table `odd ``name` (id int primary key)")
    found = check(mysql, **keys)
    assert bad(found) == [f"fail: {keys['user']} may not read {mysql.name}.odd `name"]
    mended(mysql, found)
    assert bad(check(mysql, **keys)) == []


def test_a_pattern_that_matches_nothing_is_named(mysql: MysqlDatabase) -> None:
    mysql.execute("create table orders (id int primary key)")
    patterns = (f"{mysql.name}.order?", f"{mysql.name}.itmes", f"!{mysql.name}.nothing")
    assert bad(check(mysql, tables=patterns)) == [f"fail: source.tables: nothing matches {mysql.name}.itmes"]


def test_tables_that_the_log_or_the_copy_serves_badly_are_named(mysql: MysqlDatabase) -> None:
    mysql.execute("create table orders (id int primary key, placed date)")
    mysql.execute("create table words (word varchar(20) unique)")
    mysql.execute("create table visits (id int primary key) engine = MyISAM")
    mysql.execute(
        "create table items (id int primary key, of_order int,"
        " constraint belongs foreign key (of_order) references orders (id) on delete cascade on update no action)"
    )
    said = bad(check(mysql))
    assert f"warn: {mysql.name}.words has no key: its events carry none, and its copy is made in one piece" in said
    assert any(f"{mysql.name}.visits is a table of MyISAM" in words for words in said)
    cascades = [words for words in said if "does not log what foreign key belongs (on delete cascade)" in words]
    dates = [words for words in said if f"zero dates into {mysql.name}.orders.placed" in words]
    assert (len(cascades), len(dates)) == ((1, 1) if mysql.flavor == "mariadb" else (0, 0))
    assert len(said) == 2 + len(cascades) + len(dates)


def test_a_server_of_the_other_kind_is_told_apart(mysql: MysqlDatabase) -> None:
    mysql.execute("create table orders (id int primary key)")
    other = "mysql" if mysql.flavor == "mariadb" else "mariadb"
    model = MysqlConfig if other == "mysql" else MariadbConfig
    [finding] = [
        finding
        for finding in preflight.check(model.model_validate({**config(mysql).model_dump(), "type": other}))
        if finding.level == "fail"
    ]
    assert finding.mend == f'write "type": "{mysql.flavor}"'


def test_a_refused_password_is_one_finding(mysql: MysqlDatabase) -> None:
    [finding] = check(mysql, user="nobody", password="wrong")
    assert finding.level == "fail" and "nobody" in finding.text and finding.mend


@KINDS
def test_each_setting_that_is_wrong_is_named_and_what_is_printed_mends_it(
    own_mysql: OwnMysqlFactory, kind: str
) -> None:
    settings = ["--binlog-format=MIXED", "--binlog-row-image=MINIMAL", "--binlog-row-metadata=MINIMAL"]
    settings += ["--binlog-expire-logs-seconds=3600"]
    if kind == "mysql97":
        settings += ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--binlog-row-value-options=PARTIAL_JSON"]
        settings += ["--innodb-native-foreign-keys=ON"]
        of_kind = {"gtid_mode": "warn", "binlog_row_value_options": "fail"}
    else:
        of_kind = {"max_binlog_total_size": "warn"}
        settings += ["--max-binlog-total-size=1G"]
    own = own_mysql(kind, *settings)
    own.execute("create table orders (id int primary key, placed date)")
    own.execute("set global sql_mode = ''")
    found = check(own)
    levels = {finding.text.split()[0]: finding.level for finding in found if finding.level != "ok"}
    assert levels == {
        "binlog_format": "fail",
        "binlog_row_image": "warn",
        "binlog_row_metadata": "warn",
        "binlogs": "warn",
        "sql_mode": "warn",
        **of_kind,
    }
    assert [f.level for f in check(own, statements="skip") if f.text.startswith("binlog_format")] == ["warn"]
    mended(own, found)
    assert bad(check(own)) == []
    own.execute(
        "create table items (id int primary key, of_order int, foreign key (of_order) references orders (id)"
        " on update set null)"
    )
    assert "does not log what foreign key" in " ".join(bad(check(own)))


@KINDS
def test_a_server_without_a_log_is_refused(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own = own_mysql(kind, "--skip-log-bin")
    assert "fail: log_bin is OFF: the server keeps no log of changes" in bad(check(own))


@KINDS
def test_a_server_id_that_is_taken_is_told(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own = own_mysql(kind)
    own.execute("create table orders (id int primary key)")
    assert "fail: source.server_id 1 is the server's own" in bad(check(own, server_id=1))
    own.replica()
    [words] = bad(check(own, server_id=2))
    assert words.startswith("warn: a reader with server id 2 is connected")
    assert bad(check(own, server_id=3)) == []


@KINDS
def test_a_replica_that_does_not_log_what_it_replicates_is_refused(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own = own_mysql(kind)
    own.execute("create table orders (id int primary key)")
    logging = own.replica()
    assert bad(check(logging)) == []
    logging.server.settings.append("--skip-log-replica-updates" if kind == "mysql97" else "--skip-log-slave-updates")
    logging.server.stop()
    logging.server.start()
    assert any("the server is a replica" in words for words in bad(check(logging)))


@KINDS
def test_a_database_that_is_kept_out_of_the_log_is_named(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own = own_mysql(kind, "--binlog-do-db=other")
    own.execute("create table orders (id int primary key)")
    assert f"fail: binlog_do_db keeps {own.name} out of the log" in bad(check(own))


def test_a_copy_without_gtids_locks_every_table(own_mysql: OwnMysqlFactory) -> None:
    own = own_mysql("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    own.execute("create table orders (id int primary key)")
    own.execute(f"create user tailrace identified by '{PASSWORD}'")
    own.execute("grant replication slave, replication client on *.* to tailrace")
    own.execute(f"grant select on {own.name}.* to tailrace")
    keys = {"user": "tailrace", "password": PASSWORD}
    [finding] = [finding for finding in check(own, **keys) if finding.level == "fail"]
    assert f"may not lock {own.name}.orders, for the server has no GTIDs" in finding.text
    own.execute(finding.mend)
    assert not any(finding.level == "fail" for finding in check(own, **keys))
