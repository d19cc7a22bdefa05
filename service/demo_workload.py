"""What the demo's users do all day: seeded transactions over three tables, until SIGTERM.

    python -m service.demo_workload postgres DSN SEED
    python -m service.demo_workload mysql PORT SEED

Prints how many transactions were committed and rolled back, as one JSON object, when it ends.
"""

import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from service.demo_stage import Rollback

TRANSACTIONS_PER_S = 250
KEYS = {"customers": ("id",), "orders": ("region", "number"), "products": ("sku",)}
REGIONS = ("north", "south", "east", "west")
STATUSES = ("placed", "paid", "sent", "returned")


class Database(Protocol):
    """What the workload asks of a connection. `text_list` is a value for the column `tags`."""

    a_customer: str
    an_order: str
    a_product: str
    """Conditions: the next row from a random key on."""
    now: str
    new_uuid: str

    def execute(self, sql: str, values: Sequence[Any]) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """One inside another is a savepoint. A Rollback ends it quietly."""

    def text_list(self, texts: Sequence[str | None] | None) -> Any: ...


class Workload:
    """Keys grow and are never used twice; an existing row is picked as the next one from a random key on."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
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
        with self.database.transaction():
            for _ in range(customers):
                self.insert_customer()
                self.insert_order()
                self.insert_product()

    def transaction(self) -> None:
        """Some changes, some of them behind a savepoint; one transaction in eight is rolled back."""
        keep = self.random.random() > 1 / 8
        with self.database.transaction():
            for _ in range(self.random.randint(1, 5)):
                if self.random.random() < 0.15:
                    self.savepoint()
                else:
                    self.change()
            if not keep:
                raise Rollback
        self.committed += keep
        self.rolled_back += not keep

    def savepoint(self) -> None:
        with self.database.transaction():
            self.change()
            if self.random.random() < 0.5:
                raise Rollback

    def change(self) -> None:
        changes, weights = zip(*self._changes, strict=True)
        self.random.choices(changes, weights)[0]()

    def insert_customer(self) -> None:
        self._customers += 1
        settings = {"language": self.random.choice(["de", "en", "fr", "日本語"]), "visits": self.random.randint(0, 99)}
        self.database.execute(
            "insert into customers (id, name, balance, settings, notes) values (%s, %s, %s, %s, %s)",
            (self._customers, f"Customer {self._customers}", self.amount(), json.dumps(settings), self.long_text()),
        )

    def insert_order(self) -> None:
        self._orders += 1
        self.database.execute(
            f"insert into orders values (%s, %s, %s, %s, %s, %s, {self.database.now}, %s)",
            (
                self.random.choice(REGIONS),
                self._orders,
                self.random.randint(1, self._customers),
                STATUSES[0],
                self.amount(),
                self.database.text_list(self.random.choice([None, [], ["gift"], ["fragile", None, "a,b"]])),
                self.random.choice([None, "2026-12-24", "1969-12-31"]),
            ),
        )

    def insert_product(self) -> None:
        self._products += 1
        self.database.execute(
            f"insert into products values (%s, %s, %s, %s, {self.database.new_uuid}, %s)",
            (
                f"sku-{self._products:07}",
                f'Product "{self._products}"\n\twith a \\ in its name',
                self.random.choice([None, 0.1, 1e-7, 12345.678]),
                self.random.randbytes(16),
                self.long_text(),
            ),
        )

    def update_customer(self) -> None:
        self.database.execute(
            f"update customers set balance = balance + %s, vip = not vip where {self.database.a_customer}",
            (self.amount(), self.random.randint(1, self._customers)),
        )

    def update_order(self) -> None:
        self.database.execute(
            f"update orders set status = %s, total = %s where {self.database.an_order}",
            (self.random.choice(STATUSES), self.amount(), *self.some_order()),
        )

    def update_product(self) -> None:
        self.database.execute(
            "update products set title = concat(title, '!'), description = coalesce(%s, description)"
            f" where {self.database.a_product}",
            (self.random.choice([None, None, self.long_text()]), self.some_sku()),
        )

    def delete_customer(self) -> None:
        self.database.execute(
            f"delete from customers where {self.database.a_customer}", (self.random.randint(1, self._customers),)
        )

    def delete_order(self) -> None:
        self.database.execute(f"delete from orders where {self.database.an_order}", self.some_order())

    def delete_product(self) -> None:
        self.database.execute(f"delete from products where {self.database.a_product}", (self.some_sku(),))

    def move_order(self) -> None:
        """A change of one half of a composite key."""
        self.database.execute(
            f"update orders set region = %s where {self.database.an_order}",
            (self.random.choice(REGIONS), *self.some_order()),
        )

    def rename_product(self) -> None:
        self._products += 1
        self.database.execute(
            f"update products set sku = %s where {self.database.a_product}",
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


def main(kind: str, address: str, seed: int) -> None:
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    with _open(kind, address) as database:
        workload = Workload(database, seed)
        workload.fill(500)
        print("filled", flush=True)
        started_at = time.monotonic()
        while running:
            workload.transaction()
            done = workload.committed + workload.rolled_back
            time.sleep(max(0.0, started_at + done / TRANSACTIONS_PER_S - time.monotonic()))
    print(json.dumps({"committed": workload.committed, "rolled_back": workload.rolled_back}), flush=True)


def _open(kind: str, address: str) -> AbstractContextManager[Database]:
    if kind == "postgres":
        from service import demo_postgres

        return demo_postgres.writer(address)
    from service import demo_mysql

    return demo_mysql.writer(int(address))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
