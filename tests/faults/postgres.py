"""The real Postgres source, from the frames of its stream to its batches, over a fake server.

Not real here: the socket and its server, the catalogue, and the encoder, whose bytes are the model's rows.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from unittest.mock import patch

from connectors.errors import LogGap, SourceUnreachable
from connectors.postgres import pgoutput
from connectors.postgres import source as module
from connectors.postgres.catalog import TableName
from connectors.postgres.config import PostgresConfig
from connectors.postgres.copying import WATERMARK_PREFIX
from connectors.postgres.decoder import Decoder
from connectors.postgres.opening import OpenLog
from connectors.postgres.source import PostgresSource
from connectors.postgres.table import CapturedTable
from offsets.position import Offset, Position
from schema.change import UNCHANGED, Value
from schema.event import Batch
from tests.faults.database import START, TABLE, Change, Transaction, position_at, row
from tests.faults.world import World

BATCH_BYTES = 300
FRAMES_MAX = 8
LINGER_S = 0.001
OID = 7
SCHEMA, NAME = TABLE.split(".")
TABLES = [TableName(OID, SCHEMA, NAME, "d", False, 0)]
CONFIG = PostgresConfig(type="postgres", host="/fake", database="shop", user="t", snapshot="never", rewind_bytes=0)


class RealSource:
    """`PostgresSource` as it is. A mutant replaces its decoder, or what a `u` in a row becomes."""

    decoder: type[Decoder] = Decoder
    unchanged: Value = UNCHANGED

    def __init__(self, world: World) -> None:
        self.world = world
        world.chunks = 0  # a copy is SQL; tests with a server cover it
        self._marks: dict[int, str] = {}
        registry = cast(Any, None)  # the fake encoder registers nothing
        self._source = PostgresSource(CONFIG, connector="shop", topic_prefix="shop", registry=registry, version="0")

    def open(self, after: Offset | None) -> None:
        self.world.step("source opens")
        with self._installed():
            self._source.open(after)
        self.world.listen()

    def open_view(self, start: str) -> None:
        raise NotImplementedError("a pipeline opens no view")

    def snapshot(self, tables: Sequence[str], where: str | None) -> None:
        raise NotImplementedError("nobody asks for a copy")

    def read(self, timeout_s: float) -> Batch | None:
        with self._installed():
            batch = self._source.read(timeout_s)
        if batch is not None:
            self.world.read_through = batch.position or self.world.read_through
            self.world.note(f"read {len(batch.events)} events, {batch.position and batch.position.order}")
        return batch

    def ack(self, position: Position | None) -> None:
        self.world.step(f"source acks {position and position.order}")
        self.world.hear(position)
        with self._installed():
            self._source.ack(position)

    def caught_up(self) -> bool:
        return self._source.caught_up()

    def finished(self) -> bool:
        return self._source.finished()

    def close(self) -> None:
        self.world.step("source closes")
        self._source.close()

    @contextmanager
    def _installed(self) -> Iterator[None]:
        with (
            patch.multiple(
                module,
                open_log=self._open_log,
                captured_tables=lambda config, catalog: TABLES,
                _status_every_s=lambda opened: 5.0,
                publication_exists=lambda connection, name: True,
                published_tables=lambda connection, name: {table.full for table in TABLES},
                emit_message=lambda connection, content: self._marks.update({self.world.visible: content}),
                Tables=lambda *_: SimpleNamespace(topic_prefix="shop", captured=lambda relation: FAKE_TABLE),
                Decoder=self.decoder,
                BATCH_BYTES=BATCH_BYTES,
                time=SimpleNamespace(monotonic=self.world.scheduler.clock),
            ),
            patch.object(pgoutput, "UNCHANGED", self.unchanged),
        ):
            yield

    def _open_log(self, config: PostgresConfig, connector: str, after: Offset | None) -> OpenLog:
        at = after.position if after else START
        if self.world.confirmed > at.order:
            raise LogGap(f"the slot was told to forget up to {self.world.confirmed}, our offset is {at.order}")
        stream: Any = FakeStream(self.world, at.order, self._marks)
        connection: Any = SimpleNamespace(close=lambda: None)
        return OpenLog(stream, connection, cast(Any, None), TABLES, position_at(at.order), self.world.confirmed, set())


class FakeStream:
    """What the server sends from `start` on; cut anywhere, for frames know nothing of transactions."""

    def __init__(self, world: World, start: int, marks: dict[int, str]) -> None:
        self.silent_s = 0.0
        self._world = world
        self._marks = marks
        self._next = sum(transaction.end_lsn <= start for transaction in world.log)
        self._end_lsn = start
        self._unsent: list[bytes] = [_relation()]

    def receive(self, timeout_s: float, limit_bytes: int) -> list[bytes]:
        self._world.step("stream receives")
        if self._world.fails(self._world.faults.disconnect):
            raise SourceUnreachable("the connection broke")
        self._world.grow()
        size = self._world.rng.randint(1, FRAMES_MAX)
        while len(self._unsent) < size and self._produce():
            pass
        frames = self._unsent[:size]
        del self._unsent[:size]
        if not frames and self._world.rng.random() < 0.5:
            frames = [_keepalive(self._end_lsn)]
        if not frames:
            self._world.scheduler.wait(lambda: False, timeout_s)
        return frames

    def linger(self) -> None:
        self._world.scheduler.wait(lambda: False, LINGER_S)

    def send_status(self, received: int, flushed: int, *, ask_reply: bool = False) -> None:
        self._world.confirm(flushed)

    def close(self) -> None:
        pass

    def _produce(self) -> bool:
        """Decode one more transaction, or a mark between two. False where nothing more is committed."""
        mark = self._marks.pop(self._next, None)
        if mark is not None:
            lsn = self._end_lsn
            self._unsent += [_begin(lsn), _mark(lsn, mark), _commit(lsn, lsn + 1)]
            return True
        if self._next >= self._world.visible:
            return False
        transaction = self._world.log[self._next]
        self._unsent += _frames(transaction)
        self._end_lsn = transaction.end_lsn
        self._next += 1
        return True


class FakeEncoder:
    """Rows of three columns: key, version, note."""

    columns: ClassVar = [(lambda value: value, None)] * 3

    def row(self, values: list[Value], *, key_only: bool = False) -> list[Value]:
        return values

    def key(self, values: list[Value]) -> bytes:
        return cast(bytes, values[0])

    def create(self, values: list[Value], source: bytes, now: bytes) -> bytes:
        return _row("c", values)

    def update(self, before: list[Value] | None, values: list[Value], source: bytes, now: bytes) -> bytes:
        return _row("u", values)

    def delete(self, values: list[Value], source: bytes, now: bytes) -> bytes:
        return row("d", self.key(values).decode())


class FakeBlock:
    commit_lsn = 0

    def begin(self, *_: int) -> None:
        pass

    def change(self, lsn: int) -> bytes:
        return b""


def _row(op: str, values: list[Value]) -> bytes:
    key, version, note = values
    return row(op, cast(bytes, key).decode(), int(cast(bytes, version)), note)


FAKE_TABLE = CapturedTable(
    TABLE,
    f"shop.{TABLE}",
    pgoutput.Relation(OID, SCHEMA, NAME, "d", ()),
    (0,),
    cast(Any, FakeEncoder()),
    cast(Any, FakeBlock()),
)


def _frames(transaction: Transaction) -> list[bytes]:
    frames = [_begin(transaction.commit_lsn)]
    for change in transaction.changes:
        frames.append(_wal(change.lsn, _change(change)))
    return [*frames, _commit(transaction.commit_lsn, transaction.end_lsn)]


def _change(change: Change) -> bytes:
    oid = struct.pack(">I", OID)
    old_key = _tuple(change.key.encode(), None, None)
    new = _tuple(change.key.encode(), str(change.version).encode(), change.note)
    if change.op == "c":
        return b"I" + oid + b"N" + new
    if change.op == "u":
        return b"U" + oid + b"N" + new
    if change.op == "d":
        return b"D" + oid + b"K" + old_key
    new = _tuple(change.new_key.encode(), str(change.new_version).encode(), change.note)
    return b"U" + oid + b"K" + old_key + b"N" + new


def _tuple(*values: Value) -> bytes:
    shown = (
        b"n" if value is None else b"u" if value is UNCHANGED else b"t" + struct.pack(">I", len(value)) + value
        for value in values
    )
    return struct.pack(">H", len(values)) + b"".join(shown)


def _relation() -> bytes:
    text = 25
    name = SCHEMA.encode() + b"\0" + NAME.encode() + b"\0"
    columns = (b"\x01key\0", b"\x00version\0", b"\x00note\0")
    described = b"".join(column + struct.pack(">Ii", text, -1) for column in columns)
    return _wal(0, b"R" + struct.pack(">I", OID) + name + b"d" + struct.pack(">H", 3) + described)


def _begin(commit_lsn: int) -> bytes:
    return _wal(commit_lsn, b"B" + struct.pack(">QqI", commit_lsn, 0, 1))


def _commit(commit_lsn: int, end_lsn: int) -> bytes:
    return _wal(end_lsn, b"C" + struct.pack(">BQQq", 0, commit_lsn, end_lsn, 0))


def _mark(lsn: int, content: str) -> bytes:
    body = content.encode()
    return _wal(
        lsn, b"M" + struct.pack(">BQ", 1, lsn) + WATERMARK_PREFIX.encode() + b"\0" + struct.pack(">I", len(body)) + body
    )


def _wal(lsn: int, body: bytes) -> bytes:
    return b"w" + struct.pack(">QQq", lsn, lsn, 0) + body


def _keepalive(end_lsn: int) -> bytes:
    return b"k" + struct.pack(">QqB", end_lsn, 0, 0)
