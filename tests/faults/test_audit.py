"""The judge itself: what it counts beside a sink that goes on publishing."""

from pathlib import Path
from threading import Event, Thread

import fastavro

from tests.faults.targets import count

SCHEMA = {"type": "record", "name": "row", "fields": [{"name": "id", "type": "int"}]}


def test_a_count_beside_a_sink_that_publishes_misses_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "topic"
    folder.mkdir()
    for n in range(20):
        with (folder / f".{n:03}.avro").open("wb") as file:
            fastavro.writer(file, SCHEMA, [{"id": n}])
    stop = Event()
    publisher = Thread(target=_publish_and_hide, args=(folder, stop))
    publisher.start()
    try:
        counts = [count(tmp_path) for _ in range(200)]
    finally:
        stop.set()
        publisher.join()
    assert counts == [{"topic": 20}] * 200


def _publish_and_hide(folder: Path, stop: Event) -> None:
    while not stop.wait(0.005):
        for path in sorted(folder.iterdir()):
            path.rename(path.with_name(path.name[1:] if path.name.startswith(".") else f".{path.name}"))
            if stop.wait(0.005):
                return
