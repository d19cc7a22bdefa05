"""A connector that follows what a test does to a database, through the real source."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from offsets.position import Offset, merged
from schema.event import Batch, Event
from tests.connectors.mysql.logged import end_of_log
from tests.contract.engines import MysqlEngine, Reading, Session, Shop
from tests.mysql_servers import MysqlDatabase
from tests.servers import until

END = "the_end"
"""A row of this table says that nothing of what was done before is still to come."""


class Change(NamedTuple):
    """One event without its envelope; `table` is the name alone."""

    op: str
    table: str
    before: Any
    after: Any


def created(table: str, **after: Any) -> Change:
    return Change("c", table, None, after)


def updated(table: str, before: Any, **after: Any) -> Change:
    return Change("u", table, before, after)


def deleted(table: str, **before: Any) -> Change:
    return Change("d", table, before, None)


class Following:
    """`run` acts in one session; `changes` are the events of all that was done since the last call."""

    def __init__(self, database: MysqlDatabase, shop: Shop, read: Reading, session: Session) -> None:
        self._database = database
        self.shop = shop
        self.read = read
        self._session = session
        self._seen = 0
        self._ends = 0

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """The last one's rows. The connector reads behind each statement, so that it has positions between them."""
        rows: list[tuple[Any, ...]] = []
        for sql in statements:
            rows = self._session.run(sql)
            self._read_behind()
        return rows

    def _read_behind(self) -> None:
        """Or the next statement might redefine a table whose rows are still to be read."""
        made: Any = self.read.source
        end = end_of_log(self._database)
        self.read.read(0.01)
        until(lambda: made._decoder.has_reached(end) or (self.read.read(0.01) and False), f"the log is read to {end}")

    def script(self, text: str) -> None:
        """One statement a line."""
        self.run(*(line.strip() for line in text.strip().splitlines()))

    def events(self) -> list[Event]:
        """With their tombstones."""
        self._ends += 1
        self.shop.engine.execute(f"insert into {END} values ({self._ends})")
        until(lambda: self._has_ended() or (self.read.read() and False), "the end")
        found = self.read.events[self._seen :]
        self._seen = len(self.read.events)
        return [event for event in found if not event.table.endswith(END)]

    def changes(self) -> list[Change]:
        """Without the tombstones, each of which stands behind its delete."""
        found: list[Change] = []
        for event in self.events():
            value = self.read.value(event)
            if value is None:
                assert found[-1].op == "d"
                continue
            table = event.table.partition(".")[2]
            found.append(Change(value["op"], table, value["before"], value["after"]))
        return found

    def _has_ended(self) -> bool:
        return any(
            event.table.endswith(END) and self.read.key(event) == {"n": self._ends}
            for event in self.read.events[self._seen :]
        )


@contextmanager
def following(
    database: MysqlDatabase, folder: Path, *before: str, rereads: bool = True, is_held: bool = False, **source: Any
) -> Iterator[Following]:
    """A connector that starts behind the statements `before`, without a copy where `source` does not ask for one.

    At the end the log is `read_again`.
    """
    shop = Shop(MysqlEngine(database), folder)
    source = {"snapshot": "never", **source}
    database.execute(f"create table {END} (n int primary key)")
    for sql in before:
        database.execute(sql)
    with closing(shop.engine.session()) as session:
        with shop.reading(**source) as read:
            read.catch_up()
            yield Following(database, shop, read, session)
        if rereads:
            read_again(shop, read.batches, shown(read), is_held=is_held, **source)


def read_again(shop: Shop, batches: Iterable[Batch], whole: list[Any], *, is_held: bool = False, **source: Any) -> None:
    """From every position in `batches`, which held the events `whole` as `shown`, what is behind it must come again.

    Not from where a copy was still to come, for it shows what is there now. `is_held`: positions may stand before
    what was delivered already, which may come again too, as it was.
    """
    progress: dict[str, str] = {}
    count = 0
    for batch in batches:
        count += len(batch.events)
        progress = merged(progress, batch.snapshot)
        rest = whole[count:]
        if batch.position is None or not rest or any(value and value.get("op") == "r" for *_, value in rest):
            continue
        with shop.reading(Offset(batch.position, dict(progress)), **source) as again:
            until(lambda: shown(again)[-1:] == whole[-1:] or (again.read() and False), "the end")
            before, found = shown(again)[: -len(rest)], shown(again)[-len(rest) :]
            assert found == rest, f"read again from {batch.position.token}"
            assert is_held or not before
            assert before == [event for event in whole[:count] if event in before]


def shown(read: Reading) -> list[Any]:
    """Each event, but for the time of its reading and what its catalogue tells."""
    found = []
    for event in read.events:
        value = read.value(event)
        if value is not None:
            value = {name: part for name, part in value.items() if not name.startswith(("ts_", "tableChanges"))}
        found.append((event.topic, event.key, event.id, value))
    return found
