"""Versions kept in a registry that speaks Confluent's REST API: Confluent's own, Apicurio, Karapace, Redpanda.

Source: Confluent's "Schema Registry API Reference" and "Subject name strategy".
"""

import itertools
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, ClassVar, TypeVar, get_args
from urllib.parse import quote

import structlog

from schema.avro_text import schema_text
from schema.change import Avro
from schema.confluent_config import ConfluentConfig, Strategy
from schema.confluent_http import Conflict, NotASchema, RegistryApi
from schema.decisions import Decisions, Outcome
from schema.errors import IncompatibleVersion, Policy, RegistryFailed, RegistryRefused
from schema.registry import RegisteredVersion
from schema.versions import diff

log = structlog.get_logger("tailrace")

Part = TypeVar("Part", str, int, bool)

_HIGHEST_ID = (1 << 31) - 1
_SHOWN_WITHIN_S = 5.0
_SHOWN_EVERY_S = 0.1
_NO_SCHEMA = '{"type":"tailrace-check"}'
_REASON = re.compile(r"description:'(.*?)', additionalInfo:'(.*?)'\}")
_NO_REASON = ("{oldSchema", "{validateFields", "{compatibility")


class ConfluentRegistry:
    """A Registry (schema/registry.py). The ids are the registry's own, which never change; they are asked for once."""

    Config: ClassVar[type[ConfluentConfig]] = ConfluentConfig

    def __init__(self, config: ConfluentConfig, decisions: Decisions | None = None) -> None:
        """`decisions`, which `close` closes, remembers what became of each new version.

        Raises RegistryRefused for files and secrets that cannot be used. Asks nothing yet.
        """
        self._config = config
        self._decisions = decisions
        self._api = RegistryApi(config)
        self._lock = Lock()
        self._registered: dict[tuple[str, str], RegisteredVersion] = {}
        self._schemas: dict[int, Avro] = {}

    def register(self, subject: str, schema: Avro) -> RegisteredVersion:
        """As the protocol says; looked up first, so that a schema which is there makes no version.

        Raises IncompatibleVersion (but for the policy `new_subject`) before anything is registered, RegistryFailed,
        RegistryRefused.
        """
        name, text = subject_name(self._config.subjects, subject, schema), schema_text(schema)
        with self._lock:
            known = self._registered.get((name, text))
            if known is None:
                known = self._look_up(name, text) or self._admitted(name, text)
                self._registered[name, text] = known
                self._schemas[known.id] = schema
        return known

    def decide(self, refused: IncompatibleVersion, policy: Policy, registered: RegisteredVersion | None) -> None:
        news = self._decided(refused.subject, schema_text(refused.schema), policy, registered, refused.reasons)
        if news and policy == "widen" and registered is not None:
            log.warning(f"{refused}; it is widened to version {registered.version}", id=registered.id)

    def schema(self, schema_id: int) -> Avro:
        known = self._schemas.get(schema_id)
        if known is None:
            known = self._schemas[schema_id] = self._schema(schema_id)
        return known

    def subjects(self) -> list[str]:
        answer = self._api.ask("read the subjects", "GET", "/subjects")
        return sorted(answer or ())

    def versions(self, subject: str) -> list[RegisteredVersion]:
        doing, path = f"read the versions of {subject}", _path(subject)
        numbers = self._api.ask(doing, "GET", path) or ()
        found = [self._api.ask(doing, "GET", f"{path}/{number}") for number in numbers]
        return [_version(answer) for answer in found if answer is not None]

    def close(self) -> None:
        self._api.close()
        if self._decisions is not None:
            self._decisions.close()

    @staticmethod
    def check(config: ConfluentConfig, topic_prefix: str) -> str:
        """Say where schemas will go, or raise what `register` would; leaves nothing behind.

        A registry looks who asks, and whether it may be written to, before it looks at the schema: one that is no
        Avro schema shows all of that and is not kept.
        """
        subject = f"{topic_prefix}.tailrace-check-value"
        api = RegistryApi(config)
        try:
            api.ask(f"take a schema of {subject}", "POST", _path(subject), _body(_NO_SCHEMA))
        except NotASchema:
            pass
        finally:
            api.close()
        return f"the schema registry {api.url} takes new schemas"

    def _schema(self, schema_id: int) -> Avro:
        """By the id that this API gives; by Apicurio's other kind, for events from before its mode was changed."""
        doing = f"read schema {schema_id}"
        answer = self._api.ask(doing, "GET", f"/schemas/ids/{schema_id}")
        if answer is not None:
            schema: Avro = json.loads(_part(answer, "schema", str))
            return schema
        for kind in ("contentIds", "globalIds"):
            found: Avro | None = self._api.ask_apicurio(doing, f"/ids/{kind}/{schema_id}")
            if found is not None:
                return found
        raise KeyError(schema_id)

    def _look_up(self, subject: str, text: str) -> RegisteredVersion | None:
        answer = self._api.ask(f"look up a schema of {subject}", "POST", f"/subjects/{_quoted(subject)}", _body(text))
        return None if answer is None else _version(answer)

    def _admitted(self, subject: str, text: str) -> RegisteredVersion:
        """Added under `subject`, or by policy under the first of ``SUBJECT-v2``, ``-v3`` ... that takes it."""
        try:
            added = self._add(subject, text)
        except IncompatibleVersion as incompatible:
            if self._config.incompatible in ("stop", "dead_letter"):
                self.decide(incompatible, self._config.incompatible, None)
            if self._config.incompatible != "new_subject":
                raise
            refused = incompatible
        else:
            self._decided(subject, text, "compatible", added)
            return added
        names = (f"{subject}-v{nth}" for nth in itertools.count(2))
        return next(filter(None, (self._elsewhere(name, text, refused) for name in names)))

    def _elsewhere(self, subject: str, text: str, refused: IncompatibleVersion) -> RegisteredVersion | None:
        found = self._look_up(subject, text)
        if found is None:
            with suppress(IncompatibleVersion):
                found = self._add(subject, text)
                self._decided(subject, text, "new_subject", found, refused.reasons)
                log.warning(f"{refused}; it is version {found.version} of the subject {subject}", id=found.id)
        return found

    def _decided(
        self,
        subject: str,
        asked: str,
        outcome: Outcome,
        registered: RegisteredVersion | None,
        reasons: Sequence[str] = (),
    ) -> bool:
        """Whether it is news."""
        if self._decisions is None:
            return True
        version, schema_id = (None, None) if registered is None else (registered.version, registered.id)
        return self._decisions.add(subject, asked, outcome, version, schema_id, reasons)

    def _add(self, subject: str, text: str) -> RegisteredVersion:
        self._refuse_incompatible(subject, text)
        doing = f"register a schema of {subject}"
        try:
            self._api.ask(doing, "POST", _path(subject), _body(text))
        except Conflict as conflict:
            reasons = list(self._conflicts(subject, text)) or [conflict.reason]
            raise self._incompatible(subject, text, reasons) from conflict
        # Not every answer has the version, and a follower may show it only once it has heard of it.
        deadline = time.monotonic() + _SHOWN_WITHIN_S
        while (found := self._look_up(subject, text)) is None:
            if time.monotonic() > deadline:
                raise RegistryFailed(
                    f"the schema registry {self._api.url} took a schema of {subject} and does not show it",
                    "look whether the registry's servers share one storage; it is tried again",
                )
            time.sleep(_SHOWN_EVERY_S)
        return found

    def _refuse_incompatible(self, subject: str, text: str) -> None:
        path = f"/compatibility{_path(subject)}/latest?verbose=true"
        answer = self._api.ask(f"compare a schema of {subject}", "POST", path, _body(text))
        if answer is not None and not _part(answer, "is_compatible", bool):
            raise self._incompatible(subject, text, answer.get("messages") or ())

    def _incompatible(self, subject: str, text: str, messages: Iterable[str]) -> IncompatibleVersion:
        schema, latest = json.loads(text), self._latest(subject)
        reasons = list(_reasons(messages)) or _differences(latest, schema)
        put = f"curl -X PUT -H 'Content-Type: application/json' {self._api.url}/config/{_quoted(subject)}"
        return IncompatibleVersion(
            subject,
            reasons,
            f"""let this version in: {put} -d '{{"compatibility": "NONE"}}', start the connector,"""
            f' and then the same with "{self._level(subject)}";'
            f" or set registry.incompatible to {_others(self._config.incompatible)}",
            schema=schema,
            policy=self._config.incompatible,
            latest=latest,
        )

    def _level(self, subject: str) -> str:
        """By which versions are compared. A registry without any says NONE and compares as if it were BACKWARD."""
        level = None
        with suppress(RegistryFailed):
            level = self._api.ask(
                f"read the level of {subject}", "GET", f"/config/{_quoted(subject)}?defaultToGlobal=true"
            )
        told = level.get("compatibilityLevel") if isinstance(level, dict) else None
        return told if isinstance(told, str) and told != "NONE" else "BACKWARD"

    def _conflicts(self, subject: str, text: str) -> Iterator[str]:
        """In our words, with every version that is there: the registry may not say which column it means."""
        schema = json.loads(text)
        for known in self.versions(subject):
            conflicts = diff(self.schema(known.id), schema).conflicts
            yield from (f"{conflict} (since version {known.version})" for conflict in conflicts)

    def _latest(self, subject: str) -> Avro | None:
        answer = self._api.ask(f"read the latest version of {subject}", "GET", f"{_path(subject)}/latest")
        return None if answer is None else json.loads(_part(answer, "schema", str))


