"""The demo on MySQL or MariaDB: a server of this machine's programs, its tables, and the workload's SQL."""

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE

from service import exits
from service.demo_events import Row
from service.demo_stage import DemoFailed, Rollback
from service.local_mysql import Flavor, LocalMysql, MysqlFailed, find

DATABASE = "shop"
NAMES = {"mysql": "MySQL", "mariadb": "MariaDB"}
SCHEMA = """
create database shop character set utf8mb4 collate utf8mb4_bin;
use shop;

create table customers (
    id bigint primary key,
    name varchar(200) not null,
    balance decimal(12,2) not null default 0,
    vip boolean not null default false,
    settings json,
    notes text,
    created_at timestamp(6) not null default current_timestamp(6)
);

create table orders (
    region varchar(10),
    number int,
    customer_id bigint not null,
    status enum('placed', 'paid', 'sent', 'returned') not null,
    total decimal(10,2) not null,
    tags json,
    placed_at datetime(6) not null,
    due date,
    primary key (region, number)
);

create table products (
    sku varchar(40) primary key,
    title varchar(200) not null,
    weight_kg double,
    photo varbinary(16),
    supplier char(36),
    description text
);
"""


class MysqlStage:
    schema = DATABASE

    def __init__(self, server: LocalMysql, admin: "pymysql.connections.Connection[Any]") -> None:
        flavor = server.program.flavor
        self.server = f"{NAMES[flavor]} {server.version}"
        self.port = server.port
        self.source: dict[str, Any] = {
            "type": flavor,
            "host": "127.0.0.1",
            "port": server.port,
            "user": "root",
            "databases": [DATABASE],
        }
        self.workload = ("mysql", str(server.port))
        self._admin = admin

    def rows(self, table: str) -> list[Row]:
        with self._admin.cursor() as cursor:
            cursor.execute(f"select * from {DATABASE}.{table}")
            assert cursor.description
            names = [column[0] for column in cursor.description]
            instants = {column[0] for column in cursor.description if column[1] == FIELD_TYPE.TIMESTAMP}
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for row in rows:  # the session's zone is UTC, and PyMySQL says nothing of zones
            row.update({name: row[name].replace(tzinfo=dt.UTC) for name in instants})
        return rows


@contextmanager
def stage(flavor: Flavor, programs: Path | None) -> Iterator[MysqlStage]:
    """`programs` is the folder of the server's program, None: PATH and the usual ones. Raises DemoFailed."""
    program = find(flavor, programs)
    if program is None:
        where = f"in {programs}" if programs else "on PATH or in the usual folders"
        raise DemoFailed(
            f"there is no {NAMES[flavor]} server {where}",
            f"install {NAMES[flavor]}, or name the folder of its program by --server-programs DIR",
            exits.MISCONFIGURED,
        )
    server = LocalMysql(program, Path(tempfile.mkdtemp(prefix="tailrace-demo-")))
    try:
        server.initialize()
        server.start()
        with closing(server.connect(init_command="set time_zone = '+00:00'")) as admin, admin.cursor() as cursor:
            for statement in filter(str.strip, SCHEMA.split(";")):
                cursor.execute(statement)
            yield MysqlStage(server, admin)
    except MysqlFailed as failed:
        raise DemoFailed(str(failed), failed.hint) from None
    finally:
        server.remove()


class MysqlWriter:
    """The workload's connection."""

    a_customer = "id >= %s order by id limit 1"
    an_order = "region = %s and number >= %s order by number limit 1"
    a_product = "sku >= %s order by sku limit 1"
    now = "now(6)"
    new_uuid = "uuid()"

    def __init__(self, connection: "pymysql.connections.Connection[Any]") -> None:
        self._cursor = connection.cursor()
        self._depth = 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._cursor.execute(sql, values or None)

    def transaction(self) -> AbstractContextManager[None]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        begin, commit, roll_back = (
            (f"savepoint s{self._depth}", f"release savepoint s{self._depth}", f"rollback to savepoint s{self._depth}")
            if self._depth
            else ("begin", "commit", "rollback")
        )
        self.execute(begin)
        self._depth += 1
        try:
            yield
        except Rollback:
            self.execute(roll_back)
        else:
            self.execute(commit)
        finally:
            self._depth -= 1

    def text_list(self, texts: Sequence[str | None] | None) -> str | None:
        return None if texts is None else json.dumps(texts)


@contextmanager
def writer(port: int) -> Iterator[MysqlWriter]:
    address = {"host": "127.0.0.1", "port": port, "user": "root", "database": DATABASE, "charset": "utf8mb4"}
    with closing(pymysql.connect(**address, autocommit=True)) as connection:  # type: ignore[call-overload]
        yield MysqlWriter(connection)
