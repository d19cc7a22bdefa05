"""A table's version bound to the ids of its schemas: the registry decides, and a policy where it says no."""

from collections.abc import Iterator, Sequence

import structlog

from schema.avro import key_schema, value_schema
from schema.change import Avro, Table
from schema.encoder import RefusingEncoder, TableEncoder
from schema.errors import IncompatibleVersion
from schema.registry import RegisteredVersion, Registry
from schema.widened import widened

log = structlog.get_logger("tailrace")


def bind(registry: Registry, topic: str, forms: Sequence[Table], source: Avro) -> list[TableEncoder]:
    """An encoder for each of `forms`: one version of a table, as the bytes of the log, or of a copy, have its columns.

    A version that the registry refuses is widened, or gets encoders that refuse every row, where its policy says so.
    Raises Incompatible, and what the registry raises.
    """
    refused: dict[str, IncompatibleVersion] = {}
    given: dict[str, RegisteredVersion] = {}
    while not given:
        part = ""
        found = {}
        try:
            for part, schema in _schemas(forms[0], topic, source):
                found[part] = registry.register(f"{topic}-{part}", schema)
            given = found
        except IncompatibleVersion as error:
            if error.policy == "dead_letter":
                return _refusing(forms, error)
            if error.policy != "widen":
                raise
            refused.setdefault(part, error)
            forms = _widened(registry, forms, error)
    for part, incompatible in refused.items():
        registry.decide(incompatible, "widen", given[part])
    key_id = given["key"].id if "key" in given else None
    return [TableEncoder(form, key_id, given["value"].id) for form in forms]


def _schemas(table: Table, topic: str, source: Avro) -> Iterator[tuple[str, Avro]]:
    key = key_schema(table, topic)
    if key is not None:
        yield "key", key
    yield "value", value_schema(table, topic, source)


def _refusing(forms: Sequence[Table], error: IncompatibleVersion) -> list[TableEncoder]:
    table = forms[0].name
    log.warning(
        f"{error}; its changes are put aside until a version is compatible again",
        table=table,
        hint=f"{error.hint}; afterwards copy these rows again: tailrace snapshot NAME {table}",
    )
    return [RefusingEncoder(form, error.reason) for form in forms]


def _widened(registry: Registry, forms: Sequence[Table], error: IncompatibleVersion) -> list[Table]:
    """Raises IncompatibleVersion where no wider form is left."""
    if error.latest is not None:
        wider = [widened(form, error.latest) for form in forms]
        if wider != list(forms):
            return wider
    reasons = [*error.reasons, "no wider type of this column reads both"]
    registry.decide(error, "stop", None)
    raise IncompatibleVersion(error.subject, reasons, error.hint, schema=error.schema, latest=error.latest)
