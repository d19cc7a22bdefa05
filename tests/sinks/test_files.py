"""The files sink as its readers and its operators see it."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sinks.errors import Rejected, SinkMisconfigured, SinkUnavailable
from sinks.files import FilesConfig, FilesSink
from tests.schema.test_decode import VARIABLE
from tests.sinks.events import BODIES, ITEMS, ORDERS, SCHEMAS, SECOND, DictSchemas, batch, event, tombstone, wire
from tests.sinks.readers import hidden, published, read_file, read_files

FORMATS = pytest.mark.parametrize("kind", ["jsonl", "avro"])


def opened(folder: Path, **keys: Any) -> FilesSink:
    sink = FilesSink(FilesConfig.model_validate({"directory": folder, **keys}), SCHEMAS)
    sink.open()
    return sink


def ids(folder: Path) -> list[int]:
    return [row.value["id"] for row in read_files(folder)]


@FORMATS
def test_nothing_is_seen_before_a_file_is_whole(tmp_path: Path, kind: str) -> None:
    sink = opened(tmp_path, format=kind)
    sink.write(batch([event(1)]))
    sink.flush()
    assert published(tmp_path) == []
    assert len(hidden(tmp_path)) == 1
    sink.close()
    assert [path.suffix for path in published(tmp_path)] == [f".{kind}"]
    assert hidden(tmp_path) == []


@FORMATS
def test_a_file_is_published_at_its_size_and_the_names_sort_as_written(tmp_path: Path, kind: str) -> None:
    sink = opened(tmp_path, format=kind, roll_bytes=1000)
    for n in range(40):
        sink.write(batch([event(n, text="x" * 300)]))
        sink.flush()
    assert len(published(tmp_path)) >= 8
    assert ids(tmp_path) == list(range(len(ids(tmp_path))))
    sink.close()
    assert ids(tmp_path) == list(range(40))


def test_a_file_is_published_at_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("sinks.files_topic.time.monotonic", lambda: now_s)
    sink = opened(tmp_path, roll_seconds=60)
    sink.write(batch([event(1)]))
    now_s += 59
    sink.flush()
    assert ids(tmp_path) == []
    now_s += 1
    sink.flush()  # also where nothing was written since
    assert ids(tmp_path) == [1]
    sink.close()


def test_names_grow_even_where_the_clock_went_back(tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=1)
    (tmp_path / ORDERS).mkdir()
    earlier = tmp_path / ORDERS / future.strftime("%Y%m%dT%H%M%S.%fZ.jsonl")
    earlier.touch()
    sink = opened(tmp_path, roll_bytes=1)
    for n in range(3):
        sink.write(batch([event(n)]))
    sink.close()
    assert published(tmp_path)[0] == earlier
    assert ids(tmp_path) == [0, 1, 2]


def test_a_schema_version_begins_a_new_avro_file_but_not_a_new_jsonl_file(tmp_path: Path) -> None:
    events = batch([event(1), tombstone(1), event(2, version=SECOND), tombstone(2)])
    for kind, files in (("avro", 2), ("jsonl", 1)):
        sink = opened(tmp_path / kind, format=kind)
        sink.write(events)
        sink.caught_up()
        sink.close()
        assert len(published(tmp_path / kind)) == files
    assert [len(list(read_file(path))) for path in published(tmp_path / "avro")] == [2, 2]


def test_a_new_version_of_the_key_begins_a_new_avro_file(tmp_path: Path) -> None:
    text_key = {"type": "record", "name": "Key", "namespace": ORDERS, "fields": [{"name": "id", "type": "string"}]}
    bodies = {**BODIES, 13: text_key}
    sink = FilesSink(FilesConfig(directory=tmp_path, format="avro"), DictSchemas(bodies))
    sink.open()
    sink.write(batch([event(1), event(2)._replace(key=wire(13, {"id": "two"}, bodies))]))
    sink.caught_up()
    sink.close()
    assert [row.key for row in read_files(tmp_path)] == [{"id": 1}, {"id": "two"}]


def test_an_avro_file_that_begins_with_a_tombstone_goes_on_with_the_version_before_it(tmp_path: Path) -> None:
    sink = opened(tmp_path, format="avro")
    sink.write(batch([event(1)]))
    sink.caught_up()
    sink.write(batch([tombstone(1), event(2)]))
    sink.caught_up()
    sink.close()
    assert len(published(tmp_path)) == 2


def test_an_avro_block_is_sealed_only_once_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    sink = opened(tmp_path, format="avro")
    sink.write(batch([event(1)]))
    sink.flush()
    sink.write(batch([event(2)]))
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(SinkUnavailable, match="Input/output error"):
        sink.flush()
    (file,) = hidden(tmp_path)
    data = file.read_bytes()
    sink.close()
    assert ids(tmp_path) == [1]
    marker = published(tmp_path)[0].read_bytes()[-16:]
    assert not data.endswith(marker)


@FORMATS
def test_a_file_cut_at_any_byte_is_published_up_to_its_last_whole_event(tmp_path: Path, kind: str) -> None:
    sink = opened(tmp_path / "whole", format=kind)
    sizes = [0]
    for n in range(4):
        sink.write(batch([event(n)]))
        sink.flush()
        (file,) = hidden(tmp_path / "whole")
        sizes.append(file.stat().st_size)
    data = file.read_bytes()
    sink.close()
    for cut in range(sizes[1] - 20, len(data) + 1):
        folder = tmp_path / str(cut)
        (folder / ORDERS).mkdir(parents=True)
        (folder / ORDERS / file.name).write_bytes(data[:cut])
        opened(folder, format=kind).close()
        assert ids(folder) == list(range(sum(size <= cut for size in sizes[1:])))
        assert hidden(folder) == []


@FORMATS
def test_a_page_that_a_power_cut_lost_ends_the_file_before_it(tmp_path: Path, kind: str) -> None:
    sink = opened(tmp_path / "whole", format=kind)
    sink.write(batch([event(0)]))
    sink.flush()
    (file,) = hidden(tmp_path / "whole")
    whole = file.stat().st_size
    sink.write(batch([event(1), event(2)]))
    sink.flush()
    data = bytearray(file.read_bytes())
    sink.close()
    if kind == "jsonl":
        data[whole + 20 : whole + 40] = bytes(20)
    else:
        data[whole + 20 :] = bytes(len(data) - whole - 20)  # the marker follows its block only once that is durable
    (tmp_path / "lost" / ORDERS).mkdir(parents=True)
    (tmp_path / "lost" / ORDERS / file.name).write_bytes(data)
    opened(tmp_path / "lost", format=kind).close()
    assert ids(tmp_path / "lost") == [0]


def test_what_a_crash_left_is_repaired_whatever_the_format_is_now(tmp_path: Path) -> None:
    sink = opened(tmp_path / "avro", format="avro")
    sink.write(batch([event(1)]))
    sink.flush()
    (file,) = hidden(tmp_path / "avro")
    (tmp_path / "now" / ORDERS).mkdir(parents=True)
    (tmp_path / "now" / ORDERS / file.name).write_bytes(file.read_bytes())
    sink.close()
    opened(tmp_path / "now", format="jsonl").close()
    assert ids(tmp_path / "now") == [1]


def test_connectors_may_share_a_directory(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.write(batch([event(1)]))
    first.flush()
    second = opened(tmp_path)
    second.write(batch([event(2, ITEMS)]))
    second.caught_up()
    assert [row.topic for row in read_files(tmp_path)] == [ITEMS]
    first.write(batch([event(3)]))
    first.flush()
    first.close()
    second.close()
    assert [row.value["id"] for row in read_files(tmp_path) if row.topic == ORDERS] == [1, 3]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / "notes", tmp_path / ORDERS / ".DS_Store", tmp_path / ORDERS / "notes.jsonl"]
    (tmp_path / ORDERS).mkdir()
    for path in others:
        path.write_text("theirs")
    sink = opened(tmp_path)
    sink.write(batch([event(1)]))
    sink.caught_up()
    sink.close()
    assert [path.read_text() for path in others] == ["theirs"] * 3


@pytest.mark.parametrize("topic", ["../escape", "a/b", "..", ".hidden", "ü \n"])
def test_no_topic_leaves_the_directory(tmp_path: Path, topic: str) -> None:
    sink = opened(tmp_path / "out")
    sink.write(batch([event(1)._replace(topic=topic)]))
    sink.caught_up()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [row.topic for row in read_files(tmp_path / "out")] == [topic]


def test_key_and_value_may_define_the_same_type(tmp_path: Path) -> None:
    """A numeric key without scale has VariableScaleDecimal in both of its schemas, and Avro allows one definition."""
    bodies = {
        1: {"type": "record", "name": "Key", "namespace": ORDERS, "fields": [{"name": "id", "type": VARIABLE}]},
        2: {"type": "record", "name": "Envelope", "namespace": ORDERS, "fields": [{"name": "v", "type": VARIABLE}]},
    }
    number = {"scale": 1, "value": b"\x07"}
    one = event(1)._replace(key=wire(1, {"id": number}, bodies), value=wire(2, {"v": number}, bodies))
    sink = FilesSink(FilesConfig(directory=tmp_path, format="avro"), DictSchemas(bodies))
    sink.open()
    sink.write(batch([one]))
    sink.caught_up()
    sink.close()
    assert [(row.key, row.value) for row in read_files(tmp_path)] == [({"id": number}, {"v": number})]


@FORMATS
def test_an_event_of_an_unknown_schema_is_rejected_by_name(tmp_path: Path, kind: str) -> None:
    sink = FilesSink(FilesConfig.model_validate({"directory": tmp_path, "format": kind}), DictSchemas({10: BODIES[10]}))
    sink.open()
    with pytest.raises(Rejected, match=r"public\.orders, event 100/5: schema 11 is not in the registry"):
        sink.write(batch([event(5)]))
    sink.close()
    assert read_files(tmp_path) == []


@pytest.mark.parametrize("keys", [{"format": "parquet"}, {"codec": "deflate"}, {"folder": "x"}, {"roll_bytes": 0}])
def test_what_the_sink_cannot_do_is_refused_by_its_configuration(tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilesConfig.model_validate({"directory": tmp_path, **keys})


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_place_of_the_directory_never_works(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkMisconfigured, match="a file stands where a folder is needed") as failure:
        opened(tmp_path / path)
    assert str(tmp_path / "file") in str(failure.value)
    assert failure.value.hint


def test_a_directory_without_permission_never_works(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(SinkMisconfigured, match="no permission to write there"):
            opened(folder)
    finally:
        if root:
            os.seteuid(0)


@FORMATS
@pytest.mark.parametrize("what", ["directory", "topic", "moved"])
def test_a_folder_removed_while_running_is_noticed_before_anything_is_called_durable(
    tmp_path: Path, kind: str, what: str
) -> None:
    directory = tmp_path / "out"
    sink = opened(directory, format=kind)
    sink.write(batch([event(1)]))
    sink.flush()
    sink.write(batch([event(2)]))
    if what == "moved":
        directory.rename(tmp_path / "elsewhere")
    else:
        subprocess.run(["rm", "-r", directory if what == "directory" else directory / ORDERS], check=True)
    with pytest.raises(SinkUnavailable, match="removed or moved while in use"):
        sink.flush()
    sink.close()
    sink = opened(directory, format=kind)
    sink.write(batch([event(2)]))
    sink.flush()
    sink.close()
    assert ids(directory) == [2]


Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """A file system of its own: `mount("size=1m")`, `mount("remount,ro")`."""
    place = tmp_path / "mounted"
    place.mkdir()

    def with_options(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return place

    yield with_options
    subprocess.run(["umount", "-l", place], capture_output=True)


@FORMATS
def test_a_full_disk_loses_nothing_and_delivery_goes_on_when_there_is_space(mount: Mount, kind: str) -> None:
    place = mount("size=300k")
    sink = opened(place, format=kind)
    sink.write(batch(event(n) for n in range(10)))
    sink.flush()
    again = batch(event(n, text="x" * 5000) for n in range(10, 100))
    with pytest.raises(SinkUnavailable, match="no space left") as failure:
        sink.write(again)
        sink.flush()
    assert failure.value.hint.startswith("free space there")
    sink.close()
    assert ids(place) == list(range(10))
    mount("remount,size=10m")
    sink = opened(place, format=kind)
    sink.write(again)
    sink.flush()
    sink.close()
    assert ids(place) == [*range(10), *range(10, 100)]


def test_a_read_only_file_system_is_named(mount: Mount) -> None:
    place = mount("size=1m,ro")
    with pytest.raises(SinkUnavailable, match="the file system is read-only"):
        opened(place)
