"""A version that the registry refuses: widened, or its changes put aside, on each database."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from service import exits
from tests.mysql_servers import BY_NAME, MysqlDatabase
from tests.registry_servers import Registry
from tests.servers import VERSIONS, Database, Tailrace
from tests.sinks.readers import read_files

TABLE = "create table {} (id int primary key, note varchar(20), total bigint not null, weight double precision)"


class Shop:
    """A table `orders` (id, note, total, weight) with one row, whose versions a registry compares."""

    def __init__(self, database: Database | MysqlDatabase, registry: Registry, tailrace: Tailrace) -> None:
        self.database = database
        self.registry = registry
        self.tailrace = tailrace
        self.execute = database.execute
        schema = "public" if isinstance(database, Database) else database.name
        self.topic = f"{registry.prefix}.{schema}.orders"
        self.execute(TABLE.format("orders"))
        self.execute("insert into orders values (1, 'first', 10, 1.5)")

    def retype(self, column: str, kind: str) -> None:
        """Its NOT NULL stays."""
        if isinstance(self.database, MysqlDatabase):
            required = "not null" if column in ("id", "total") else "null"
            self.execute(f"alter table orders modify {column} {kind} {required}")
        else:
            self.execute(f"alter table orders alter {column} type {kind} using {column}::{kind}")

    def require_value(self, column: str, kind: str) -> None:
        if isinstance(self.database, MysqlDatabase):
            self.execute(f"alter table orders modify {column} {kind} not null")
        else:
            self.execute(f"alter table orders alter {column} set not null")

    def run(self, policy: str, code: int = exits.DONE) -> str:
        """Deliver all that was committed; what tailrace said."""
        connector = self.database.connector(
            events={"topic_prefix": self.registry.prefix},
            registry={"type": "confluent", "url": self.registry.url, "incompatible": policy},
        )
        done = self.tailrace("run", self.tailrace.write(connector), "--until-caught-up")
        assert done.returncode == code, done.stderr
        return done.stderr

    def rows(self, table: str = "orders") -> list[Mapping[str, Any]]:
        """What followed on each row, in order: its columns as they are after the change."""
        found = read_files(self.database.folder / "out")
        return [row.value["after"] for row in found if row.value and row.topic.endswith(f".{table}")]

    def versions(self) -> list[int]:
        return self.registry.versions(f"{self.topic}-value")

    def field(self, name: str) -> dict[str, Any]:
        """Of the row, as the latest version has it."""
        envelope = json.loads(self.registry.version(f"{self.topic}-value")["schema"])
        (found,) = [field for field in envelope["fields"][0]["type"][1]["fields"] if field["name"] == name]
        return dict(found)

    def letters(self) -> list[str]:
        """One line each, as an operator lists them."""
        return self.tailrace("dlq", "list", "shop").stdout.splitlines()[1:]

    def listed(self) -> str:
        """The line of the table's value in the list of schemas."""
        lines = self.tailrace("schemas", "list").stdout.splitlines()
        (line,) = [line for line in lines if line.startswith(f"{self.topic}-value ")]
        return line