def _others(policy: Policy) -> str:
    """The ways to go on besides `policy`: ``"new_subject", "dead_letter" or "widen"``."""
    *most, last = (f'"{other}"' for other in get_args(Policy) if other not in ("stop", policy))
    return f"{', '.join(most)} or {last}"


def _differences(latest: Avro | None, schema: Avro) -> list[str]:
    """In our words, for a registry that says no without a reason."""
    found = None if latest is None else diff(latest, schema)
    return (found and (found.conflicts or found.changes)) or ["the registry gives no reason"]


def subject_name(strategy: Strategy, subject: str, schema: Avro) -> str:
    """`subject` is ``<topic>-key`` or ``<topic>-value``, which is what `topic` leaves it as."""
    if strategy == "topic" or not isinstance(schema, dict):
        return subject
    record = f"{schema['namespace']}.{schema['name']}"
    return record if strategy == "record" else f"{subject.rpartition('-')[0]}-{record}"


def _reasons(messages: Iterable[str]) -> Iterator[str]:
    """Without the braces, and without the whole of the older schema, of Confluent's ``{errorType:'...', ...}``."""
    for message in messages:
        found = _REASON.findall(message)
        if found:
            yield from (f"{description} ({detail})" for description, detail in found)
        elif not message.startswith(_NO_REASON):
            yield message


def _version(answer: Any) -> RegisteredVersion:
    schema_id = _part(answer, "id", int)
    if not 0 <= schema_id <= _HIGHEST_ID:
        raise RegistryRefused(
            f"the schema registry gives the id {schema_id}, which the four bytes of an event cannot hold",
            "let the registry count its ids from 1",
        )
    return RegisteredVersion(schema_id, _part(answer, "version", int))


def _part(answer: Any, name: str, kind: type[Part]) -> Part:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, kind):
        raise RegistryRefused(
            f"the schema registry answers without {name}: {str(answer)[:200]}",
            "correct registry.url, path included: Apicurio Registry has this API under /apis/ccompat/v7",
        )
    return found


def _body(text: str) -> dict[str, str]:
    return {"schema": text}


def _path(subject: str) -> str:
    return f"/subjects/{_quoted(subject)}/versions"


def _quoted(subject: str) -> str:
    return quote(subject, safe="")
