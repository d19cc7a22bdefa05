"""Events on standard output, as a shell's user meets them."""

import os
from pathlib import Path

import pytest

from sinks.errors import ReaderGone, Rejected, SinkUnavailable
from sinks.stdout import StdoutConfig, StdoutSink
from tests.sinks.events import SCHEMAS, batch, event


def opened() -> StdoutSink:
    sink = StdoutSink(StdoutConfig(), SCHEMAS)
    sink.open()
    return sink


def test_a_line_can_be_read_as_soon_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr("sinks.stdout.STDOUT", write)
    sink = opened()
    sink.write(batch([event(1)]))
    assert os.read(read, 1000) == b'{"topic":"shop.public.orders","key":{"id":1},"value":{"id":1,"text":"a"}}\n'
    sink.flush()
    os.close(read)
    os.close(write)


def test_a_reader_that_has_seen_enough_is_not_a_failure_to_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr("sinks.stdout.STDOUT", write)
    sink = opened()
    with pytest.raises(ReaderGone) as gone:
        sink.write(batch([event(1)]))
    assert not gone.value.retryable
    sink.close()
    os.close(write)


def test_a_full_disk_behind_standard_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr("sinks.stdout.STDOUT", full.fileno())
        with pytest.raises(SinkUnavailable, match="No space left"):
            opened().write(batch([event(1)]))


def test_an_event_that_its_schema_cannot_read_is_rejected_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open("wb") as devnull:
        monkeypatch.setattr("sinks.stdout.STDOUT", devnull.fileno())
        with pytest.raises(Rejected, match=r"event 100/1: .*schema 11"):
            opened().write(batch([event(1)._replace(value=b"\0\0\0\0\x0b!")]))
