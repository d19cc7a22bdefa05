"""A Debezium connector's configuration as its users have it in files.

Sources: Kafka Connect's documentation ("Running Kafka Connect", "Configuring Connectors"), Debezium's page "Debezium
Server" for the prefixes of application.properties.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import javaproperties

from service.problems import ConfigError, Problem

_SERVER = "debezium.source."
_ACCEPTED = "accepted: a connector's JSON or .properties of Kafka Connect, or application.properties of Debezium Server"
_SERVER_FORMATS = {
    "avro": "io.confluent.connect.avro.AvroConverter",
    "cloudevents": "io.debezium.converters.CloudEventsConverter",
    "json": "org.apache.kafka.connect.json.JsonConverter",
}


class Settings:
    """Keys as Kafka Connect has them, with their values. What is taken is dealt with; the rest is to be named.

    `is_server`: it came from Debezium Server, whose own names for the keys are what `shown` gives.
    """

    def __init__(self, values: Mapping[str, str], *, is_server: bool = False) -> None:
        self.is_server = is_server
        self._shown = {_connect_name(key): key for key in values} if is_server else {}
        self._values = {_connect_name(key) if is_server else key: value.strip() for key, value in values.items()}
        if is_server:
            for side in ("key", "value"):
                given = self._values.get(f"{side}.converter", "json")
                self._values[f"{side}.converter"] = _SERVER_FORMATS.get(given, given)

    def add_worker(self, values: Mapping[str, str]) -> None:
        """What a Connect worker sets for all its connectors, where this one does not say otherwise."""
        # A connector with a converter of its own takes none of the worker's settings for it.
        sides = [f"{side}.converter" for side in ("key", "value") if f"{side}.converter" not in self._values]
        for key, value in values.items():
            if key == "bootstrap.servers" or key.startswith("producer."):
                self._values.setdefault(f"producer.override.{key.removeprefix('producer.')}", value.strip())
            elif key == "offset.storage.topic" or key.startswith(tuple(sides)):
                self._values.setdefault(key, value.strip())

    def get(self, key: str, default: str = "") -> str:
        return self._values.get(key, default)

    def take(self, *keys: str) -> str:
        """The value of the first key that has one, else ""; all of them are dealt with."""
        return next((value for value in [self._values.pop(key, "") for key in keys] if value), "")

    def under(self, prefix: str) -> dict[str, str]:
        """What begins with `prefix`, which is cut off."""
        return {key.removeprefix(prefix): value for key, value in self._values.items() if key.startswith(prefix)}

    def rest(self) -> Iterator[tuple[str, str]]:
        yield from self._values.items()

    def shown(self, key: str) -> str:
        return self._shown.get(key, key)


def read(file: Path) -> Settings:
    """Raises ConfigError."""
    text = _text(file)
    if text.lstrip().startswith("{"):
        return Settings(_from_json(file, text))
    values = _properties(file, text)
    return Settings(values, is_server=any(key.startswith(_SERVER) for key in values))


def read_worker(file: Path) -> Mapping[str, str]:
    """A Connect worker's .properties. Raises ConfigError."""
    return _properties(file, _text(file))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _problem(file, f"cannot be read: {error.strerror}; {_ACCEPTED}") from None
    except UnicodeDecodeError:
        raise _problem(file, f"is not UTF-8 text; {_ACCEPTED}") from None


def _properties(file: Path, text: str) -> dict[str, str]:
    try:
        values: dict[str, str] = javaproperties.loads(text)
    except ValueError as error:
        raise _problem(file, f"is no .properties file: {error}; {_ACCEPTED}") from None
    return values


def _from_json(file: Path, text: str) -> dict[str, str]:
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise _problem(
            file, f"line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}; {_ACCEPTED}"
        ) from None
    values = dict(raw["config"]) if isinstance(raw.get("config"), dict) else raw
    values.setdefault("name", raw.get("name", ""))
    for key, value in values.items():
        if isinstance(value, (dict, list)):
            raise _problem(file, f"{key} is not a text; accepted: Connect's flat object of keys with texts")
    return {key: _word(value) for key, value in values.items()}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _connect_name(key: str) -> str:
    """What Kafka Connect would call a key of Debezium Server."""
    for server, connect in (
        (_SERVER, ""),
        ("debezium.format.key.", "key.converter."),
        ("debezium.format.value.", "value.converter."),
        ("debezium.format.header", "header.converter"),
        ("debezium.format.key", "key.converter"),
        ("debezium.format.value", "value.converter"),
        ("debezium.format.", "value.converter."),
        ("debezium.transforms", "transforms"),
        ("debezium.predicates", "predicates"),
        ("debezium.sink.kafka.producer.", "producer.override."),
    ):
        if key.startswith(server):
            return connect + key.removeprefix(server)
    return key


def _problem(file: Path, text: str) -> ConfigError:
    return ConfigError.of(file, Problem((), text), hint="give the file that Debezium runs with")
