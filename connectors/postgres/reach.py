"""What commands ask of a Postgres server: how far back it can go, what a position means to it, what is captured."""

from collections.abc import Mapping
from contextlib import closing

import psycopg

from connectors.chunk import Progress
from connectors.errors import LogGap
from connectors.patterns import selected
from connectors.postgres import slot
from connectors.postgres.catalog import Catalog
from connectors.postgres.config import PostgresConfig
from connectors.postgres.stream import connect, format_lsn, parse_lsn, source_error
from offsets.position import Position, Range
from schema.avro import topic_name
from schema.preflight import Topic

_APPLICATION = "tailrace offsets"


def positions(config: PostgresConfig) -> Range:
    """From where the slot begins to where the log ends now. Raises SourceError; LogGap where the slot is gone."""
    with (
        closing(connect(config, replication=True, application=_APPLICATION)) as replication,
        closing(connect(config, application=_APPLICATION)) as connection,
    ):
        try:
            server = slot.identify(replication)
            found = slot.find(connection, config.slot)
        except psycopg.Error as error:
            raise source_error(error, config) from None
    if found is None or found.wal_status == "lost":
        what = "lost the log that it needed" if found else "is gone"
        raise LogGap(
            f"slot {config.slot} on {config.host} {what}: no position before {format_lsn(server.end)} can be read",
            "run `tailrace offsets reset NAME`: the next run makes a new slot and copies every table",
        )
    origin = slot.origin(server, config)
    return Range(
        Position(found.confirmed, format_lsn(found.confirmed), origin),
        Position(server.end, format_lsn(server.end), origin),
    )


def position(config: PostgresConfig, word: str, reach: Range) -> Position:
    """``0/31C6530`` as a position of the log that is within `reach`. Raises ValueError."""
    order = parse_lsn(word)
    return Position(order, format_lsn(order), reach.latest.origin)


def size_bytes(one: Position, other: Position) -> int:
    """How much log lies between two positions."""
    return abs(one.order - other.order)


def topics(config: PostgresConfig, topic_prefix: str) -> list[Topic]:
    """Where events of the tables that are captured now go. Raises SourceError."""
    with closing(connect(config, application=_APPLICATION)) as connection:
        try:
            catalog = Catalog(connection)
            captured = [table for table in catalog.tables() if selected(config.tables, table.full)]
            keys = {table.full: catalog.definition(table.oid) for table in captured}
        except psycopg.Error as error:
            raise source_error(error, config) from None
    return [Topic(topic_name(topic_prefix, full), bool(now and now.key)) for full, now in keys.items()]


def copied(config: PostgresConfig) -> Mapping[str, str]:
    """Snapshot progress that calls every captured table copied: for a log that another reader has followed so far."""
    with closing(connect(config, application=_APPLICATION)) as connection:
        try:
            tables = Catalog(connection).tables()
        except psycopg.Error as error:
            raise source_error(error, config) from None
    captured = (table for table in tables if selected(config.tables, table.full))
    return {table.full: Progress(table.oid, done=True).dump() for table in captured}


def copies(snapshot: Mapping[str, str]) -> Mapping[str, str]:
    """All of it: the log itself tells what tables look like at a position."""
    return snapshot
