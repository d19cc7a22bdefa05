"""A sink that is given events in another format than they are made in."""

import json

import pytest

from schema.formats import form_of
from service.sink_building import Formatted
from sinks.errors import Rejected
from sinks.memory import MemoryConfig, MemorySink, Target
from tests.sinks.events import SCHEMAS, batch, event, tombstone


def formatted(target: str) -> Formatted:
    form = form_of("json", SCHEMAS.schema)
    assert form is not None
    sink = Formatted(MemorySink(MemoryConfig(target=target), SCHEMAS), form)
    sink.open()
    return sink


def test_an_event_that_cannot_be_read_costs_none_of_the_others() -> None:
    bad = event(2)._replace(value=b"\0\0\0\0\x63")
    sink = formatted("costs none")
    with pytest.raises(Rejected, match="schema 99 is not in the registry") as rejected:
        sink.write(batch([event(1), bad, event(3)]))
    assert rejected.value.event is bad
    sink.write(batch([event(3)]))
    sink.flush()
    delivered = Target.named("costs none").durable
    assert [json.loads(seen.value or b"")["id"] for seen in delivered] == [1, 3]


def test_keys_and_tombstones_are_in_the_format_too_and_the_rest_of_an_event_is_not_touched() -> None:
    sink = formatted("tombstones")
    sent = tombstone(1)
    sink.write(batch([sent]))
    sink.flush()
    (seen,) = Target.named("tombstones").durable
    assert seen == sent._replace(key=b'{"id":1}')


def test_what_only_some_sinks_have_is_there_if_the_sink_has_it() -> None:
    sink = formatted("some")
    assert not hasattr(sink, "write_letters")
    assert sink.caught_up() is None
