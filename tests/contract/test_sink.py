"""What every sink must keep. A new sink adds one line to ADAPTERS."""

import errno
import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sinks
from schema.event import Event
from sinks.base import Sink
from sinks.errors import Rejected, SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.memory import Target
from tests.contract.sink_process import FLUSHED, UNFLUSHED
from tests.kafka_servers import LocalKafka, OwnKafka
from tests.sinks.events import ITEMS, LOG, ORDERS, SCHEMAS, SECOND, Row, batch, event, row, tombstone
from tests.sinks.readers import read_files, read_lines


def _no_space_at_fsync(patch: pytest.MonkeyPatch, folder: Path) -> None:
    def fail(fd: int) -> None:
        patch.undo()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", fail)


@functools.cache
def broker() -> OwnKafka:
    """The one of this file, which may be frozen; it starts with the first test that needs it."""
    server = LocalKafka()
    server.start()
    return OwnKafka(server)


@pytest.fixture(scope="module", autouse=True)
def _no_broker_is_left() -> Iterator[None]:
    yield
    if broker.cache_info().currsize:
        broker().remove()
        broker.cache_clear()


def _kafka(folder: Path) -> dict[str, Any]:
    """No topic is there yet. Events wait for the flush, so that one can fail."""
    kafka = broker()
    kafka.server.signal(signal.SIGCONT)  # a test that failed may have left it frozen
    for topic in kafka.topics():
        kafka.delete_topic(topic)
    wait = {"delivery_timeout_s": 10, "settings": {"linger.ms": 60_000}}
    return {"type": "kafka", "bootstrap_servers": kafka.bootstrap, "topics": {"create": True}, **wait}


def _read_kafka(folder: Path) -> list[Row]:
    kafka = broker()
    return [
        row(Event(topic, "", record.key, record.value, (0, 0)))
        for topic in sorted(kafka.topics())
        for record in kafka.read(topic)
    ]


