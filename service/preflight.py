"""`tailrace check`: what would go wrong, found before anything is changed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import connectors
import schema
import sinks
from schema.errors import RegistryFailed
from schema.preflight import Finding, Topic
from service import config, exits, secrets
from service.preflight_offsets import offset_findings
from sinks.errors import SinkError


def check(paths: Sequence[Path], write: Callable[[str], None]) -> int:
    """One line per finding: level, connector, text, and what mends it. The exit code."""
    found = config.find(paths)
    levels = set()
    for connector in found.connectors.values():
        for finding in _findings(connector):
            levels.add(finding.level)
            mend = f"; {finding.mend}" if finding.mend else ""
            write(f"{finding.level:<4}  {connector.name}: {finding.text}{mend}")
    for error in found.errors:
        for line in error.lines:
            write(f"fail  {line}")
    if found.errors:
        return exits.MISCONFIGURED
    return exits.FINDINGS if "fail" in levels else exits.DONE


def _findings(connector: config.Connector) -> Iterator[Finding]:
    """The source's own findings, the sink's and the registry's; an error that keeps one from looking is one more."""
    try:
        check_sink = getattr(sinks.load(connector.sink_type), "check", None)
        if check_sink is not None:
            yield from check_sink(secrets.resolve(connector.sink), [*_topics(connector), *_letter_topic(connector)])
    except SinkError as error:
        yield Finding("fail", str(error), error.hint)
    try:
        check_registry = getattr(schema.load(connector.registry_type), "check", None)
        if check_registry is not None:
            yield Finding("ok", check_registry(secrets.resolve(connector.registry), connector.topic_prefix))
    except RegistryFailed as error:
        yield Finding("fail", str(error), error.hint)
    yield from offset_findings(connector)
    try:
        yield from connectors.load(connector.source_type).check(secrets.resolve(connector.source))
    except Exception as error:  # noqa: BLE001 (whatever it is, the other connectors are still to be checked)
        said = exits.say(error)
        yield Finding("fail", said.cause, said.hint)


def _topics(connector: config.Connector) -> Sequence[Topic]:
    """Those of the tables that are captured now; none where the source cannot be asked, which its check tells."""
    topics = getattr(connectors.load(connector.source_type), "topics", None)
    try:
        found: Sequence[Topic] = topics(secrets.resolve(connector.source), connector.topic_prefix) if topics else ()
    except Exception:  # noqa: BLE001 (whatever it is, the source's own check meets it again)
        return ()
    return found


def _letter_topic(connector: config.Connector) -> Iterator[Topic]:
    """A change that no event can hold is a letter without a key."""
    if connector.errors.dead_letter_topic is not None:
        yield Topic(connector.errors.dead_letter_topic, has_keys=False)
