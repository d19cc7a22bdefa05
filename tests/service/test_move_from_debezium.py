"""A live Debezium engine is stopped under load, and tailrace goes on from its offset: nothing is lost on the way."""

import json
import random
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from offsets.debezium import DebeziumOffset
from service import config
from service.debezium.offsets import Asked, choose, open_store
from service.refused import Refused
from tests.conftest import OwnMysqlFactory, OwnPostgresFactory
from tests.fold import read_events, settled
from tests.kafka_servers import Kafka
from tests.mysql_servers import MysqlDatabase
from tests.oracle.live import LiveEngine
from tests.servers import Database, Tailrace, skip, until

pytestmark = pytest.mark.oracle

SEEDS = 200
TRANSACTIONS = (1, 1, 1, 30)
"""So many changes a transaction has."""
SMALL_BATCHES = {"max.batch.size": "7", "max.queue.size": "20"}
"""Debezium then stores most of its offsets inside a transaction."""
STREAMED = 300
"""So many changes each side delivers at least, while writers go on."""
WRITERS = 2
PAUSE_S = 0.002
"""Between two changes of a writer."""

State = tuple[Literal["is", "gone"], int]
"""What a change left of a row: its version, or that the row of this version is gone."""
History = dict[int, list[State]]


class Writer(threading.Thread):
    """Changes rows of its own, and knows what was committed in which order: version n of a row follows n - 1."""

    def __init__(self, connection: Any, own: range, seed: int) -> None:
        """`connection` is in autocommit; `stop` closes it."""
        super().__init__()
        self.history: History = defaultdict(list)
        self._connection = connection
        self._cursor = connection.cursor()
        self._own = own
        self._random = random.Random(seed)
        self._rows = {row: 1 for row in own if row < SEEDS}
        self._last = dict(self._rows)
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            self._cursor.execute("begin")
            changes = [self._change() for _ in range(self._random.choice(TRANSACTIONS))]
            self._cursor.execute("commit")
            for row, state in changes:
                self.history[row].append(state)

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self._connection.close()

    def _change(self) -> tuple[int, State]:
        row = self._random.choice(self._own)
        if row in self._rows and self._random.random() < 0.2:
            version = self._rows.pop(row)
            self._cursor.execute(f"delete from orders where id = {row}")
            return row, ("gone", version)
        version = self._last.get(row, 0) + 1
        if row in self._rows:
            self._cursor.execute(f"update orders set version = {version} where id = {row}")
        else:
            self._cursor.execute(f"insert into orders values ({row}, {version}, 'written')")
        self._rows[row] = self._last[row] = version
        return row, ("is", version)


def states(values: Iterable[Mapping[str, Any] | None]) -> Iterator[tuple[int, State]]:
    """(row, what is left of it) of each event's value, in their order; tombstones say nothing new."""
    for value in values:
        if value is None:
            continue
        kind: Literal["is", "gone"] = "gone" if value["op"] == "d" else "is"
        image = value["before"] if kind == "gone" else value["after"]
        yield image["id"], (kind, image["version"])