def _freeze_broker(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Until the sink that failed is closed."""
    close = KafkaSink.close

    def close_and_thaw(sink: KafkaSink) -> None:
        close(sink)
        broker().server.signal(signal.SIGCONT)
        patch.undo()

    patch.setattr(KafkaSink, "close", close_and_thaw)
    patch.setattr("offsets.kafka_questions.ANSWER_TIMEOUT_S", 1.0)
    broker().server.signal(signal.SIGSTOP)


_NO_SUCH_SCHEMA = event(99)._replace(value=b"\0\0\0\0\x63")
_TOO_LARGE = event(99)._replace(value=random.Random(1).randbytes(2_000_000))


class Adapter(NamedTuple):
    """`config` is the `sink` part of a connector file for a target in a folder, `delivered` reads that target as a
    user does, `fail_flush` makes the next flush fail with SinkUnavailable. Files count as delivered once published.
    """

    name: str
    config: Callable[[Path], dict[str, Any]]
    delivered: Callable[[Path], list[Row]]
    fail_flush: Callable[[pytest.MonkeyPatch, Path], None] = _no_space_at_fsync
    outlives_the_process: bool = True
    refused: Event | None = _NO_SUCH_SCHEMA
    shows_at_flush: bool = True
    mark: str = ""


def _files(**keys: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"type": "files", "directory": str(folder / "out"), **keys}


ADAPTERS = [
    Adapter("jsonl", _files(), lambda folder: read_files(folder / "out")),
    Adapter("avro", _files(format="avro"), lambda folder: read_files(folder / "out")),
    Adapter("deflate", _files(format="avro", codec="deflate"), lambda folder: read_files(folder / "out")),
    Adapter(
        "stdout",
        lambda folder: {"type": "stdout"},
        lambda folder: list(read_lines(folder / "stdout")),
        shows_at_flush=False,
    ),
    Adapter("kafka", _kafka, _read_kafka, _freeze_broker, refused=_TOO_LARGE, shows_at_flush=False, mark="kafka"),
    Adapter(
        "memory",
        lambda folder: {"type": "memory", "target": str(folder)},
        lambda folder: [row(event) for event in Target.named(str(folder)).durable],
        lambda patch, folder: Target.named(str(folder)).fail("flush", applied="half"),
        outlives_the_process=False,
        refused=None,
    ),
]
PARAMS = [
    pytest.param(adapter, id=adapter.name, marks=getattr(pytest.mark, adapter.mark) if adapter.mark else ())
    for adapter in ADAPTERS
]


class Bench:
    """One target, the sinks opened on it, and what a reader finds there."""

    def __init__(self, adapter: Adapter, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.adapter = adapter
        self.folder = folder
        self._patch = patch
        self.config = adapter.config(folder)

    def open(self) -> Sink:
        cls = sinks.load(self.config["type"])
        sink: Sink = cls(cls.Config.model_validate_json(json.dumps(self.config)), SCHEMAS)
        sink.open()
        return sink

    def delivered(self, topic: str = ORDERS) -> list[Row]:
        return [row for row in self.adapter.delivered(self.folder) if row.topic == topic]

    def ids(self, topic: str = ORDERS) -> list[int]:
        return [row.value["id"] for row in self.delivered(topic)]

    def fail_next_flush(self) -> None:
        self.adapter.fail_flush(self._patch, self.folder)


@pytest.fixture(params=PARAMS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Standard output is the file `stdout` in the target's folder: pytest keeps the real one for itself."""
    fd = os.open(tmp_path / "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    monkeypatch.setattr("sinks.stdout.STDOUT", fd)
    with pytest.MonkeyPatch.context() as patch:
        yield Bench(request.param, tmp_path, patch)
    os.close(fd)


def test_events_are_delivered_in_the_order_written(bench: Bench) -> None:
    events = [event(n) for n in range(1000)]
    sink = bench.open()
    for at in range(0, 1000, 100):
        sink.write(batch(events[at : at + 100]))
        if at % 300 == 0:
            sink.flush()
    sink.flush()
    sink.close()
    assert bench.delivered() == [row(event) for event in events]


def test_caught_up_shows_everything_while_the_sink_stays_open(bench: Bench) -> None:
    sink = bench.open()
    for n in range(3):
        sink.write(batch([event(n)]))
        sink.flush()
        sink.caught_up()
        assert bench.ids() == list(range(n + 1))
    sink.close()
    assert bench.ids() == [0, 1, 2]


def test_what_a_flush_returned_for_survives_a_kill(bench: Bench) -> None:
    if not bench.adapter.outlives_the_process:
        pytest.skip("the target ends with the process")
    command = [sys.executable, "-m", "tests.contract.sink_process", json.dumps(bench.config)]
    with (
        (bench.folder / "stdout").open("ab") as stdout,
        subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr
        said = [process.stderr.readline().strip(), process.stderr.readline().strip()]
        process.kill()
    assert said == ["flushed", "written"]
    bench.open().close()
    for topic in (ORDERS, ITEMS):
        written = [row(event) for event in [*FLUSHED, *UNFLUSHED] if event.topic == topic]
        delivered = bench.delivered(topic)
        assert len(delivered) >= len(FLUSHED) // 2
        assert delivered == written[: len(delivered)]


def test_closing_shows_nothing_that_was_not_flushed(bench: Bench) -> None:
    if not bench.adapter.shows_at_flush:
        pytest.skip("what was written may be seen at once")
    sink = bench.open()
    sink.write(batch(event(n) for n in range(10)))
    sink.flush()
    sink.write(batch(event(n, text="x" * 500_000) for n in range(10, 20)))
    sink.close()
    assert bench.ids() == list(range(10))


def test_a_sink_reopened_after_an_error_goes_on_without_loss(bench: Bench) -> None:
    sink = bench.open()
    sink.write(batch(event(n) for n in range(10)))
    sink.flush()
    again = batch(event(n) for n in range(10, 20))
    sink.write(again)
    bench.fail_next_flush()
    with pytest.raises(SinkUnavailable) as failure:
        sink.flush()
    assert failure.value.hint
    sink.close()
    sink = bench.open()
    sink.write(again)
    sink.write(batch([event(20)]))
    sink.flush()
    sink.close()
    ids = bench.ids()
    seen = len(ids) - 21  # of the batch written twice, what the first attempt left
    assert ids == [*range(10), *range(10, 10 + seen), *range(10, 21)]


def test_tombstones_and_events_without_a_key_are_delivered(bench: Bench) -> None:
    events = [tombstone(1), event(2), tombstone(2), event(3, LOG), event(4, LOG)]
    sink = bench.open()
    sink.write(batch(events))
    sink.flush()
    sink.close()
    assert bench.delivered() == [row(event) for event in events[:3]]
    assert bench.delivered(LOG) == [row(event) for event in events[3:]]


def test_topics_of_one_batch_keep_their_own_order(bench: Bench) -> None:
    sink = bench.open()
    sink.write(batch(event(n, (ORDERS, ITEMS, LOG)[n % 3]) for n in range(99)))
    sink.flush()
    sink.close()
    for at, topic in enumerate((ORDERS, ITEMS, LOG)):
        assert bench.ids(topic) == list(range(at, 99, 3))


def test_an_event_that_is_rejected_costs_none_of_the_others_whatever_their_topic(bench: Bench) -> None:
    bad = bench.adapter.refused
    if bad is None:
        pytest.skip("it refuses nothing")
    events = [event(n, (ORDERS, ITEMS, LOG)[n % 3]) for n in range(9)]
    sink = bench.open()
    with pytest.raises(Rejected) as rejected:
        sink.write(batch([*events[:4], bad, *events[4:]]))
    assert rejected.value.event == bad
    sink.write(batch(events[4:]))
    sink.flush()
    sink.close()
    for at, topic in enumerate((ORDERS, ITEMS, LOG)):
        assert bench.ids(topic) == list(range(at, 9, 3))


def test_the_schema_version_may_change_between_any_two_events(bench: Bench) -> None:
    events = [event(1), event(2, version=SECOND), tombstone(2), event(3, version=SECOND), event(4)]
    sink = bench.open()
    sink.write(batch(events))
    sink.flush()
    sink.write(batch([event(5), event(6, version=SECOND)]))
    sink.flush()
    sink.close()
    assert bench.delivered() == [row(e) for e in [*events, event(5), event(6, version=SECOND)]]


def test_a_value_of_a_megabyte_is_delivered_whole(bench: Bench) -> None:
    large = [event(n, text=str(n) * 1_000_000) for n in range(5)]
    sink = bench.open()
    sink.write(batch([large[0]]))
    sink.flush()
    sink.write(batch(large[1:]))
    sink.flush()
    sink.close()
    assert bench.delivered() == [row(event) for event in large]


def test_a_batch_may_be_empty_and_a_flush_may_have_nothing_to_do(bench: Bench) -> None:
    sink = bench.open()
    sink.flush()
    sink.write(batch([]))
    sink.flush()
    sink.caught_up()
    sink.close()
    assert bench.adapter.delivered(bench.folder) == []


def test_closing_again_is_harmless(bench: Bench) -> None:
    sink = bench.open()
    sink.write(batch([event(1)]))
    sink.flush()
    sink.close()
    sink.close()
    assert bench.ids() == [1]


def test_a_sink_that_failed_closes_without_a_word(bench: Bench) -> None:
    sink = bench.open()
    sink.write(batch([event(1)]))
    bench.fail_next_flush()
    with pytest.raises(SinkUnavailable):
        sink.flush()
    sink.close()
    sink.close()
