"""Offset stores for tests: each gives places of a test's own, on a real server where it has one."""

import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import redis
from psycopg.conninfo import conninfo_to_dict

import offsets
from offsets.base import OffsetStore
from service.local_postgres import LocalPostgres
from service.state import State
from tests import kafka_servers, mysql_servers, redis_servers, servers
from tests.kafka_servers import Kafka
from tests.mysql_servers import LocalMysql, MysqlDatabase, OwnMysql
from tests.redis_servers import LocalRedis
from tests.servers import PASSWORD_VARIABLE, VERSIONS, Database, OwnPostgres, until

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

    @property
    def address(self) -> str:
        """As errors name the server."""
        if self.type == "kafka":
            return str(self.section["bootstrap_servers"])
        return f"{self.section['host']}:{self.section['port']}"

    def elsewhere(self) -> "Place":
        """Where no server answers."""
        host, _, _ = self.address.partition(":")
        away = {"bootstrap_servers": f"{host}:1"} if self.type == "kafka" else {"port": 1}
        return self._replace(section={**self.section, **away})

    def store_class(self) -> Any:
        return offsets.load(self.type)

    def revealed(self, **keys: Any) -> Section:
        """The section with its password; `keys` are laid over it."""
        return {**self.section, **({"password": self.password} if self.password else {}), **keys}

    def config(self, **keys: Any) -> Any:
        return self.store_class().Config(**self.revealed(**keys))

    def open(self, clock: Callable[[], float] = time.time, **keys: Any) -> OffsetStore:
        """A store as a process of its own would have it; `keys` are laid over the section's."""
        if self.type == "sqlite":
            path = State.open(self.folder / "state").path
            return self.store_class()(path, clock)  # type: ignore[no-any-return]
        return self.store_class()(self.config(**keys), clock)  # type: ignore[no-any-return]


MakePlace = Callable[[Path], Place]


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
    return Place({**section, "password": f"${{env:{PASSWORD_VARIABLE}}}"}, folder, password, drop)


class OwnServer(ABC):
    """A store on a server of the test's own, which may be stopped, killed and set otherwise.

    `right` stands in the hint for a user who lacks it.
    """

    right: str

    def __init__(self, place: Place, server: LocalPostgres | LocalMysql | LocalRedis) -> None:
        self.place = place
        self._server = server

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()

    @abstractmethod
    def lose_hold(self, connector: str) -> None:
        """As a server does that takes a runner for dead."""

    @abstractmethod
    def put_other_runner(self, connector: str, said: str) -> None:
        """As a runner does that holds the connector on a server of the same cluster."""

    @abstractmethod
    def user_without_rights(self) -> str:
        """The name of a new user with the place's password, who may connect and no more."""

    @abstractmethod
    def user_of_documentation(self) -> str:
        """The name of a user with the rights that docs/offset-stores.md gives."""

    @abstractmethod
    def only_read(self, user: str) -> None:
        """From now on."""

    @abstractmethod
    def be_careless(self) -> None:
        """With what it has committed."""

    @abstractmethod
    def contents(self) -> object: ...

    def pass_hold_time(self, connector: str) -> None:  # noqa: B027 (most servers notice at once)
        """Let the time pass after which a dead runner's hold ends by itself."""


class _OwnPostgres(OwnServer):
    right = "grant usage, create on schema"

    def __init__(self, database: OwnPostgres) -> None:
        self._database = database
        super().__init__(postgres_place(database), database.server)

    def start(self) -> None:
        super().start()
        self._database.reconnect()

    def lose_hold(self, connector: str) -> None:
        self._database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tailrace offsets'"
        )

    def put_other_runner(self, connector: str, said: str) -> None:
        self._database.execute("update tailrace_offset_runner set token = 'x', runner = %s", said)

    def user_without_rights(self) -> str:
        self._database.execute("create role guest login password 'secret'")
        return "guest"

    def user_of_documentation(self) -> str:
        self._database.execute("create role tailrace_offsets login password 'secret'")
        self._database.execute("grant usage, create on schema public to tailrace_offsets")
        return "tailrace_offsets"

    def only_read(self, user: str) -> None:
        self._database.execute(f"alter role {user} set default_transaction_read_only = on")

    def be_careless(self) -> None:
        self._database.execute("alter system set fsync = off")
        self._database.execute("select pg_reload_conf()")
        until(lambda: self._database.execute("show fsync") == [("off",)], "fsync is off")

    def contents(self) -> object:
        return self._database.execute("select tablename from pg_tables where schemaname = 'public' order by 1")


