"""The limit: how fast one reader can take the bytes from the server when it does nothing with them.

    python -m tests.bench.drain slot DSN SLOT ROWS
    python -m tests.bench.drain copy DSN TABLE

Prints a Drained as a JSON object. Source of the frames: PostgreSQL manual, "Streaming Replication Protocol".
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from select import select
from struct import Struct
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

PUBLICATION = "bench"

_COMMIT = Struct(">25xcxQQq")
"""A WAL frame that holds a Commit: its kind, then LSN, LSN behind the transaction, microseconds since 2000.

Begins and keepalives are shorter, rows of our table longer.
"""

_KIND_AT = 25
_POSTGRES_EPOCH_S = 946_684_800


class Drained(NamedTuple):
    """`started_s` is in seconds since 1970."""

    started_s: float
    seconds: float
    cpu_s: float
    size_bytes: int


class Committed(NamedTuple):
    """A transaction: the LSN behind it, and its commit record's time in seconds since 1970."""

    end_lsn: int
    at_s: float


def drain_slot(dsn: str, slot: str, rows: int) -> Drained:
    """Read `rows` rows and their last commit, with the options of the product's own stream."""
    with closing(_stream(dsn, slot)) as connection:
        get = connection.pgconn.get_copy_data
        frames = size = 0
        clock = _Clock()
        while True:
            count, _ = get(1)
            if count > _COMMIT.size:
                frames += 1
                size += count
            elif count == 0:
                _wait(connection.pgconn)
            elif count == _COMMIT.size and frames > rows:  # a Relation comes before the first row
                return clock.drained(size)


def drain_copy(dsn: str, table: str) -> Drained:
    """Read ``COPY (select *) TO STDOUT``."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        get = connection.pgconn.get_copy_data
        size = count = 0
        clock = _Clock()
        connection.pgconn.exec_(f"COPY (select * from {table}) TO STDOUT".encode())
        while count >= 0:
            size += count
            count, _ = get(0)
        return clock.drained(size)


def commits(dsn: str, slot: str, transactions: int) -> Iterator[Committed]:
    """The first transactions behind the slot that inserted something."""
    with closing(_stream(dsn, slot)) as connection:
        inserted = False
        while transactions:
            count, data = connection.pgconn.get_copy_data(1)
            if count == 0:
                _wait(connection.pgconn)
            elif count > _COMMIT.size:
                inserted |= data[_KIND_AT] == ord("I")
            elif count == _COMMIT.size and inserted:
                _, _, end_lsn, at_us = _COMMIT.unpack(data)
                yield Committed(end_lsn, _POSTGRES_EPOCH_S + at_us / 1e6)
                transactions -= 1
                inserted = False


class _Clock:
    def __init__(self) -> None:
        self._started_s = time.time()
        self._started_cpu_s = _cpu_s()

    def drained(self, size_bytes: int) -> Drained:
        return Drained(self._started_s, time.time() - self._started_s, _cpu_s() - self._started_cpu_s, size_bytes)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _stream(dsn: str, slot: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(dsn, replication="database", autocommit=True)
    options = f"proto_version '1', publication_names '{PUBLICATION}', messages 'true'"
    result = connection.pgconn.exec_(f"START_REPLICATION SLOT {slot} LOGICAL 0/0 ({options})".encode())
    if result.status != pq.ExecStatus.COPY_BOTH:
        raise psycopg.errors.error_from_result(result)
    return connection


def _wait(pgconn: pq.abc.PGconn) -> None:
    select([pgconn.socket], [], [])
    pgconn.consume_input()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["slot", address, name, rows]:
            print(json.dumps(drain_slot(address, name, int(rows))._asdict()))
        case ["copy", address, name]:
            print(json.dumps(drain_copy(address, name)._asdict()))
        case _:
            sys.exit(__doc__)
