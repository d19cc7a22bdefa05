"""`tailrace config import`: a Debezium connector's configuration as a connector file."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from service.debezium import kafka
from service.debezium.keys import Kind
from service.debezium.notes import Notes
from service.debezium.settings import Settings, read, read_worker
from service.debezium.source import source

_NAME_LENGTH = 54
_LEAST_QUEUE_BYTES = 1 << 16


class Imported(NamedTuple):
    """`connector` is a connector file's content; `lines` say what became of keys that are not in it."""

    connector: dict[str, Any]
    lines: list[str]
    to_decide: int


def translate(file: Path, worker: Path | None, bootstrap_servers: str | None) -> Imported:
    """Raises ConfigError, Refused."""
    settings = read(file)
    if worker is not None:
        settings.add_worker(read_worker(worker))
    given, prefix = settings.take("name"), settings.get("topic.prefix") or settings.get("database.server.name")
    name = _name(given or prefix or file.stem)
    notes = Notes(settings, name)
    if given not in ("", name):
        notes.add("name", Kind.DIFFERS, f"{given} cannot be a name here, {name} stands for it")
    made: dict[str, Any] = {"name": name, "source": source(notes)}
    events = kafka.events(notes, made)
    topic_prefix = notes.plain("topic.prefix", "database.server.name")
    made["events"] = {"topic_prefix": topic_prefix, **events} if topic_prefix else events
    made["sink"] = kafka.sink(notes, bootstrap_servers)
    _truncates(notes)
    _headers(notes, made)
    _queue(notes, made)
    _offsets(notes, name)
    notes.add_rest()
    order = ("name", "source", "events", "registry", "sink", "delivery")
    return Imported({key: made[key] for key in order if made.get(key)}, notes.lines, notes.to_decide)


def _name(given: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", given).lstrip("_.-")[:_NAME_LENGTH] or "connector"


def _truncates(notes: Notes) -> None:
    skipped = {word.strip() for word in notes.settings.take("skipped.operations").lower().split(",")}
    if lost := sorted(skipped & {"c", "u", "d", "r"}):
        notes.add("skipped.operations", Kind.DECIDE, f"{', '.join(lost)}: every change is delivered")
    elif skipped != {""}:
        notes.add("skipped.operations", Kind.DIFFERS, "truncates go to a topic of their own, TABLE'S TOPIC.truncate")


def _headers(notes: Notes, made: dict[str, Any]) -> None:
    if notes.settings.take("extended.headers.enabled").lower() == "false" and made["sink"]["type"] == "kafka":
        made["sink"]["context_headers"] = False


def _queue(notes: Notes, made: dict[str, Any]) -> None:
    size_bytes = notes.plain("max.queue.size.in.bytes")
    if size_bytes.isdecimal() and int(size_bytes):
        made["delivery"] = {"queue_bytes": max(int(size_bytes), _LEAST_QUEUE_BYTES)}


def _offsets(notes: Notes, name: str) -> None:
    """Where the import of its offset finds it."""
    settings: Settings = notes.settings
    for key, origin in (
        ("offset.storage.file.filename", "{}"),
        ("offset.storage.topic", "kafka:{}"),
        ("offsets.storage.topic", "kafka:{}"),
        ("offset.storage.jdbc.connection.url", "URL"),
        ("offset.storage.jdbc.url", "URL"),
    ):
        if place := settings.take(key):
            found = origin.format(place)
            notes.add(key, Kind.IGNORED, f"`tailrace offsets import {name} {found}` takes the offset over")
