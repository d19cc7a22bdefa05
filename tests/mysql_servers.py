"""Real MySQL and MariaDB servers for tests.

A server is found by a ladder: an address from the environment (`TAILRACE_TEST_MYSQL_97`, `TAILRACE_TEST_MARIADB_1011`,
`_118`: ``mysql://root:password@host:port``), server programs that `.ci/servers` unpacked, a container. Where none is
found the test is skipped, which CI refuses.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import pymysql
from pymysql.constants import ER

from tests.servers import PASSWORD_VARIABLE, ROOT, Rung, docker_answers, is_gone, skip, until

PROGRAMS = Path(os.environ.get("TAILRACE_TEST_SERVERS") or Path.home() / ".cache" / "tailrace-servers")

_serial = itertools.count(1)


class Kind(NamedTuple):
    """One server that tests run on; `rig` is the script in tests/rig that starts its programs."""

    name: str
    rig: Literal["mysql", "mariadb"]
    variable: str
    image: str


KINDS = (
    Kind("mysql97", "mysql", "TAILRACE_TEST_MYSQL_97", "mysql:9.7"),
    Kind("mariadb1011", "mariadb", "TAILRACE_TEST_MARIADB_1011", "mariadb:10.11"),
    Kind("mariadb118", "mariadb", "TAILRACE_TEST_MARIADB_118", "mariadb:11.8"),
)
BY_NAME = {kind.name: kind for kind in KINDS}


class Address(NamedTuple):
    host: str
    port: int
    user: str
    password: str


def find_server(kind: Kind) -> Rung:
    """The first rung of the ladder that holds. Starts nothing."""
    if url := os.environ.get(kind.variable):
        return Rung("environment", url)
    if (PROGRAMS / kind.name / "VERSION").exists():
        return Rung("programs", str(PROGRAMS / kind.name))
    if docker_answers():
        return Rung("container", kind.image)
    return Rung("none", f"no {kind.name}: set {kind.variable}, run .ci/servers, or start docker")


class LocalMysql:
    """A server of our own on 127.0.0.1, started by the rig's script: root without a password."""

    def __init__(self, kind: Kind, settings: Sequence[str] = (), port: int = 0) -> None:
        """`settings` are options as the server's command line has them: ``--binlog-format=MIXED``."""
        if find_server(kind).kind != "programs":
            skip(f"no programs of {kind.name} on this machine: run .ci/servers")
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="tailrace-mysql-"))
        self.programs = PROGRAMS / kind.name
        self.settings = list(settings)
        self.port = port or _free_port()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, "root", "")

    @property
    def data(self) -> Path:
        """Where the binlogs lie."""
        return self.folder / "data"

    def start(self) -> None:
        """With `settings` as they are now, so a change takes effect here."""
        self._rig("start", str(self.programs), str(self.folder), str(self.port), *self.settings)

    def stop(self) -> None:
        self._rig("stop", str(self.folder))

    def signal(self, signum: signal.Signals) -> None:
        """To the server's process: SIGSTOP freezes it, SIGKILL is a crash; `start` brings it up again."""
        os.kill(self._pid(), signum)

    def kill(self) -> None:
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_gone(pid), "the killed server is gone")
        # Where nobody reaps the dead process, MySQL believes that it still holds the socket.
        (self.folder / "server.sock.lock").unlink(missing_ok=True)

    def program(self, name: str) -> str:
        """The path of a client program: ``mysqlbinlog``, ``mariadb-binlog``."""
        return str(self.programs / "bin" / name)

    def remove(self) -> None:
        if self._lives():
            self.signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pid(self) -> int:
        return int((self.folder / "server.pid").read_text())

    def _lives(self) -> bool:
        done = subprocess.run(
            [ROOT / "tests" / "rig" / self.kind.rig, "status", self.folder], capture_output=True, check=False
        )
        return done.returncode == 0

    def _rig(self, *arguments: str) -> None:
        done = subprocess.run(
            [ROOT / "tests" / "rig" / self.kind.rig, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments[0]} of {self.kind.name}: {done.stderr[-2000:]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(kind: Kind) -> Iterator[Address]:
    """Yields the address of a running server, from whichever rung."""
    rung = find_server(kind)
    if rung.kind == "environment":
        parts = urlsplit(rung.place)
        yield Address(parts.hostname or "127.0.0.1", parts.port or 3306, parts.username or "root", parts.password or "")
    elif rung.kind == "programs":
        server = LocalMysql(kind)
        server.start()
        yield server.address
        server.remove()
    elif rung.kind == "container":
        yield from _serve_container(kind, rung.place)
    else:
        skip(rung.place)


def _serve_container(kind: Kind, image: str) -> Iterator[Address]:
    from testcontainers.mysql import MySqlContainer

    options = "--log-bin=binlog --server-id=1 --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL"
    if kind.rig == "mysql":
        options += " --gtid-mode=ON --enforce-gtid-consistency=ON"
    container = MySqlContainer(image, username="root", root_password="test").with_command(options)
    with container:
        yield Address(container.get_container_host_ip(), int(container.get_exposed_port(3306)), "root", "test")


class MysqlDatabase:
    """A database of a test's own on a real server.

    `admin` is root's connection in autocommit; `folder` is where its connectors' files go.
    """

    def __init__(self, kind: Kind, address: Address, folder: Path) -> None:
        self.kind = kind
        self.flavor = kind.rig
        self.address = address
        self.folder = folder
        self.name = f"test_{os.getpid()}_{next(_serial)}"
        self.admin = self.connect(database=None)
        self.execute(f"create database {self.name} character set utf8mb4")
        self.admin.select_db(self.name)

    def connect(self, *, user: str = "", password: str = "", database: str | None = "", **options: Any) -> Any:
        """A PyMySQL connection in autocommit, as root where no `user` is given."""
        return pymysql.connect(
            host=self.address.host,
            port=self.address.port,
            user=user or self.address.user,
            password=password if user else self.address.password,
            database=self.name if database == "" else database,
            autocommit=True,
            charset="utf8mb4",
            **options,
        )

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as root; its rows, none where it gives none."""
        with self.admin.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def dumps(self) -> list[int]:
        """The server's threads that send its log, also to readers whose end it has not noticed."""
        rows = self.execute("select id from information_schema.processlist where command like 'Binlog Dump%'")
        return [thread for (thread,) in rows]

    def cut(self) -> int:
        """The server ends every connection through which it sends its log; how many."""
        dumps = self.dumps()
        for thread in dumps:
            try:
                self.execute(f"kill {thread}")
            except pymysql.MySQLError as error:  # of a reader whose end the server has just noticed
                if error.args[0] != ER.NO_SUCH_THREAD:
                    raise
        return len(dumps)

    def rotate(self) -> None:
        """Go on in a new binlog. MariaDB marks it as all that a recovery needs, at once or some transactions later.

        Until then it keeps the files before; and the mark must not come between a test's transactions.
        """
        self.execute("flush binary logs")
        if self.flavor == "mariadb":
            [(file, *_)] = self.execute("show master status")
            events = f"show binlog events in '{file}'"
            until(lambda: ("Binlog_checkpoint", file) in ((row[2], row[5]) for row in self.execute(events)), "the mark")

    def connector(
        self, name: str = "shop", *, source: Mapping[str, Any] | None = None, **sections: Any
    ) -> dict[str, Any]:
        """A connector file's content: this database into `folder/out` as jsonl.

        `source` is laid over the source section's keys; any other section replaces the default.
        """
        reach: dict[str, Any] = {
            "type": self.flavor,
            "host": self.address.host,
            "port": self.address.port,
            "user": self.address.user,
            "databases": [self.name],
        }
        if self.address.password:
            os.environ[PASSWORD_VARIABLE] = self.address.password
            reach["password"] = f"${{env:{PASSWORD_VARIABLE}}}"
        sink = {"type": "files", "directory": str(self.folder / "out"), "format": "jsonl"}
        return {"name": name, "source": {**reach, **(source or {})}, "sink": sink, **sections}

    def drop(self) -> None:
        self.execute(f"drop database if exists {self.name}")
        self.admin.close()


class OwnMysql(MysqlDatabase):
    """A database on a server of the test's own, which may be stopped, killed or set otherwise: `server`."""

    def __init__(self, server: LocalMysql, folder: Path) -> None:
        self.server = server
        self._replicas: list[LocalMysql] = []
        super().__init__(server.kind, server.address, folder)

    def reconnect(self) -> None:
        """A new `admin` after the server was restarted."""
        if self.admin.open:
            self.admin.close()
        self.admin = self.connect()

    def replica(self, *settings: str) -> "OwnMysql":
        """A running server that follows this one by GTID until it is told otherwise; its `name` is this database's."""
        server = LocalMysql(self.kind, [*self.server.settings, "--server-id=2", "--log-replica-updates=ON", *settings])
        if self.flavor == "mariadb":
            server.settings = [s.replace("--log-replica-updates=ON", "--log-slave-updates=ON") for s in server.settings]
        server.start()
        self._replicas.append(server)
        other = OwnMysql(server, self.folder)
        # What made the replica's own database is no transaction of ours.
        other.execute(f"drop database {other.name}")
        if self.flavor == "mysql":
            other.execute("reset binary logs and gtids")
            other.execute(
                f"change replication source to source_host='127.0.0.1', source_port={self.address.port},"
                " source_user='root', source_auto_position=1, get_source_public_key=1"
            )
            other.execute("start replica")
        else:
            other.execute("reset master")
            other.execute("set global gtid_slave_pos = ''")
            other.execute(
                f"change master to master_host='127.0.0.1', master_port={self.address.port}, master_user='root',"
                " master_use_gtid=slave_pos"
            )
            other.execute("start slave")
        other.name = self.name
        self.followed_by(other)
        other.admin.select_db(self.name)
        return other

    def followed_by(self, replica: "OwnMysql") -> None:
        """Wait until the replica has all that was committed here so far."""
        executed, wait = ("gtid_binlog_pos", "master_gtid_wait('{}', 120)")
        if self.flavor == "mysql":
            executed, wait = ("gtid_executed", "wait_for_executed_gtid_set('{}', 120)")
        [(gtids,)] = self.execute(f"select @@global.{executed}")
        assert replica.execute(f"select {wait.format(gtids)}") == [(0,)], f"the replica lacks some of {gtids}"

    def remove(self) -> None:
        if self.admin.open:
            self.admin.close()
        for server in (*self._replicas, self.server):
            server.remove()
