"""Offset stores for tests: each gives places of a test's own, on a real server where it has one."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import redis
from psycopg.conninfo import conninfo_to_dict

import offsets
from offsets.base import OffsetStore
from service.state import State
from tests import kafka_servers, mysql_servers, redis_servers, servers
from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.servers import PASSWORD_VARIABLE, VERSIONS, Database

Section = dict[str, Any]
KINDS = ("sqlite", *(f"postgres{version}" for version in VERSIONS), *mysql_servers.BY_NAME, "redis", "kafka")
SERVERS = KINDS[1:]

_serial = itertools.count(1)


class Place(NamedTuple):
    """`section` is the connector file's `offsets`; `password` is what its reference stands for."""

    section: Section
    folder: Path
    password: str
    drop: Callable[[], None]

    @property
    def type(self) -> str:
        return str(self.section["type"])

    def open(self, clock: Callable[[], float] = time.time, **keys: Any) -> OffsetStore:
        """A store as a process of its own would have it; `keys` are laid over the section's."""
        if self.type == "sqlite":
            state = State.open(self.folder / "state")
            return offsets.load("sqlite")(state.path, clock)  # type: ignore[no-any-return]
        store = offsets.load(self.type)
        section = {**self.section, **keys}
        if self.password:
            section.setdefault("password", self.password)
            section["password"] = section["password"].replace(reference(), self.password)
        opened: OffsetStore = store(store.Config(**section), clock)
        return opened


MakePlace = Callable[[Path], Place]


def reference() -> str:
    return f"${{env:{PASSWORD_VARIABLE}}}"


def serve(kind: str) -> Iterator[MakePlace]:
    """Yields what makes places; its server runs meanwhile."""
    if kind == "sqlite":
        yield lambda folder: Place({"type": "sqlite"}, folder, "", lambda: None)
    elif kind == "redis":
        for host, port in redis_servers.serve():
            yield lambda folder, host=host, port=port: redis_place(host, port, folder)  # type: ignore[misc]
    elif kind == "kafka":
        for bootstrap in kafka_servers.serve():
            yield lambda folder, bootstrap=bootstrap: kafka_place(Kafka(bootstrap), folder)  # type: ignore[misc]
    elif kind in mysql_servers.BY_NAME:
        for address in mysql_servers.serve(mysql_servers.BY_NAME[kind]):
            yield lambda folder, address=address: mysql_place(  # type: ignore[misc]
                MysqlDatabase(mysql_servers.BY_NAME[kind], address, folder)
            )
    else:
        version = int(kind.removeprefix("postgres"))
        for dsn in servers.serve(version):
            yield lambda folder, dsn=dsn: postgres_place(Database(dsn, version, folder))  # type: ignore[misc]


def postgres_place(database: Database) -> Place:
    address = conninfo_to_dict(database.dsn)
    section: Section = {
        "type": "postgres",
        "host": address["host"],
        "port": int(address.get("port") or 5432),
        "database": database.name,
        "user": address["user"],
    }
    return _with_password(section, str(address.get("password") or ""), database.folder, database.drop)


def mysql_place(database: MysqlDatabase) -> Place:
    address = database.address
    section: Section = {"type": "mysql", "host": address.host, "port": address.port, "user": address.user}
    section["database"] = database.name
    return _with_password(section, address.password, database.folder, database.drop)


def redis_place(host: str, port: int, folder: Path) -> Place:
    prefix = f"test:{os.getpid()}:{next(_serial)}:"

    def drop() -> None:
        with redis.Redis(host=host, port=port) as client:
            for key in client.scan_iter(match=f"{prefix}*"):
                client.delete(key)

    return Place({"type": "redis", "host": host, "port": port, "prefix": prefix}, folder, "", drop)


def kafka_place(kafka: Kafka, folder: Path) -> Place:
    section = {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topic": f"{kafka.prefix}_offsets"}
    return Place(section, folder, "", kafka.drop)


def _with_password(section: Mapping[str, Any], password: str, folder: Path, drop: Callable[[], None]) -> Place:
    if not password:
        return Place(dict(section), folder, "", drop)
    os.environ[PASSWORD_VARIABLE] = password
    return Place({**section, "password": reference()}, folder, password, drop)
