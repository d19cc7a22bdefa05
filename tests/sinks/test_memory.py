"""The memory sink fails exactly where a test tells it to."""

import pytest

import sinks
from sinks.errors import SinkMisconfigured, SinkUnavailable
from sinks.memory import Applied, MemoryConfig, MemorySink, Step, Target
from tests.sinks.events import SCHEMAS, batch, event


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    return Target.named(request.node.name)


@pytest.fixture
def sink(request: pytest.FixtureRequest, target: Target) -> MemorySink:
    sink = MemorySink(MemoryConfig(target=request.node.name), SCHEMAS)
    sink.open()
    return sink


def test_an_event_is_durable_only_once_it_is_flushed(sink: MemorySink, target: Target) -> None:
    sink.write(batch([event(1)]))
    assert (target.accepted, target.durable) == ([event(1)], [])
    sink.flush()
    assert (target.accepted, target.durable) == ([], [event(1)])
    sink.write(batch([event(2)]))
    sink.close()
    assert (target.accepted, target.durable) == ([], [event(1)])


def test_what_a_sink_that_was_never_closed_had_in_flight_is_lost(sink: MemorySink, target: Target) -> None:
    sink.write(batch([event(1)]))
    sink.open()
    sink.flush()
    assert target.durable == []


@pytest.mark.parametrize(("applied", "count"), [("none", 0), ("half", 2), ("all", 4)])
@pytest.mark.parametrize("step", ["write", "flush"])
def test_a_call_fails_before_amid_or_after_it_takes_effect(
    sink: MemorySink, target: Target, step: Step, applied: Applied, count: int
) -> None:
    target.fail(step, applied=applied)
    with pytest.raises(SinkUnavailable):
        sink.write(batch(event(n) for n in range(4)))
        sink.flush()
    assert len(target.accepted if step == "write" else target.durable) == count


def test_the_nth_call_fails_once_with_the_error_given(sink: MemorySink, target: Target) -> None:
    target.fail("flush", nth=3, error=SinkMisconfigured("no"))
    sink.flush()
    sink.flush()
    with pytest.raises(SinkMisconfigured):
        sink.flush()
    sink.flush()


def test_every_sink_is_found_by_its_name() -> None:
    for name in sinks.SINKS:
        assert sinks.load(name).Config.model_fields["type"].default == name
    with pytest.raises(KeyError):
        sinks.load("kafak")