class Move:
    """Debezium's engine over a database with `orders`, and the connector that takes its place.

    The connector is what `tailrace config import` makes of the engine's own configuration, but for its sink.
    """

    def __init__(self, database: Database | MysqlDatabase, tailrace: Tailrace, properties: Mapping[str, str]) -> None:
        self.database = database
        self.tailrace = tailrace
        self.engine = LiveEngine(database.folder, properties)
        configuration = database.folder / "debezium.json"
        configuration.write_text(json.dumps({"name": "dbz", "config": dict(properties)}))
        done = tailrace("config", "import", configuration, "--bootstrap-servers", "127.0.0.1:9092")
        sink = {"type": "files", "directory": str(database.folder / "out"), "format": "jsonl"}
        self.connector = {**json.loads(done.stdout), "name": "shop", "sink": sink}
        self.connector.pop("registry", None)
        self.file = tailrace.write(self.connector)
        self.writers: list[Writer] = []

    def start(self, connect: Callable[[], Any]) -> None:
        """The engine copies the seeds and then follows the log; writers begin between the two."""
        self.engine.start()
        until(lambda: self.engine.seen() >= SEEDS, "the engine copies", 180)
        for nth in range(WRITERS):
            self.writers.append(Writer(connect(), range(nth, 2 * SEEDS, WRITERS), seed=nth))
        for writer in self.writers:
            writer.start()

    def followed(self) -> bool:
        return self.engine.seen() > SEEDS + STREAMED

    def stored(self, origin: str, asked: Asked) -> DebeziumOffset | None:
        """What the engine has stored, once that is an offset to go on from."""
        connector = config.load(self.file)
        try:
            found = choose(open_store(origin, asked)(connector), asked, connector.topic_prefix, origin)
        except Refused:
            return None
        return None if found.in_snapshot else found

    def take_over(self, origin: str, *options: str) -> None:
        """Import the offset and go on while writers write, then until everything is delivered."""
        done = self.tailrace("offsets", "import", "shop", origin, "--config", self.file, *options)
        assert done.returncode == 0, done.stderr
        running = self.tailrace.run(self.connector)
        until(lambda: running.process.poll() is not None or self.delivered() > STREAMED, "tailrace delivers", 120)
        self.stop_writers()
        running.terminate()
        assert running.wait() == 0, running.stderr
        self.tailrace.catch_up(self.connector)

    def stop_writers(self) -> None:
        for writer in self.writers:
            if writer.is_alive():
                writer.stop()

    def delivered(self) -> int:
        return settled(
            self.database.folder / "out", lambda found: sum(path.read_bytes().count(b"\n") for path in found)
        )

    def ours(self) -> list[Mapping[str, Any] | None]:
        folder = self.database.folder / "out"
        return [event["value"] for event in read_events(folder) if event["topic"].endswith(".orders")]

    def judge(self) -> None:
        """Every change of every row is in the union of both outputs, in the order of commits, and folds to the source.

        Ours alone begins at or before where the engine's ends, and copies no row again.
        """
        theirs = [event.value for event in self.engine.events() if event.topic.endswith(".orders")]
        ours = self.ours()
        assert not any(value["op"] == "r" for value in ours if value is not None)
        union: History = defaultdict(list)
        for row, state in states([*theirs, *ours]):
            union[row].append(state)
        committed: History = {row: [("is", 1)] for row in range(SEEDS)}
        for writer in self.writers:
            for row, history in writer.history.items():
                committed.setdefault(row, []).extend(history)
        assert {row: list(dict.fromkeys(history)) for row, history in union.items()} == committed
        left = {row: history[-1][1] for row, history in union.items() if history[-1][0] == "is"}
        assert left == dict(self.database.execute("select id, version from orders"))


TABLE = "create table orders (id int primary key, version int not null, note varchar(100))"
SEED = "insert into orders values " + ", ".join(f"({row}, 1, 'seed')" for row in range(SEEDS))


def postgres_properties(postgres: Database) -> dict[str, str]:
    address = conninfo_to_dict(postgres.dsn)
    return {
        "name": "dbz",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "topic.prefix": "shop",
        "database.hostname": "127.0.0.1",
        "database.port": str(address["port"]),
        "database.user": str(address["user"]),
        "database.dbname": postgres.name,
        "plugin.name": "pgoutput",
        "slot.name": f"dbz_{postgres.name}",
        "publication.name": "dbz_publication",
        "publication.autocreate.mode": "filtered",
        "table.include.list": r"public\.orders",
        "offset.flush.interval.ms": "1000",
        **SMALL_BATCHES,
    }


def mysql_properties(mysql: MysqlDatabase) -> dict[str, str]:
    return {
        "name": "dbz",
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "topic.prefix": "shop",
        "database.hostname": mysql.address.host,
        "database.port": str(mysql.address.port),
        "database.user": mysql.address.user,
        "database.server.id": "5401",
        "database.include.list": mysql.name,
        "table.include.list": rf"{mysql.name}\.orders",
        "include.schema.changes": "false",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(mysql.folder / "history.dat"),
        "offset.flush.interval.ms": "1000",
        **SMALL_BATCHES,
    }


def file_store(folder: Path) -> dict[str, str]:
    return {
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets.dat"),
    }


@pytest.fixture
def moves(tailrace: Tailrace) -> Iterator[Callable[[Database | MysqlDatabase, Mapping[str, str]], Move]]:
    """Makes moves whose engine and writers end with the test."""
    if shutil.which("javac") is None:
        skip("no JDK for Debezium's engine on this machine: install one, 17 or newer")
    made: list[Move] = []

    def make(database: Database | MysqlDatabase, properties: Mapping[str, str]) -> Move:
        made.append(Move(database, tailrace, properties))
        return made[-1]

    yield make
    for move in made:
        move.stop_writers()
        move.engine.end()