class PolicySuite:
    """Each engine's class gives the fixture `shop`."""

    def test_a_narrowed_column_stays_wide_and_makes_no_version(self, shop: Shop) -> None:
        shop.run("widen")
        shop.retype("total", "int")
        shop.retype("weight", "real" if isinstance(shop.database, Database) else "float")
        shop.execute("insert into orders values (2, 'second', -20, 0.5)")
        shop.execute("update orders set weight = 2.25 where id = 1")
        said = shop.run("widen")
        assert "it is widened to version 1" in said
        assert shop.versions() == [1]
        after = shop.rows()
        assert after[1:] == [
            {"id": 2, "note": "second", "total": -20, "weight": 0.5},
            {"id": 1, "note": "first", "total": 10, "weight": 2.25},
        ]
        assert "widen" in shop.listed()
        assert "total changed from long to int" in shop.listed()
        assert "is widened" not in shop.run("widen"), "once is enough"

    def test_a_column_that_was_nullable_and_one_that_is_new_may_be_null(self, shop: Shop) -> None:
        shop.run("widen")
        shop.require_value("note", "varchar(20)")
        shop.execute("truncate table orders")
        shop.execute("alter table orders add column flag int not null")
        shop.execute("insert into orders values (2, 'second', 20, 0.5, 7)")
        shop.run("widen")
        assert shop.rows()[-1] == {"id": 2, "note": "second", "total": 20, "weight": 0.5, "flag": 7}
        assert shop.versions() == [1, 2]
        assert shop.field("note") == {"name": "note", "type": ["null", "string"], "default": None}
        assert shop.field("flag") == {"name": "flag", "type": ["null", "int"], "default": None}
        said = shop.tailrace("schemas", "show", f"{shop.topic}-value").stderr
        assert "version 2" in said
        assert "widen" in said

    def test_a_copy_is_widened_as_the_stream_is(self, shop: Shop) -> None:
        shop.run("widen")
        shop.retype("weight", "real" if isinstance(shop.database, Database) else "float")
        assert shop.tailrace("offsets", "reset", "shop").returncode == exits.DONE
        shop.run("widen")
        assert shop.rows() == 2 * [{"id": 1, "note": "first", "total": 10, "weight": 1.5}]
        assert shop.versions() == [1]

    def test_what_no_wider_type_reads_stops_the_connector(self, shop: Shop) -> None:
        shop.run("widen")
        shop.execute("update orders set note = '7'")
        shop.retype("note", "int")
        shop.execute("insert into orders values (2, 22, 20, 0.5)")
        said = shop.run("widen", exits.FATAL)
        assert "note changed from string to int; no wider type of this column reads both" in said
        assert shop.versions() == [1]
        assert "stop" in shop.listed()

    def test_a_dropped_column_that_readers_insist_on_stops_the_connector(self, shop: Shop) -> None:
        shop.run("widen")
        shop.registry.require(f"{shop.topic}-value", "FULL")
        shop.execute("truncate table orders")
        shop.execute("alter table orders add column flag int not null")
        shop.execute("insert into orders values (2, 'second', 20, 0.5, 7)")
        shop.run("widen")
        assert shop.field("flag")["type"] == ["null", "int"]
        shop.execute("alter table orders drop column total")
        shop.execute("insert into orders values (3, 'third', 0.5, 7)")
        assert "total was removed" in shop.run("widen", exits.FATAL)
        assert shop.versions() == [1, 2]

    def test_a_key_keeps_its_bytes_when_its_column_is_narrowed(self, shop: Shop) -> None:
        shop.retype("id", "bigint")
        shop.run("widen")
        shop.retype("id", "int")
        shop.execute("update orders set total = 11")
        shop.run("widen")
        assert [row["total"] for row in shop.rows()] == [10, 11]
        assert shop.registry.versions(f"{shop.topic}-key") == shop.versions() == [1]

    def test_changes_of_a_refused_version_are_put_aside_until_one_is_compatible(self, shop: Shop) -> None:
        shop.execute(TABLE.format("items"))
        shop.run("dead_letter")
        shop.execute("update orders set note = '7'")
        shop.retype("note", "int")
        shop.execute("insert into orders values (2, 22, 20, 0.5), (3, null, 30, null)")
        shop.execute("update orders set note = 23 where id = 2")
        shop.execute("delete from orders where id = 3")
        shop.execute("insert into items values (1, 'item', 1, 1)")
        shop.execute("truncate table orders")
        said = shop.run("dead_letter")
        assert "its changes are put aside until a version is compatible again" in said
        assert [row["id"] for row in shop.rows()] == [1, 1]
        assert [row["id"] for row in shop.rows("items")] == [1]
        letters = shop.letters()
        assert len(letters) == 5
        assert all("orders: the registry refuses this version of the table: note changed" in line for line in letters)
        assert "dead_letter" in shop.listed()
        shop.retype("note", "varchar(20)")
        shop.execute("insert into orders values (4, 'fourth', 40, 0.5)")
        shop.run("dead_letter")
        assert shop.rows()[-1]["id"] == 4
        assert len(shop.letters()) == 5
        assert shop.versions() == [1]

    def test_copied_rows_of_a_refused_version_are_put_aside(self, shop: Shop) -> None:
        shop.execute(TABLE.format("items"))
        shop.execute("insert into items values (1, 'item', 1, 1)")
        shop.run("dead_letter")
        shop.execute("update orders set note = null")
        shop.run("dead_letter")
        shop.retype("note", "int")
        shop.execute("insert into orders values (2, 22, 20, 0.5)")
        assert shop.tailrace("offsets", "reset", "shop").returncode == exits.DONE
        shop.run("dead_letter")
        assert {row["id"] for row in shop.rows()} == {1}
        assert [row["id"] for row in shop.rows("items")] == [1, 1]
        assert len([line for line in shop.letters() if " copy/" in line]) == 2

    def test_a_value_that_no_event_can_hold_stays_an_error_where_refused_versions_are_put_aside(
        self, shop: Shop
    ) -> None:
        shop.run("dead_letter")
        kind, value = ("numeric(10, 2)", "'NaN'") if isinstance(shop.database, Database) else ("date", "'0000-00-00'")
        shop.execute(f"alter table orders add column odd {kind}")
        if isinstance(shop.database, MysqlDatabase):
            shop.execute("set sql_mode = ''")
        shop.execute(f"insert into orders values (2, 'second', 20, 0.5, {value})")
        assert "orders.odd" in shop.run("dead_letter", exits.FATAL)
        assert shop.letters() == []


@pytest.mark.postgres
@pytest.mark.parametrize("postgres_server", VERSIONS[-1:], ids=["postgres18"], indirect=True)
class TestPostgres(PolicySuite):
    @pytest.fixture
    def shop(self, postgres: Database, registry: Registry, tailrace: Tailrace) -> Shop:
        return Shop(postgres, registry, tailrace)


@pytest.mark.mysql
@pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
class TestMysql(PolicySuite):
    @pytest.fixture
    def shop(self, mysql: MysqlDatabase, registry: Registry, tailrace: Tailrace) -> Shop:
        return Shop(mysql, registry, tailrace)
