"""Fixtures that every test may ask for; what they give is described in tests/servers.py."""

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from service import implementation
from tests import mysql_servers
from tests.mysql_servers import Address, Kind, LocalMysql, MysqlDatabase, OwnMysql
from tests.servers import VERSIONS, Database, OwnPostgres, Tailrace, find_server, serve, start_programs

# A shell's background job ignores Ctrl-C, and the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    rungs = ((version, find_server(version)) for version in VERSIONS)
    servers = [f"postgres {version}: {rung.kind} ({_without_password(rung.place)})" for version, rung in rungs]
    servers += [
        f"{kind.name}: {rung.kind} ({_without_password(rung.place)})"
        for kind, rung in ((kind, mysql_servers.find_server(kind)) for kind in mysql_servers.KINDS)
    ]
    return [f"tailrace: {implementation()}", *servers]


def _without_password(place: str) -> str:
    return place if "password" not in place and "@" not in place else "address from the environment"


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"postgres{version}")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """(version, the superuser's DSN) of a server that the whole session shares."""
    for dsn in serve(request.param):
        yield request.param, dsn


@pytest.fixture
def postgres(postgres_server: tuple[int, str], tmp_path: Path) -> Iterator[Database]:
    """A fresh database, once on every version."""
    version, dsn = postgres_server
    database = Database(dsn, version, tmp_path)
    yield database
    database.drop()


OwnPostgresFactory = Callable[..., OwnPostgres]


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[OwnPostgresFactory]:
    """Starts servers for a test that stops them or needs other settings:
    `own_postgres(version=18, settings={"wal_level": "replica"}, password="secret")`."""
    started: list[OwnPostgres] = []

    def start(version: int = 18, settings: Mapping[str, str] | None = None, password: str | None = None) -> OwnPostgres:
        own = OwnPostgres(start_programs(version, settings, password), version, tmp_path)
        started.append(own)
        return own

    yield start
    for own in started:
        own.remove()


@pytest.fixture(autouse=True)
def whole_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stalls for a moment cuts no small transaction into two batches, the first without a position."""
    for source in ("connectors.postgres.source", "connectors.mysql.source"):
        monkeypatch.setattr(f"{source}.LINGER_INSIDE_S", 5.0)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.snapshot.CHUNK_FIRST_ROWS", 50)
    monkeypatch.setattr("connectors.snapshot.CHUNK_MOST_ROWS", 50)


@pytest.fixture(scope="session", params=mysql_servers.KINDS, ids=lambda kind: kind.name)
def mysql_server(request: pytest.FixtureRequest) -> Iterator[tuple[Kind, Address]]:
    """A server that the whole session shares: root may change nothing that is global."""
    for address in mysql_servers.serve(request.param):
        yield request.param, address


@pytest.fixture
def mysql(mysql_server: tuple[Kind, Address], tmp_path: Path) -> Iterator[MysqlDatabase]:
    """A fresh database, once on MySQL and on every MariaDB."""
    database = MysqlDatabase(*mysql_server, tmp_path)
    yield database
    database.drop()


OwnMysqlFactory = Callable[..., OwnMysql]


@pytest.fixture
def own_mysql(tmp_path: Path) -> Iterator[OwnMysqlFactory]:
    """Starts servers for a test that stops them or needs other settings:
    `own_mysql("mariadb118", "--binlog-row-metadata=MINIMAL")`."""
    started: list[OwnMysql] = []

    def start(kind: str = "mysql97", *settings: str) -> OwnMysql:
        server = LocalMysql(mysql_servers.BY_NAME[kind], settings)
        server.start()
        own = OwnMysql(server, tmp_path)
        started.append(own)
        return own

    yield start
    for own in started:
        own.remove()


@pytest.fixture
def tailrace(tmp_path: Path) -> Iterator[Tailrace]:
    """The command as a user runs it, with a state folder of its own."""
    command = Tailrace(tmp_path)
    yield command
    command.close()