Moves = Callable[[Database | MysqlDatabase, Mapping[str, str]], Move]
Way = Literal["stop", "kill"]
NOTHING_ASKED = Asked()
WAYS: tuple[Way, ...] = ("stop", "kill")


def end(move: Move, way: Way, origin: str, asked: Asked = NOTHING_ASKED) -> None:
    """Debezium's, under load, once it has followed the log for a while and stored an offset to go on from."""
    until(move.followed, "the engine follows the log", 180)
    until(lambda: move.stored(origin, asked), "the engine has stored an offset")
    if way == "kill":
        move.engine.kill(when=lambda: move.stored(origin, asked))
    else:
        move.engine.stop()


def postgres_with_orders(own_postgres: OwnPostgresFactory) -> Database:
    postgres = own_postgres(version=18)
    postgres.execute(TABLE)
    postgres.execute("alter table orders replica identity full")
    postgres.execute(SEED)
    return postgres


def mysql_with_orders(own_mysql: OwnMysqlFactory) -> MysqlDatabase:
    mysql = own_mysql("mysql97")
    mysql.execute(TABLE)
    mysql.execute(SEED)
    return mysql


@pytest.mark.postgres
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_on_postgres_whether_debezium_is_stopped_or_killed(
    own_postgres: OwnPostgresFactory, moves: Moves, way: Way
) -> None:
    postgres = postgres_with_orders(own_postgres)
    move = moves(postgres, {**postgres_properties(postgres), **file_store(postgres.folder)})
    move.start(lambda: psycopg.connect(postgres.dsn, autocommit=True))
    origin = str(postgres.folder / "offsets.dat")
    end(move, way, origin)
    move.take_over(origin)
    move.judge()


@pytest.mark.mysql
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_on_mysql_whether_debezium_is_stopped_or_killed(
    own_mysql: OwnMysqlFactory, moves: Moves, way: Way
) -> None:
    mysql = mysql_with_orders(own_mysql)
    move = moves(mysql, {**mysql_properties(mysql), **file_store(mysql.folder)})
    move.start(mysql.connect)
    origin = str(mysql.folder / "offsets.dat")
    end(move, way, origin)
    move.take_over(origin)
    move.judge()


@pytest.mark.postgres
@pytest.mark.kafka
def test_nothing_is_lost_where_the_offset_is_in_a_topic(
    own_postgres: OwnPostgresFactory, kafka: Kafka, moves: Moves
) -> None:
    postgres = postgres_with_orders(own_postgres)
    topic = f"{kafka.prefix}-connect-offsets"
    store = {
        "offset.storage": "org.apache.kafka.connect.storage.KafkaOffsetBackingStore",
        "offset.storage.topic": topic,
        "offset.storage.partitions": "5",
        "offset.storage.replication.factor": "1",
        "bootstrap.servers": kafka.bootstrap,
    }
    move = moves(postgres, {**postgres_properties(postgres), **store})
    move.start(lambda: psycopg.connect(postgres.dsn, autocommit=True))
    end(move, "kill", f"kafka:{topic}", Asked(bootstrap_servers=kafka.bootstrap))
    move.take_over(f"kafka:{topic}", "--bootstrap-servers", kafka.bootstrap)
    move.judge()


@pytest.mark.mysql
def test_nothing_is_lost_where_the_offset_is_in_a_table(
    own_mysql: OwnMysqlFactory, moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql = mysql_with_orders(own_mysql)
    host, port = mysql.address.host, mysql.address.port
    mysql.execute("create database offsets")
    mysql.execute("create user dbz identified by 'secret'")
    mysql.execute("grant all on offsets.* to dbz")
    monkeypatch.setenv("DBZ_PASSWORD", "secret")
    password = "${env:DBZ_PASSWORD}"
    store = {
        "offset.storage": "io.debezium.storage.jdbc.offset.JdbcOffsetBackingStore",
        "offset.storage.jdbc.connection.url": f"jdbc:mysql://{host}:{port}/offsets",
        "offset.storage.jdbc.connection.user": "dbz",
        "offset.storage.jdbc.connection.password": "secret",
    }
    move = moves(mysql, {**mysql_properties(mysql), **store})
    move.start(mysql.connect)
    origin = f"jdbc:mysql://dbz@{host}:{port}/offsets"
    end(move, "kill", origin, Asked(password=password))
    move.take_over(origin, "--password", password)
    move.judge()
