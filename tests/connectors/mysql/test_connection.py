"""How a server is reached, and what an operator reads where it is not."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from connectors.errors import SourceError, SourceMisconfigured, SourceRefused, SourceUnreachable
from connectors.mysql import connection as module
from connectors.mysql.config import MysqlConfig
from connectors.mysql.connection import binary_logs, connect, end_of_log, identify, source_error, start_of_log
from connectors.mysql.gtid import MariadbGtids, MysqlGtids
from tests.certificates import Authority
from tests.conftest import OwnMysqlFactory
from tests.connectors.mysql.dump import config_of, dumping, here
from tests.mysql_servers import BY_NAME, MysqlDatabase
from tests.servers import skip

mysql_only = pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
PASSWORD = "pä$s'w"


@pytest.fixture
def user(mysql: MysqlDatabase) -> Iterator[str]:
    """An account with a password and no privilege."""
    name = f"{mysql.name}_user"
    mysql.execute(f"create user {name}@'%%' identified by %s", PASSWORD)
    yield name
    mysql.execute(f"drop user {name}@'%'")


def refusal(database: MysqlDatabase, **keys: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        connect(config_of(database, **keys), application="test")
    assert caught.value.hint
    return caught.value


@pytest.mark.mysql
def test_a_session_reads_utc_and_every_character_and_never_times_out(mysql: MysqlDatabase) -> None:
    limit = "max_execution_time" if mysql.flavor == "mysql" else "max_statement_time"
    connection = connect(config_of(mysql), application="test")
    with connection.cursor() as cursor:
        cursor.execute(f"select @@time_zone, @@character_set_results, @@autocommit, @@sql_mode, @@{limit}")
        assert cursor.fetchone() == ("+00:00", "utf8mb4", 1, "ALLOW_INVALID_DATES", 0)
        cursor.execute("select sleep(1.5), '漢🙂'")
        assert cursor.fetchone() == (0, "漢🙂")
    connection.close()


@pytest.mark.mysql
def test_a_query_may_take_longer_than_the_handshake(mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 4)
    connection = connect(config_of(mysql), application="test")
    with connection.cursor() as cursor:
        cursor.execute("select sleep(4.2)")
    connection.close()


@pytest.mark.mysql
def test_the_server_says_what_it_is(mysql: MysqlDatabase) -> None:
    connection = connect(config_of(mysql), application="test")
    server = identify(connection)
    [(server_id,)] = mysql.execute("select @@server_id")
    assert (server.flavor, server.server_id, server.gtids) == (mysql.flavor, server_id, True)
    assert server.version[:2] == {"mysql97": (9, 7), "mariadb1011": (10, 11), "mariadb118": (11, 8)}[mysql.kind.name]
    assert len(server.uuid) == (36 if mysql.flavor == "mysql" else 28)
    logs = binary_logs(connection)
    first, end = start_of_log(connection, server), end_of_log(connection, server)
    assert (first.file, first.pos) == (logs[0][0], 4)
    assert (end.file, end.pos) == logs[-1]
    if mysql.flavor == "mysql":
        assert MysqlGtids.parse(end.gtids).contains(MysqlGtids.parse(first.gtids))
    else:
        assert MariadbGtids.parse(end.gtids).contains(MariadbGtids.parse(first.gtids))
    connection.close()


@pytest.mark.mysql
def test_a_log_that_is_off_is_refused_in_words(own_mysql: OwnMysqlFactory) -> None:
    own = own_mysql("mariadb1011", "--skip-log-bin")
    connection = connect(config_of(own), application="test")
    with pytest.raises(SourceRefused, match="no binary log") as caught:
        end_of_log(connection, identify(connection))
    assert "log_bin" in caught.value.hint
    with pytest.raises(pymysql.MySQLError) as failed:
        binary_logs(connection)
    assert "writes no binary log" in str(source_error(failed.value, config_of(own)))
    connection.close()


@pytest.mark.mysql
@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_a_password_is_sent_with_tls_and_without_it_in_the_first_login_and_the_next(
    mysql: MysqlDatabase, user: str, mode: str
) -> None:
    # MySQL: the first login is full authentication, by RSA where there is no TLS, the next is by the server's cache.
    for _ in range(2):
        connection = connect(config_of(mysql, user=user, password=PASSWORD, tls={"mode": mode}), application="test")
        with connection.cursor() as cursor:
            cursor.execute("show status like 'Ssl_cipher'")
            [(_, cipher)] = cursor.fetchall()
        assert bool(cipher) == (mode == "prefer" and mysql.kind.name != "mariadb1011")
        connection.close()


@pytest.mark.mysql
@mysql_only
def test_sha256_password_works_with_tls_and_without(mysql: MysqlDatabase) -> None:
    name = f"{mysql.name}_old"
    mysql.execute(f"create user {name}@'%%' identified with sha256_password by %s", PASSWORD)
    for mode in ("disable", "require"):
        connect(config_of(mysql, user=name, password=PASSWORD, tls={"mode": mode}), application="test").close()
    mysql.execute(f"drop user {name}@'%'")


@pytest.mark.mysql
@pytest.mark.parametrize("kind", ["mariadb1011", "mariadb118"])
def test_ed25519_works_for_queries_and_the_log(own_mysql: OwnMysqlFactory, kind: str) -> None:
    own = own_mysql(kind)
    if "ed25519" not in str(own.execute("show plugins soname 'auth_ed25519.so'")):
        skip("this server lacks the plugin auth_ed25519")
    own.execute("install soname 'auth_ed25519'")
    own.execute("create user reader@'%%' identified via ed25519 using password(%s)", PASSWORD)
    own.execute("grant replication slave, binlog monitor, select on *.* to reader@'%'")
    connect(config_of(own, user="reader", password=PASSWORD), application="test").close()
    with dumping(own, here(own), user="reader", password=PASSWORD) as dump:
        own.execute("create table t (id int primary key)")
        dump.until_sql("create table t")
    assert "reader" in str(refusal(own, user="reader", password="wrong"))


@pytest.mark.mysql
def test_a_wrong_user_or_password_is_refused_by_name(mysql: MysqlDatabase, user: str) -> None:
    for keys in ({"user": "nobody_at_all"}, {"user": user, "password": "wrong"}, {"user": user}):
        error = refusal(mysql, **keys)
        assert isinstance(error, SourceRefused)
        assert f"refused user {keys['user']}: Access denied" in str(error)
        assert "source.password" in error.hint
    mysql.execute(f"alter user {user}@'%' account lock")
    assert "locked" in str(refusal(mysql, user=user, password=PASSWORD))


@pytest.mark.mysql
def test_a_missing_privilege_is_no_wrong_password(mysql: MysqlDatabase, user: str) -> None:
    keys: dict[str, Any] = {"user": user, "password": PASSWORD}
    with pytest.raises(SourceRefused, match="REPLICATION SLAVE is missing") as caught, dumping(
        mysql, here(mysql), **keys
    ) as dump:  # fmt: skip
        dump.until(lambda event: False)
    assert "tailrace check" in caught.value.hint
    connection = connect(config_of(mysql, **keys), application="test")
    for ask in (lambda: end_of_log(connection, identify(connection)), lambda: binary_logs(connection)):
        with pytest.raises(pymysql.MySQLError) as failed:
            ask()
        error = source_error(failed.value, config_of(mysql))
        assert isinstance(error, SourceRefused)
        assert "privilege(s)" in str(error)
        assert "tailrace check" in error.hint
    connection.close()


@pytest.mark.mysql
def test_what_cannot_be_reached_may_be_tried_again(mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 1)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for keys, causes in (
            # The second is said where no name server answers.
            ({"host": "no-such-host.invalid"}, ("not known", "name resolution")),
            ({"port": closed.getsockname()[1]}, ("refused",)),
            ({"port": silent.getsockname()[1]}, ("timed out",)),
        ):
            error = refusal(mysql, **keys)
            assert isinstance(error, SourceUnreachable)
            assert any(cause in str(error) for cause in causes)
            assert "\n" not in str(error)


@pytest.mark.mysql
def test_a_connection_that_the_server_ended_may_be_tried_again(mysql: MysqlDatabase) -> None:
    connection = connect(config_of(mysql), application="test")
    mysql.execute(f"kill {connection.thread_id()}")  # type: ignore[no-untyped-call]
    for _ in range(2):  # gone, then closed
        with pytest.raises(pymysql.MySQLError) as failed, connection.cursor() as cursor:
            cursor.execute("select 1")
        assert source_error(failed.value, config_of(mysql)).retryable


@pytest.mark.mysql
def test_a_locked_table_is_waited_for_and_named(mysql: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._SESSION, "lock_wait_timeout", 1)
    mysql.execute("create table t (id int)")
    mysql.execute("lock tables t write")
    connection = connect(config_of(mysql), application="test")
    with pytest.raises(pymysql.MySQLError) as failed, connection.cursor() as cursor:
        cursor.execute(f"select * from {mysql.name}.t")
    error = source_error(failed.value, config_of(mysql))
    assert error.retryable
    assert "keeps a table locked" in error.hint
    connection.close()
    mysql.execute("unlock tables")


def test_tls_is_asked_for_off_this_host_and_not_on_it() -> None:
    def mode(host: str, **tls: str) -> str:
        return MysqlConfig(type="mysql", host=host, user="u", tls=tls).tls_mode  # type: ignore[arg-type]

    assert [mode(host) for host in ("localhost", "127.0.0.1", "/run/mysqld.sock")] == ["prefer"] * 3
    assert mode("db.internal") == "verify-full"
    assert mode("db.internal", mode="require") == "require"


@pytest.mark.mysql
def test_tls_trusts_as_far_as_it_is_told(own_mysql: OwnMysqlFactory, tmp_path: Path) -> None:
    ours = Authority.make(tmp_path / "ours")
    Authority.make(tmp_path / "other")
    ours.sign("server", "127.0.0.1")
    ours.sign("client", "us")
    ca, stranger = tmp_path / "ours" / "ca.pem", tmp_path / "other" / "ca.pem"
    own = own_mysql(
        "mariadb1011",
        f"--ssl-ca={ca}",
        f"--ssl-cert={ours.folder}/server.pem",
        f"--ssl-key={ours.folder}/server-key.pem",
    )

    def opened(**tls: Any) -> bool:
        connection = connect(config_of(own, tls=tls), application="test")
        with connection.cursor() as cursor:
            cursor.execute("show status like 'Ssl_cipher'")
            [(_, cipher)] = cursor.fetchall()
        connection.close()
        return bool(cipher)

    assert not opened(mode="disable")
    for mode in ("prefer", "require", "verify-ca", "verify-full"):
        assert opened(mode=mode, ca=ca)
    assert opened(mode="require", ca=stranger)
    for mode in ("verify-ca", "verify-full"):
        for keys in ({"ca": stranger}, {}):
            error = refusal(own, tls={"mode": mode, **keys})
            assert isinstance(error, SourceRefused)
            assert "TLS failed: " in str(error)
            assert "certificate" in str(error)
            assert "source.tls" in error.hint
    config = config_of(own, host="localhost", tls={"mode": "verify-full", "ca": ca})
    with pytest.raises(SourceRefused, match="not valid for 'localhost'"):
        connect(config, application="test")
    own.execute("create user careful@'%' require x509")
    own.execute("grant select on *.* to careful@'%'")
    assert "refused user careful" in str(refusal(own, user="careful", tls={"mode": "require"}))
    certificate = {"cert": ours.folder / "client.pem", "key": ours.folder / "client-key.pem"}
    connect(
        config_of(own, user="careful", tls={"mode": "verify-full", "ca": ca, **certificate}), application="t"
    ).close()


@pytest.mark.mysql
def test_tls_that_cannot_be_had_is_refused(mysql: MysqlDatabase, tmp_path: Path) -> None:
    if mysql.kind.name == "mariadb1011":
        error = refusal(mysql, tls={"mode": "require"})
        assert isinstance(error, SourceRefused)
        assert "SSL is required but the server doesn't support it" in str(error)
    (tmp_path / "text.pem").write_text("no certificate")
    for key, path, cause in (
        ("ca", tmp_path / "none.pem", "No such file"),
        ("cert", tmp_path / "none.pem", "No such file"),
        ("ca", tmp_path / "text.pem", "no certificate in PEM format"),
        ("cert", tmp_path / "text.pem", "no certificate in PEM format"),
    ):
        error = refusal(mysql, tls={"mode": "require", key: path})
        assert isinstance(error, SourceMisconfigured)
        assert str(error).startswith(f"source.tls.{key}: {path} ")
        assert cause in str(error)
