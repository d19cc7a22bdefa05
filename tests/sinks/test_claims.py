"""Values too large for their topic, kept as files, as a consumer on a real broker finds them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schema.encoder import clock
from schema.event import Event
from sinks.claims import HEADER, Claims
from sinks.errors import SinkError, SinkMisconfigured, SinkUnavailable
from sinks.kafka import KafkaSink
from sinks.kafka_config import KafkaConfig
from tests.kafka_servers import Kafka, KafkaRecord
from tests.sinks.events import batch
from tests.sinks.kafka import change, opened

pytestmark = pytest.mark.kafka

ABOVE_BYTES = 1000
ROW = b"\0\0\0\0\x07" + 500 * b"large"
READ_AT_NS, READ_AGAIN_AT_NS = 1_795_425_707_890_663_584, 1_795_425_999_111_222_333
DIES_AT = """
import json, os, signal, sys
from sinks.kafka_outbox import Outbox
from tests.sinks.kafka import change, opened
from tests.sinks.events import batch

def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

claims = {"directory": sys.argv[3], "above_bytes": 1000}
sink = opened(sys.argv[1], claim_check=claims)
if sys.argv[4] == "before the event goes out":
    Outbox.put = die
else:
    os.fsync = die
sink.write(batch([change(sys.argv[2], 1, value=sys.stdin.buffer.read())]))
"""


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = f"{kafka.prefix}.photos"
    kafka.create_topic(name)
    return name


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    return tmp_path / "claims"


def photo(topic: str, at_ns: int = READ_AT_NS) -> Event:
    """A large row; what its clock says tells one reading of the change from another."""
    return change(topic, 1, value=ROW + clock(at_ns))


def deliver(kafka: Kafka, claims: Path, *events: Event, **keys: Any) -> None:
    sink = opened(kafka.bootstrap, claim_check={"directory": str(claims), "above_bytes": ABOVE_BYTES}, **keys)
    try:
        sink.write(batch(events))
        sink.flush()
    finally:
        sink.close()


def files(claims: Path) -> list[Path]:
    return sorted(path for path in claims.rglob("*") if path.is_file())


class Message:
    """A record as confluent-kafka's consumer shows it."""

    def __init__(self, record: KafkaRecord) -> None:
        self._record = record

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self._record.headers)

    def value(self) -> bytes | None:
        return self._record.value


def documented() -> Callable[[Message, Path], bytes | None]:
    """`value_of` as docs/sinks.md gives it to readers."""
    text = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def value_of" in code)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[[Message, Path], bytes | None] = names["value_of"]
    return found


def resolved(kafka: Kafka, topic: str, claims: Path) -> list[bytes | None]:
    value_of = documented()
    return [value_of(Message(record), claims) for record in kafka.read(topic)]


