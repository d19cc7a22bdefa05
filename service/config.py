"""Connector files: JSON in, frozen models out, every mistake of a file at once."""

import functools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, ValidationError, create_model

import connectors
import offsets
import schema
import sinks
from offsets.sqlite import SqliteConfig
from schema.formats import FormatName
from schema.registry import LocalConfig
from service import exactly_once, secrets
from service.problems import ConfigError, Problem, explain, nearest

Policy = Literal["fail", "dlq"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Events(Part):
    topic_prefix: str | None = Field(
        default=None,
        pattern=_NAME,
        description="First part of every topic, letters, digits, dot, dash and underscore. Default: the name.",
    )
    format: FormatName = Field(
        default="avro",
        description="How keys and values are encoded: avro, json, json_with_schemas (both as Kafka Connect writes them)"
        " or cloudevents. The others than avro are for sinks that pass events on as they are.",
    )


class Errors(Part):
    unrepresentable: Policy = Field(
        default="fail",
        description="A value that the event's type cannot hold: stop with exit 3, or store a dead letter and go on.",
    )
    rejected: Policy = Field(
        default="fail",
        description="An event that the sink refuses for good: stop with exit 3, or store a dead letter and go on.",
    )
    max_dead_letters: int = Field(
        default=1000, ge=1, description="So many dead letters are kept; one more stops the connector with exit 3."
    )
    max_dead_letters_per_minute: int = Field(
        default=100, ge=1, description="So many come in a minute; one more stops the connector with exit 3."
    )
    dead_letter_topic: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Publish dead letters to this topic, too; only with a sink that has topics.",
    )
    retry_for_s: float = Field(
        default=900,
        ge=0,
        description="How long a retryable error may last without progress, in seconds, before exit 4.",
    )


class Delivery(Part):
    flush_interval_ms: int = Field(
        default=200, ge=1, description="Longest time between an event's arrival and its flush, in milliseconds."
    )
    queue_bytes: int = Field(default=16 << 20, ge=1 << 16, description="Events that may wait for the sink, in bytes.")


class Connector(Part):
    """One connector file. `source`, `sink` and `registry` are models of the classes that their `type` names."""

    editor_schema: str | None = Field(default=None, alias="$schema", description="For editors; not read.")
    name: str = Field(
        pattern=_NAME,
        max_length=54,
        description="Unique; letters, digits, dot, dash and underscore; names the slot, the topics and the offset.",
    )
    source: BaseModel = Field(description="Where changes come from, an object with its type.")
    sink: BaseModel = Field(description="Where events go, an object with its type.")
    events: Events = Field(default=Events(), description="What events look like.")
    registry: BaseModel = Field(
        default=LocalConfig(), description="Where the versions of events are kept, an object with its type."
    )
    offsets: BaseModel = Field(default=SqliteConfig(), description="Where offsets are kept, an object with its type.")
    errors: Errors = Field(default=Errors(), description="What an error leads to.")
    delivery: Delivery = Field(default=Delivery(), description="How eagerly events are made durable.")

    @property
    def topic_prefix(self) -> str:
        return self.events.topic_prefix or self.name

    @property
    def source_type(self) -> str:
        return str(self.source.type)  # type: ignore[attr-defined]  # every Config carries its literal type

    @property
    def sink_type(self) -> str:
        return str(self.sink.type)  # type: ignore[attr-defined]

    @property
    def puts_refused_aside(self) -> bool:
        """Whether changes of a version that the registry refuses are dead letters."""
        return getattr(self.registry, "incompatible", "stop") == "dead_letter"

    @property
    def registry_type(self) -> str:
        return str(self.registry.type)  # type: ignore[attr-defined]

    @property
    def offsets_type(self) -> str:
        return str(self.offsets.type)  # type: ignore[attr-defined]


class _Unknown(BaseModel):
    """Stands in for the model of a type that nothing provides, so that the rest of the file is still checked."""

    model_config = ConfigDict(extra="allow")


class Found(NamedTuple):
    """What `find` made of paths: each good file with its connector, and an error for each of the others."""

    connectors: dict[Path, Connector]
    errors: list[ConfigError]


def load(file: Path) -> Connector:
    """The connector of one file, its secrets unresolved but known to be there. Raises ConfigError."""
    connector = validated(_parse(file), file)
    if missing := list(secrets.problems(connector)):
        raise ConfigError.of(file, *missing, hint=secrets.HINT)
    return connector


def validated(raw: dict[str, Any], file: Path) -> Connector:
    """The connector of a file's content; whether its secrets are there is not asked. Raises ConfigError."""
    problems: list[Problem] = []
    fields = Connector.model_fields
    model = create_model(
        "Connector",
        __base__=Connector,
        source=(_model("source", raw, connectors.names(), connectors.load, problems), fields["source"]),
        sink=(_model("sink", raw, sinks.names(), sinks.load, problems), fields["sink"]),
        registry=(_model("registry", raw, schema.names(), schema.load, problems), fields["registry"]),
        offsets=(_model("offsets", raw, offsets.names(), offsets.load, problems), fields["offsets"]),
    )
    name = raw.get("name")
    try:
        connector = model.model_validate_json(
            json.dumps(raw), strict=True, context={"connector": name if isinstance(name, str) else ""}
        )
    except ValidationError as error:
        raise ConfigError.of(file, *problems, *explain(error, model)) from None
    if not problems:
        problems += [*_format_problems(connector), *_topic_problems(connector)]
        problems += exactly_once.problems(connector.sink, connector.offsets)
    if problems:
        raise ConfigError.of(file, *problems, *secrets.problems(connector))
    return connector


