"""The table that is measured, and what is written to it. All rows are made by the server.

    python -m tests.bench.workload DSN FIRST_ID ROWS_PER_S SECONDS ROWS_PER_TRANSACTION

writes transactions at a steady rate, and prints how many rows.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

TABLE = "public.orders"
WRITERS = 4

SCHEMA = f"""
create table {TABLE} (
    id bigint primary key,
    quantity int not null,
    customer varchar(60) not null,
    email varchar(80),
    price numeric(10,2) not null,
    placed_at timestamptz not null,
    paid boolean not null,
    weight double precision,
    attributes jsonb,
    cancelled_at timestamp
)
"""

_ROW = """
    i, mod(i, 1000), 'customer with number ' || mod(i, 100000),
    'customer.' || mod(i, 100000) || '@purchasing.department.example.com',
    mod(i, 1000000) / 100.0, timestamptz '2026-01-01' + i * interval '1.000001 s', mod(i, 2) = 0, i / 7.0::float8,
    jsonb_build_object('color', 'green', 'size', mod(i, 50), 'tags', jsonb_build_array('new', 'sale')), null
"""


def load(connection: psycopg.Connection[Any], first: int, rows: int, per_transaction: int) -> None:
    """Insert `rows` rows from id `first` on, in transactions of `per_transaction`. Wants an autocommit connection."""
    connection.execute(f"""
        do $$ begin
            for begin_id in {first}..{first + rows - 1} by {per_transaction} loop
                insert into {TABLE} select {_ROW}
                from generate_series(begin_id, least(begin_id + {per_transaction}, {first + rows}) - 1) i;
                commit;
            end loop;
        end $$
    """)


def write_steadily(dsn: str, first: int, rows_per_s: int, seconds: float, per_transaction: int = 1) -> int:
    """Transactions of several sessions, each at its time; how many rows were written."""
    transactions_per_s = rows_per_s / per_transaction
    transactions = int(transactions_per_s * seconds)
    insert = f"insert into {TABLE} select {_ROW} from generate_series(%s::bigint, %s::bigint) i"
    started = time.monotonic()

    def write(nth: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for i in range(nth, transactions, WRITERS):
                time.sleep(max(0.0, started + i / transactions_per_s - time.monotonic()))
                begin_id = first + i * per_transaction
                connection.execute(insert, [begin_id, begin_id + per_transaction - 1])

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    return transactions * per_transaction


if __name__ == "__main__":
    _, address, first_id, rate, duration, together = sys.argv
    print(write_steadily(address, int(first_id), int(rate), float(duration), int(together)))
