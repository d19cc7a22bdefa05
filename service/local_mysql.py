"""A MySQL or MariaDB server of our own, in a folder of its own, for the demo."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pymysql

Flavor = Literal["mysql", "mariadb"]
_PROGRAMS = {"mysql": ("mysqld",), "mariadb": ("mariadbd", "mysqld")}
_USUAL_FOLDERS = (
    *("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin", "/usr/local/mariadb/bin"),
    *("/opt/homebrew/opt/mysql/bin", "/opt/homebrew/opt/mariadb/bin"),
    *("/usr/local/opt/mysql/bin", "/usr/local/opt/mariadb/bin"),
)
_SETTINGS = {
    "bind-address": "127.0.0.1",
    "server-id": "1",
    "log-bin": "binlog",
    "loose-binlog-format": "ROW",  # MySQL is to lose this setting, as there will be no other format
    "binlog-row-metadata": "FULL",
    "innodb-buffer-pool-size": "64M",
    "character-set-server": "utf8mb4",
}
_MYSQL_SETTINGS = {
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "secure-file-priv": "NULL",
    "loose-mysqlx": "OFF",
}


class MysqlFailed(Exception):
    """A server program did not do what it was started for. `hint` tells in one sentence what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Program(NamedTuple):
    path: Path
    flavor: Flavor


def find(flavor: Flavor, folder: Path | None) -> Program | None:
    """The server's program in `folder`, else on PATH and where packages put it. None where there is none."""
    folders = [str(folder)] if folder else [*os.environ.get("PATH", "").split(os.pathsep), *_USUAL_FOLDERS]
    for name in _PROGRAMS[flavor]:
        found = shutil.which(name, path=os.pathsep.join(folders))
        # MariaDB goes by the name of MySQL's program, too.
        if found and ("MariaDB" in _said(Path(found), "--version")) == (flavor == "mariadb"):
            return Program(Path(found), flavor)
    return None


class LocalMysql:
    """One server below `folder`, on 127.0.0.1; its `root` has no password."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._common = ["--no-defaults", f"--datadir={self.data}", f"--user={pwd.getpwuid(os.geteuid()).pw_name}"]
        self.folder.mkdir(parents=True, exist_ok=True)

    def initialize(self) -> None:
        """Make the system's own tables. Raises MysqlFailed."""
        if self.program.flavor == "mysql":
            self._run(["--initialize-insecure", "--secure-file-priv=NULL"], b"")
            return
        (self.data / "mysql").mkdir(parents=True)
        self._run(["--bootstrap", "--log-warnings=0", "--max-allowed-packet=8M"], b"".join(self._system_tables()))

    def start(self, timeout_s: float = 180) -> None:
        """Return when the server accepts connections. Raises MysqlFailed."""
        settings = {**_SETTINGS, **(_MYSQL_SETTINGS if self.program.flavor == "mysql" else {})}
        places = {"port": str(self.port), "socket": str(self.folder / "socket"), "pid-file": str(self.folder / "pid")}
        options = [f"--{name}={value}" for name, value in {**settings, **places}.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program.path, *self._common, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for the program that started us; it stops the server in its turn.
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(pymysql.OperationalError):
                self.connect().close()
                return
            if self._process.poll() is not None:
                raise MysqlFailed(f"{self._name} ended at its start: {self._last_words()}", f"read {self.log}")
            if time.monotonic() > deadline:
                raise MysqlFailed(f"{self._name} did not answer within {timeout_s:g} s", f"read {self.log}")
            time.sleep(0.05)

    def connect(self, **options: Any) -> "pymysql.connections.Connection[Any]":
        """As root, in autocommit. Raises pymysql.OperationalError."""
        address = {"host": "127.0.0.1", "port": self.port, "user": "root", "charset": "utf8mb4"}
        return pymysql.connect(**address, autocommit=True, **options)  # type: ignore[call-overload,no-any-return]

    @property
    def version(self) -> str:
        """``9.7.4``."""
        found = re.search(r"Ver (\d+\.\d+\.\d+)", _said(self.program.path, "--version"))
        return found[1] if found else "of an unknown version"

    def remove(self) -> None:
        """Kill the server and delete its folder."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _name(self) -> str:
        return self.program.path.name

    def _run(self, options: list[str], statements: bytes) -> None:
        with self.log.open("ab") as log:
            done = subprocess.run(
                [self.program.path, *self._common, *options],
                cwd=self.folder,
                input=statements,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise MysqlFailed(f"{self._name} could not make a new database: {self._last_words()}", f"read {self.log}")

    def _system_tables(self) -> Iterator[bytes]:
        """What mariadb-install-db feeds to the server."""
        share = self._share()
        yield b"create database if not exists mysql;\nuse mysql;\n"
        yield b"set @auth_root_socket = NULL, @skip_auth_anonymous = 1;\n"
        for part in ("system_tables", "performance_tables", "system_tables_data", "sys_schema"):
            for prefix in ("mysql_", "mariadb_"):
                script = share / f"{prefix}{part}.sql"
                if script.exists():
                    yield script.read_bytes()

    def _share(self) -> Path:
        """The folder of the server's scripts. Raises MysqlFailed."""
        said = _said(self.program.path, "--no-defaults", "--verbose", "--help")
        values = dict(line.split(None, 1) for line in said.splitlines() if len(line.split(None, 1)) == 2)
        messages = Path(values.get("lc-messages-dir", ""))
        folders = [messages] if messages.is_absolute() else []  # `(No default value)` is none
        for base in (Path(values.get("basedir", "/usr")), self.program.path.resolve().parent.parent):
            folders += [base / "share" / "mysql", base / "share" / "mariadb", base / "share"]
        for folder in folders:
            if any((folder / f"{prefix}_system_tables.sql").exists() for prefix in ("mysql", "mariadb")):
                return folder
        raise MysqlFailed(
            f"the scripts that belong to {self.program.path} are in none of {', '.join(map(str, folders))}",
            "install the server's whole package, or name another by --server-programs DIR",
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-20:] if self.log.exists() else []
        errors = [line for line in lines if "ERROR" in line]
        return (errors or lines or ["it said nothing"])[-1]


def _said(program: Path, *options: str) -> str:
    done = subprocess.run([program, *options], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