def find(paths: Sequence[Path]) -> Found:
    """Every connector of files and folders. A broken file, or a name that two files claim, leaves the others alone."""
    good: dict[Path, Connector] = {}
    errors: list[ConfigError] = []
    for path in paths:
        try:
            for file in _files(path):
                if any(file.samefile(known) for known in good):
                    continue
                try:
                    good[file] = load(file)
                except ConfigError as error:
                    errors.append(error)
        except ConfigError as error:
            errors.append(error)
    claims: dict[str, list[Path]] = {}
    for file, connector in good.items():
        claims.setdefault(connector.name, []).append(file)
    for name, files in claims.items():
        if len(files) > 1:
            text = f'"{name}" is also the name in {", ".join(map(str, files[1:]))}; accepted: a name of its own'
            errors.append(ConfigError.of(files[0], Problem(("name",), text), hint="give each connector its own name"))
            for file in files:
                del good[file]
    return Found(good, errors)


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """One error that says what all of them say."""
    return errors[0] if len(errors) == 1 else ConfigError(line for error in errors for line in error.lines)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a connector file, for editors."""
    fields = Connector.model_fields
    model = create_model(
        "Connector",
        __base__=Connector,
        source=(_any_of(map(connectors.load, connectors.names())), fields["source"]),
        sink=(_any_of(map(sinks.load, sinks.names())), fields["sink"]),
        registry=(_any_of(map(schema.load, schema.names())), fields["registry"]),
        offsets=(_any_of(map(offsets.load, offsets.names())), fields["offsets"]),
    )
    made = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "tailrace connector"}


def _any_of(classes: Iterable[Any]) -> Any:
    models = [cls.Config for cls in classes]
    union = functools.reduce(operator.or_, models)
    return Annotated[union, Discriminator("type")] if len(models) > 1 else union


def _model(
    part: str, raw: dict[str, Any], names: list[str], load: Callable[[str], Any], problems: list[Problem]
) -> type[BaseModel]:
    body = raw.get(part)
    if not isinstance(body, dict):
        return _Unknown  # what is wrong is said by validation; a part that may be left out has its default
    kind = body.get("type")
    if kind is None:
        problems.append(Problem((part, "type"), f"is missing; accepted: {', '.join(names)}"))
    elif kind not in names:
        problems.append(Problem((part, "type"), f"{json.dumps(kind)} is not known; {nearest(kind, names)}"))
    else:
        try:
            config: type[BaseModel] = load(kind).Config
            return config
        except ImportError as error:
            problems.append(Problem((part, "type"), f'"{kind}" cannot be loaded: {error}'))
    return _Unknown


def _format_problems(connector: Connector) -> Iterator[Problem]:
    kind, form = connector.sink_type, connector.events.format
    if form != "avro" and not getattr(sinks.load(kind), "opaque", False):
        text = f'"{form}" is for sinks that pass events on, and {kind} writes them in a form of its own; accepted: avro'
        yield Problem(("events", "format"), text)


def _topic_problems(connector: Connector) -> Iterator[Problem]:
    if connector.errors.dead_letter_topic is not None and not hasattr(sinks.load(connector.sink_type), "write_letters"):
        able = ", ".join(name for name in sinks.SINKS if hasattr(sinks.load(name), "write_letters"))
        text = f"the {connector.sink_type} sink publishes no dead letters; accepted: null, or a sink of type {able}"
        yield Problem(("errors", "dead_letter_topic"), text)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(f for f in path.glob("*.json") if not f.name.startswith(".") and not f.name.endswith(".schema.json"))
    if not files:
        raise ConfigError.of(path, Problem((), "the folder holds no connector; accepted: files named *.json"))
    return files


def _parse(file: Path) -> dict[str, Any]:
    def fail(text: str) -> NoReturn:
        raise ConfigError.of(file, Problem((), text)) from None

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        body = dict(pairs)
        if len(body) < len(pairs):
            twice = sorted({key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1})
            fail(f"{', '.join(twice)} stands twice in one object; accepted: each key once")
        return body

    try:
        text = file.read_text(encoding="utf-8-sig")
        raw = json.loads(text, object_pairs_hook=unique, parse_constant=lambda word: fail(f"{word} is not JSON"))
    except OSError as error:
        accepted = "one connector file" if file.is_dir() else "a connector file or a folder of them"
        fail(f"cannot be read: {error.strerror}; accepted: {accepted}")
    except UnicodeDecodeError:
        fail("is not UTF-8 text; accepted: JSON in UTF-8")
    except json.JSONDecodeError as error:
        fail(f"line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}; accepted: a JSON object")
    except RecursionError:
        fail("is nested too deeply; accepted: a connector's JSON object")
    if not isinstance(raw, dict):
        fail("holds no connector; accepted: a JSON object with name, source and sink")
    return raw
