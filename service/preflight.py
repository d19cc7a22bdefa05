"""`tailrace check`: what would go wrong, found before anything is changed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import connectors
import schema
import sinks
from connectors.base import Finding
from schema.errors import RegistryFailed
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
            check_sink(secrets.resolve(connector.sink))
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
