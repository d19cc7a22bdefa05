"""`tailrace tail`: events as they would be delivered, shown and not kept."""

import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import structlog

import connectors
from connectors.base import Source
from schema.decode import Decoder
from schema.event import Event
from service import __version__, secrets
from service.config import Connector
from service.exits import about
from service.state import State

log = structlog.get_logger("tailrace")

READ_TIMEOUT_S = 0.5


def tail(connector: Connector, start: str, count: int | None) -> None:
    """Write decoded events to stdout, a JSON line each, until `count` were written, Ctrl-C, or nobody reads.

    `start`: ``now``, ``start`` or a position. Raises SourceError.
    """
    with (
        about(connector.name),
        tempfile.TemporaryDirectory() as folder,
        closing(State.open(Path(folder)).registry()) as registry,
    ):
        source: Source = connectors.load(connector.source_type)(
            secrets.resolve(connector.source),
            connector=connector.name,
            topic_prefix=connector.topic_prefix,
            registry=registry,
            version=__version__,
        )
        decoder = Decoder(registry.schema)
        try:
            source.open_view(start)
            if sys.stderr.isatty():
                log.info("shows each change as it is committed; Ctrl-C ends", since=start)
            for event in itertools.islice(_events(source), count):
                sys.stdout.buffer.write(decoder.line(event))
                sys.stdout.buffer.flush()
        except (KeyboardInterrupt, BrokenPipeError):
            pass
        finally:
            source.close()


def _events(source: Source) -> Iterator[Event]:
    while True:
        batch = source.read(READ_TIMEOUT_S)
        source.ack(None)
        yield from batch.events if batch else ()
