"""Fixtures that every test may ask for; what they give is described in tests/servers.py."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from service import implementation
from tests import kafka_servers, mysql_servers, offset_stores, redis_servers, registry_servers
from tests.kafka_servers import Kafka, LocalKafka, OwnKafka
from tests.mysql_servers import Address, Kind, LocalMysql, MysqlDatabase, OwnMysql
from tests.offset_stores import MakePlace, Place
from tests.redis_servers import LocalRedis
from tests.registry_servers import LocalRegistry, OwnRegistry, Registry
from tests.servers import VERSIONS, Database, OwnPostgres, Tailrace, find_server, serve, skip, start_programs

# A shell's background job ignores Ctrl-C, and the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    rungs = ((version, find_server(version)) for version in VERSIONS)
    servers = [f"postgres {version}: {rung.kind} ({_without_password(rung.place)})" for version, rung in rungs]
    servers += [
        f"{kind.name}: {rung.kind} ({_without_password(rung.place)})"
        for kind, rung in ((kind, mysql_servers.find_server(kind)) for kind in mysql_servers.KINDS)
    ]
    others = (kafka_servers.find_kafka(), registry_servers.find_registry(), redis_servers.find_redis())
    for name, rung in zip(("kafka", "registry", "redis"), others, strict=True):
        servers.append(f"{name}: {rung.kind} ({_without_password(rung.place)})")
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


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[str]:
    """The bootstrap servers of a broker that the whole session shares."""
    yield from kafka_servers.serve()


@pytest.fixture
def kafka(kafka_server: str) -> Iterator[Kafka]:
    """A prefix of the test's own for topics on the shared broker; they are deleted afterwards."""
    cluster = Kafka(kafka_server)
    yield cluster
    cluster.drop()
    cluster.close()


OwnKafkaFactory = Callable[..., OwnKafka]


@pytest.fixture
def own_kafka() -> Iterator[OwnKafkaFactory]:
    """Starts a cluster for a test that stops it or needs other settings:
    `own_kafka(3, "min.insync.replicas=2")`, `own_kafka(1, *sasl_settings, clients="SASL_SSL")`."""
    started: list[OwnKafka] = []

    def start(nodes: int = 1, *settings: str, clients: kafka_servers.Protocol | None = None) -> OwnKafka:
        own = OwnKafka(LocalKafka(nodes, settings, clients=clients))
        started.append(own)
        own.server.start()
        return own

    yield start
    for own in started:
        own.remove()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes; ask for it before the server that fills it: `small_disk(16 << 20)`."""
    mounted: list[Path] = []

    def mount(size_bytes: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def registry_server() -> Iterator[str]:
    """The address of an Apicurio server that the whole session shares: nobody changes what is global there."""
    yield from registry_servers.serve()


@pytest.fixture
def registry(registry_server: str) -> Iterator[Registry]:
    """A prefix of the test's own for subjects on the shared registry; they are deleted afterwards."""
    shared = Registry(registry_server)
    yield shared
    shared.drop()
    shared.close()


OwnRegistryFactory = Callable[..., OwnRegistry]


@pytest.fixture
def own_registry() -> Iterator[OwnRegistryFactory]:
    """Starts registries for a test that stops them or needs other settings:
    `own_registry("quarkus.http.auth.basic=true")`."""
    started: list[OwnRegistry] = []

    def start(*settings: str) -> OwnRegistry:
        own = OwnRegistry(LocalRegistry(settings))
        started.append(own)
        own.server.start()
        return own

    yield start
    for own in started:
        own.remove()


@pytest.fixture(scope="session", params=offset_stores.KINDS)
def offset_server(request: pytest.FixtureRequest) -> Iterator[MakePlace]:
    """Once for every offset store; the whole session shares its server."""
    yield from offset_stores.serve(request.param)


@pytest.fixture
def place(offset_server: MakePlace, tmp_path: Path) -> Iterator[Place]:
    """Where a test's own offsets lie."""
    made = offset_server(tmp_path)
    yield made
    made.drop()


OwnRedisFactory = Callable[..., LocalRedis]


@pytest.fixture
def own_redis() -> Iterator[OwnRedisFactory]:
    """Starts servers for a test that stops them or needs other settings: `own_redis("--requirepass", "secret")`."""
    started: list[LocalRedis] = []

    def start(*settings: str) -> LocalRedis:
        server = LocalRedis(settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.remove()


@pytest.fixture
def tailrace(tmp_path: Path) -> Iterator[Tailrace]:
    """The command as a user runs it, with a state folder of its own."""
    command = Tailrace(tmp_path)
    yield command
    command.close()
