"""What becomes of a change that no event can hold, and of an event that the sink refuses."""

from pathlib import Path

from offsets.memory import MemoryStore
from offsets.position import Position
from schema.event import Batch, DeadLetter, Event
from service.pipeline import Pipeline
from sinks.base import Sink
from sinks.errors import Rejected
from tests.fold import read_events
from tests.servers import Database, Tailrace


def test_a_value_that_no_event_can_hold_stops_the_connector_and_is_named(
    postgres: Database, tailrace: Tailrace
) -> None:
    postgres.execute("create table t (id int primary key, n numeric(10,2))")
    postgres.execute("insert into t values (1, 1.5)")
    shop = postgres.connector()
    tailrace.catch_up(shop)
    postgres.execute("insert into t values (2, 'NaN')")
    done = tailrace("run", tailrace.write(shop), "--until-caught-up")
    assert done.returncode == 3
    assert "public.t.n" in done.stderr
    assert "NaN" in done.stderr
    assert "errors.unrepresentable" in done.stderr
    assert "Traceback" not in done.stderr


def test_by_policy_it_becomes_a_dead_letter_and_the_rest_goes_on(postgres: Database, tailrace: Tailrace) -> None:
    postgres.execute("create table t (id int primary key, n numeric(10,2))")
    postgres.execute("insert into t values (1, 1.5), (2, 'NaN')")
    shop = postgres.connector(errors={"unrepresentable": "dlq"})
    tailrace.catch_up(shop)
    postgres.execute("insert into t values (3, 'NaN')")
    postgres.execute("insert into t values (4, 2.5)")
    tailrace.catch_up(shop)
    delivered = [event["value"]["after"]["id"] for event in read_events(postgres.folder / "out")]
    assert delivered == [1, 4]
    listed = tailrace("dlq", "list", "shop").stdout
    assert listed.count("cannot hold NaN") == 2
    shown = tailrace("dlq", "show", "shop", "1").stdout
    assert "2\\tNaN" in shown
    missing = tailrace("dlq", "show", "shop", "9")
    assert (missing.returncode, "has no dead letter 9" in missing.stderr) == (2, True)


class Picky:
    """Refuses the events whose value is ``bad``; whatever it accepted is durable."""

    def __init__(self) -> None:
        self.accepted: list[bytes | None] = []

    def open(self) -> None: ...
    def flush(self) -> None: ...
    def caught_up(self) -> None: ...
    def close(self) -> None: ...

    def write(self, batch: Batch) -> None:
        for event in batch.events:
            if event.value == b"bad":
                raise Rejected(event, "too bad")
            self.accepted.append(event.value)


def test_an_event_that_the_sink_rejects_is_put_aside_and_the_rest_follows(tmp_path: Path) -> None:
    sink: Sink = Picky()
    letters: list[DeadLetter] = []
    pipeline = Pipeline("shop", None, sink, MemoryStore(), dead_letter=letters.append)  # type: ignore[arg-type]
    values = [b"a", b"bad", b"b", b"bad", b"c"]
    events = [Event("t", "public.t", None, value, (7, n)) for n, value in enumerate(values)]
    pipeline._queue.put(Batch(events, Position(8, "0/8", "{}"), 1, {}), 0)
    pipeline.deliver_once(0)
    assert isinstance(sink, Picky)
    assert sink.accepted == [b"a", b"b", b"c"]
    assert [(letter.value, letter.position) for letter in letters] == [(b"bad", "7/1"), (b"bad", "7/3")]
    assert pipeline.checkpoints == 1