def test_a_large_value_is_found_where_its_event_points_and_others_are_as_ever(
    kafka: Kafka, topic: str, claims: Path
) -> None:
    events = [change(topic, 0), photo(topic), change(topic, 1, value=b"small")]
    deliver(kafka, claims, *events, events[0]._replace(value=None), headers={"team": "a"})
    assert resolved(kafka, topic, claims) == [b"0", photo(topic).value, b"small", None]
    _, large, *_ = kafka.read(topic)
    (kept,) = files(claims)
    claim = {"path": f"{topic}/{kept.name}", "size_bytes": len(ROW) + 26, "sha256": sha256(kept)}
    assert json.loads(large.value or b"") == {"claim_check": claim}
    assert (large.key, dict(large.headers)["team"]) == (b"k", b"a")
    assert [HEADER in dict(record.headers) for record in kafka.read(topic)] == [False, True, False, False]


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("tail", ['"ts_ms":%d,"ts_us":%d,"ts_ns":%d}', '"ts_ms":%d,"ts_us":%d,"ts_ns":%d}}', ""])
def test_an_event_that_is_delivered_again_makes_no_second_file(
    kafka: Kafka, topic: str, claims: Path, tail: str
) -> None:
    def read_at(ns: int) -> Event:
        if not tail:
            return photo(topic, ns)
        ended = '{"after":{"a":"%s"},"op":"c",' % (5000 * "x") + tail % (ns // 10**6, ns // 1000, ns)
        return change(topic, 1, value=ended.encode())

    deliver(kafka, claims, read_at(READ_AT_NS))
    deliver(kafka, claims, read_at(READ_AGAIN_AT_NS))
    assert len(files(claims)) == 1
    assert resolved(kafka, topic, claims) == 2 * [read_at(READ_AT_NS).value]


def test_other_values_rows_and_topics_have_files_of_their_own(kafka: Kafka, topic: str, claims: Path) -> None:
    other = f"{topic}2"
    kafka.create_topic(other)
    first = photo(topic)
    events = [first, first._replace(value=b"+" + (first.value or b"")), first._replace(key=b"2")]
    deliver(kafka, claims, *events, photo(other))
    assert len(files(claims)) == 4
    assert resolved(kafka, topic, claims) == [event.value for event in events]
    assert resolved(kafka, other, claims) == [first.value]


@pytest.mark.parametrize("moment", ["before the event goes out", "before the file is durable"])
def test_a_kill_between_file_and_event_leaves_one_whole_file_once_the_event_is_delivered(
    kafka: Kafka, topic: str, claims: Path, moment: str
) -> None:
    claims.mkdir()
    (claims / topic).mkdir()
    command = [sys.executable, "-c", DIES_AT, kafka.bootstrap, topic, str(claims), moment]
    died = subprocess.run(command, input=photo(topic).value, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    (left,) = files(claims)
    assert left.name.startswith(".") == (moment == "before the file is durable")
    assert kafka.read(topic) == []
    deliver(kafka, claims, photo(topic, READ_AGAIN_AT_NS))
    (kept,) = files(claims)
    assert not kept.name.startswith(".")
    assert resolved(kafka, topic, claims) == [kept.read_bytes()]
    assert kept.read_bytes().startswith(ROW)


def test_a_second_runner_at_the_same_event_waits_until_its_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, fsync = photo("shop.photos"), os.fsync
    refused: list[str] = []
    claims, others = Claims(tmp_path), Claims(tmp_path)
    claims.open()

    def meet_the_other(fd: int) -> None:
        if files(tmp_path) and not refused:
            refused.append("none")
            with pytest.raises(SinkUnavailable, match="another process is writing the same file") as told:
                others.keep(event)
            refused[:] = [told.value.hint]
        fsync(fd)

    monkeypatch.setattr(os, "fsync", meet_the_other)
    kept = claims.keep(event)
    assert refused == ["let one runner of the connector go on; it is tried again"]
    assert others.keep(event) == kept
    assert [file.read_bytes() for file in files(tmp_path)] == [event.value]


def test_a_full_disk_holds_the_event_back_until_there_is_room(
    kafka: Kafka, topic: str, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(1 << 20)
    (disk / "ballast").write_bytes(bytes(1 << 19))
    large = change(topic, 1, value=os.urandom(700_000))
    with pytest.raises(SinkUnavailable, match="no space left"):
        deliver(kafka, disk, large)
    assert kafka.read(topic) == []
    (disk / "ballast").unlink()
    deliver(kafka, disk, large)
    assert resolved(kafka, topic, disk) == [large.value]


def test_a_folder_that_cannot_be_used_is_named_before_anything_is_delivered(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    with pytest.raises(SinkMisconfigured, match=f"{taken}") as error:
        deliver(kafka, taken / "claims", photo(topic))
    assert "set sink.claim_check.directory to a folder" in error.value.hint
    claims = {"directory": str(taken / "claims")}
    config = KafkaConfig.model_validate({"bootstrap_servers": kafka.bootstrap, "claim_check": claims})
    with pytest.raises(SinkError, match=f"{taken}"):
        list(KafkaSink.check(config, []))


def test_a_limit_without_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="directory: missing"):
        KafkaConfig.model_validate({"bootstrap_servers": "broker:9092", "claim_check": {"above_bytes": 5}})
