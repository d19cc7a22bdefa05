"""A table that a connector has published, change by change, and the readers' part in it."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.registry_servers import Registry
from tests.servers import Database, Tailrace

Row = Mapping[str, Any]

PARTITIONS = 3
COLUMNS = (
    *("id", "customer", "price", "quantity", "weight", "paid"),
    *("born", "placed_at", "photo", "note", "rating"),
)

TABLES = {
    "postgres": (
        """
        create table orders (
            id bigint primary key, customer varchar(40) not null, price numeric(10,2), quantity smallint not null,
            weight double precision, paid boolean, born date, placed_at timestamp(6), photo bytea, note text
        )
        """,
        "alter table orders replica identity full",  # Flink asks for the whole row before a change
    ),
    "mysql": (
        """
        create table orders (
            id bigint primary key, customer varchar(40) not null, price decimal(10,2), quantity smallint not null,
            weight double, paid tinyint(1), born date, placed_at datetime(6), photo blob, note text
        )
        """,
    ),
}

AS_PUBLISHED = {
    "postgres": "born - date '1970-01-01', (extract(epoch from placed_at) * 1000000)::bigint",
    "mysql": "datediff(born, '1970-01-01'), timestampdiff(microsecond, '1970-01-01', placed_at)",
}

CHANGES = (
    "update orders set price = -0.01, note = 'näher' where id = 3",
    "update orders set price = null, weight = null, paid = null, born = null, placed_at = null, photo = null"
    " where id = 4",
    "delete from orders where id in (5, 6, 45)",
    "update orders set id = 1007 where id = 7",  # its key goes, another comes
    "insert into orders values (5, 'back again', 5, 5, 5.5, null, null, null, null, '')",
    "alter table orders add column rating int",
    "update orders set rating = id where id > 40",
    "update orders set id = 2000 + id where id < 3",
    "insert into orders values (9999, 'last', 99999999.99, -32768, -1e300, null, '0044-03-15', null, null, '漢字', -1)",
)


class Published(NamedTuple):
    """`rows` is the source's table by its key: dates as days, timestamps as microseconds, both since 1970."""

    source: Literal["postgres", "mysql"]
    kafka: Kafka
    registry: Registry
    topic: str
    rows: dict[int, Row]


def publish(
    source: Literal["postgres", "mysql"],
    database: Database | MysqlDatabase,
    kafka: Kafka,
    registry: Registry,
    tailrace: Tailrace,
) -> Published:
    """Copied rows, then inserts, updates, deletes, changed keys and a new column from the log."""
    registry.prefix = kafka.prefix
    topic = f"{kafka.prefix}.{'public' if source == 'postgres' else database.name}.orders"
    kafka.create_topic(topic, PARTITIONS)
    connector = database.connector(
        events={"topic_prefix": kafka.prefix},
        registry={"type": "confluent", "url": registry.url},
        sink={"type": "kafka", "bootstrap_servers": kafka.bootstrap},
    )
    for statement in TABLES[source]:
        database.execute(statement)
    _insert(database, range(1, 31))
    tailrace.catch_up(connector)
    _insert(database, range(31, 61))
    for change in CHANGES:
        database.execute(change)
    tailrace.catch_up(connector)
    return Published(source, kafka, registry, topic, dict(_rows(source, database)))


def _insert(database: Database | MysqlDatabase, ids: range) -> None:
    for i in ids:
        database.execute(
            "insert into orders values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(i, f"customer {i}", Decimal(i * 1234) / 100, i - 30, i / 7, i % 2 == 0),
            *(f"{1900 + i}-02-28", f"{1940 + i}-12-31 23:59:59.{i:06d}", bytes([0, i, 255]), "note" if i % 3 else None),
        )


def _rows(source: str, database: Database | MysqlDatabase) -> Iterator[tuple[int, Row]]:
    names = ", ".join(COLUMNS).replace("born, placed_at", AS_PUBLISHED[source])
    for row in database.execute(f"select {names} from orders"):
        yield row[0], dict(zip(COLUMNS, row, strict=True))