class _OwnMysql(OwnServer):
    right = "grant select, insert, update, delete, create on"

    def __init__(self, database: OwnMysql) -> None:
        self._database = database
        database.execute("alter user 'root'@'localhost' identified by 'secret'")
        database.address = database.address._replace(password="secret")
        super().__init__(mysql_place(database), database.server)

    def start(self) -> None:
        super().start()
        self._database.reconnect()

    def lose_hold(self, connector: str) -> None:
        rows = self._database.execute(
            "select id from information_schema.processlist where db = %s and id <> connection_id()",
            self._database.name,
        )
        for (session,) in rows:
            self._database.execute(f"kill {session}")

    def put_other_runner(self, connector: str, said: str) -> None:
        self._database.execute("update tailrace_offset_runner set token = 'x', runner = %s", said)

    def user_without_rights(self) -> str:
        self._database.execute("create user guest@'%' identified by 'secret'")
        self._database.execute(f"grant show view on {self._database.name}.* to guest@'%'")
        return "guest"

    def user_of_documentation(self) -> str:
        name = self._database.name
        self._database.execute("create user tailrace_offsets@'%' identified by 'secret'")
        rights = "select, insert, update, delete, create"
        self._database.execute(f"grant {rights} on {name}.* to tailrace_offsets@'%'")
        return "tailrace_offsets"

    def only_read(self, user: str) -> None:
        self._database.execute("set global read_only = on")

    def be_careless(self) -> None:
        self._database.execute("set global innodb_flush_log_at_trx_commit = 2")

    def contents(self) -> object:
        return self._database.execute("show tables")


class _OwnRedis(OwnServer):
    right = "docs/offset-stores.md"

    def __init__(self, server: LocalRedis) -> None:
        self._redis = server.client(password="secret")
        section = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        super().__init__(_with_password(section, "secret", server.folder, lambda: None), server)

    def lose_hold(self, connector: str) -> None:
        self._redis.delete(f"tailrace:{{{connector}}}:runner")

    def put_other_runner(self, connector: str, said: str) -> None:
        self._redis.set(f"tailrace:{{{connector}}}:runner", f"x {said}")

    def user_without_rights(self) -> str:
        self._redis.execute_command("acl", "setuser", "guest", "on", ">secret", "+ping", "+client")
        return "guest"

    def user_of_documentation(self) -> str:
        self._redis.execute_command("acl", "setuser", "tailrace", *REDIS_RIGHTS.split(), ">secret")
        return "tailrace"

    def only_read(self, user: str) -> None:
        self._redis.replicaof("127.0.0.1", 1)

    def be_careless(self) -> None:
        self._redis.config_set("appendfsync", "everysec")

    def contents(self) -> object:
        return sorted(self._redis.keys())

    def pass_hold_time(self, connector: str) -> None:
        self._redis.pexpire(f"tailrace:{{{connector}}}:runner", 1)


REDIS_RIGHTS = (
    "on ~tailrace:* +@connection +eval +get +set +del +pexpire +hset +hdel +hmget +hgetall +rpush +lpop"
    " +lindex +lrange +scan +config|get"
)


def own_postgres_server(database: OwnPostgres) -> OwnServer:
    return _OwnPostgres(database)


def own_mysql_server(database: OwnMysql) -> OwnServer:
    return _OwnMysql(database)


def own_redis_server(server: LocalRedis) -> OwnServer:
    return _OwnRedis(server)
