"""What the demo's users do all day: seeded transactions over three tables, until SIGTERM.

    python -m service.demo_workload DSN SEED

Prints how many transactions were committed and rolled back, as one JSON object, when it ends.
"""

import json
import random
import signal
import sys
import time
from typing import Any

import psycopg

TRANSACTIONS_PER_S = 250
KEYS = {"public.customers": ("id",), "public.orders": ("region", "number"), "public.products": ("sku",)}
REGIONS = ("north", "south", "east", "west")
STATUSES = ("placed", "paid", "sent", "returned")

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

A_CUSTOMER = "id = (select id from customers where id >= %s order by id limit 1)"
AN_ORDER = (
    "(region, number) = (select region, number from orders where region = %s and number >= %s order by number limit 1)"
)
A_PRODUCT = "sku = (select sku from products where sku >= %s order by sku limit 1)"

Connection = psycopg.Connection[tuple[Any, ...]]


class Workload:
    """Keys grow and are never used twice; an existing row is picked as the next one from a random key on."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self.connection = connection
        self.random = random.Random(seed)
        self.committed = 0
        self.rolled_back = 0
        self._customers = self._orders = self._products = 0
        self._changes = (
            (self.insert_customer, 3),
            (self.insert_order, 6),
            (self.insert_product, 2),
            (self.update_customer, 6),
            (self.update_order, 6),
            (self.update_product, 3),
            (self.delete_customer, 1),
            (self.delete_order, 3),
            (self.delete_product, 1),
            (self.move_order, 1),
            (self.rename_product, 1),
        )

    def fill(self, customers: int) -> None:
        """The rows that are there before the connector starts."""
        with self.connection.transaction():
            for _ in range(customers):
                self.insert_customer()
                self.insert_order()
                self.insert_product()

    def transaction(self) -> None:
        """Some changes, some of them behind a savepoint; one transaction in eight is rolled back."""
        keep = self.random.random() > 1 / 8
        with self.connection.transaction():
            for _ in range(self.random.randint(1, 5)):
                if self.random.random() < 0.15:
                    self.savepoint()
                else:
                    self.change()
            if not keep:
                raise psycopg.Rollback
        self.committed += keep
        self.rolled_back += not keep

    def savepoint(self) -> None:
        with self.connection.transaction():
            self.change()
            if self.random.random() < 0.5:
                raise psycopg.Rollback

    def change(self) -> None:
        changes, weights = zip(*self._changes, strict=True)
        self.random.choices(changes, weights)[0]()

    def insert_customer(self) -> None:
        self._customers += 1
        settings = {"language": self.random.choice(["de", "en", "fr", "日本語"]), "visits": self.random.randint(0, 99)}
        self.connection.execute(
            "insert into customers (id, name, balance, settings, notes) values (%s, %s, %s, %s, %s)",
            (self._customers, f"Customer {self._customers}", self.amount(), json.dumps(settings), self.long_text()),
        )

    def insert_order(self) -> None:
        self._orders += 1
        self.connection.execute(
            "insert into orders values (%s, %s, %s, %s, %s, %s, clock_timestamp(), %s)",
            (
                self.random.choice(REGIONS),
                self._orders,
                self.random.randint(1, self._customers),
                STATUSES[0],
                self.amount(),
                self.random.choice([None, [], ["gift"], ["fragile", None, "a,b"]]),
                self.random.choice([None, "2026-12-24", "1969-12-31"]),
            ),
        )

    def insert_product(self) -> None:
        self._products += 1
        self.connection.execute(
            "insert into products values (%s, %s, %s, %s, gen_random_uuid(), %s)",
            (
                f"sku-{self._products:07}",
                f'Product "{self._products}"\n\twith a \\ in its name',
                self.random.choice([None, 0.1, 1e-7, 12345.678]),
                self.random.randbytes(16),
                self.long_text(),
            ),
        )

    def update_customer(self) -> None:
        self.connection.execute(
            f"update customers set balance = balance + %s, vip = not vip where {A_CUSTOMER}",
            (self.amount(), self.random.randint(1, self._customers)),
        )

    def update_order(self) -> None:
        self.connection.execute(
            f"update orders set status = %s, total = %s where {AN_ORDER}",
            (self.random.choice(STATUSES), self.amount(), *self.some_order()),
        )

    def update_product(self) -> None:
        self.connection.execute(
            f"update products set title = title || '!', description = coalesce(%s, description) where {A_PRODUCT}",
            (self.random.choice([None, None, self.long_text()]), self.some_sku()),
        )

    def delete_customer(self) -> None:
        self.connection.execute(f"delete from customers where {A_CUSTOMER}", (self.random.randint(1, self._customers),))

    def delete_order(self) -> None:
        self.connection.execute(f"delete from orders where {AN_ORDER}", self.some_order())

    def delete_product(self) -> None:
        self.connection.execute(f"delete from products where {A_PRODUCT}", (self.some_sku(),))

    def move_order(self) -> None:
        """A change of one half of a composite key."""
        self.connection.execute(
            f"update orders set region = %s where {AN_ORDER}",
            (self.random.choice(REGIONS), *self.some_order()),
        )

    def rename_product(self) -> None:
        self._products += 1
        self.connection.execute(
            f"update products set sku = %s where {A_PRODUCT}",
            (f"sku-{self._products:07}", self.some_sku()),
        )

    def some_order(self) -> tuple[str, int]:
        return self.random.choice(REGIONS), self.random.randint(1, self._orders)

    def some_sku(self) -> str:
        return f"sku-{self.random.randint(1, self._products):07}"

    def amount(self) -> str:
        return f"{self.random.randint(-99_999, 999_999) / 100:.2f}"

    def long_text(self) -> str:
        """Long enough to be kept outside the row."""
        return self.random.randbytes(1500).hex()


def main(dsn: str, seed: int) -> None:
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    with psycopg.connect(dsn, autocommit=True) as connection:
        workload = Workload(connection, seed)
        workload.fill(500)
        print("filled", flush=True)
        started_at = time.monotonic()
        while running:
            workload.transaction()
            done = workload.committed + workload.rolled_back
            time.sleep(max(0.0, started_at + done / TRANSACTIONS_PER_S - time.monotonic()))
    print(json.dumps({"committed": workload.committed, "rolled_back": workload.rolled_back}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
