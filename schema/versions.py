"""What changed between two versions of a table's events, and whether readers of the new one can read the old.

Source: Avro 1.12 specification, "Schema Resolution". Where Avro would read the same bytes as another value (other
scale, other unit of time) we call it a conflict all the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from schema.change import Avro

_WIDENS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_ROW_FIELDS = ("before", "after")
_NO_DEFAULT = object()


class Difference(NamedTuple):
    """`changes` has a sentence for everything that changed, `conflicts` those that keep a reader from old events."""

    changes: list[str]
    conflicts: list[str]

    @property
    def is_compatible(self) -> bool:
        return not self.conflicts


class _Found(NamedTuple):
    text: str
    is_conflict: bool


def diff(old: Avro, new: Avro) -> Difference:
    """Both are event schemas, keys or values. The columns of an envelope's row are compared once."""
    found = list(_Comparison(_named(old), _named(new)).compare(old, new, ""))
    texts = dict.fromkeys(item.text for item in found)
    conflicts = dict.fromkeys(item.text for item in found if item.is_conflict)
    return Difference(list(texts), list(conflicts))


class _Comparison:
    """Walks both schemas together; `old_names` and `new_names` resolve references to named types."""

    def __init__(self, old_names: Mapping[str, Any], new_names: Mapping[str, Any]) -> None:
        self._old_names = old_names
        self._new_names = new_names
        self._seen: set[tuple[str, str]] = set()

    def compare(self, old: Avro, new: Avro, path: str) -> Iterator[_Found]:
        old, new = self._old(old), self._new(new)
        if isinstance(old, list) or isinstance(new, list):
            yield from self._unions(_branches(old), _branches(new), path)
        elif isinstance(old, dict) and isinstance(new, dict) and old["type"] == new["type"] == "record":
            yield from self._records(old, new, path)
        else:
            yield from self._types(old, new, path)

    def _records(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[_Found]:
        names = _full_name(old), _full_name(new)
        if names in self._seen:
            return
        self._seen.add(names)
        if names[0] != names[1]:
            yield _Found(f"{_what(path)} is the record {names[1]} instead of {names[0]}", True)
        old_fields = {field["name"]: field for field in old["fields"]}
        new_fields = {field["name"]: field for field in new["fields"]}
        is_envelope = all(name in fields for name in (*_ROW_FIELDS, "op") for fields in (old_fields, new_fields))
        for name, field in old_fields.items():
            if name not in new_fields:
                yield _Found(f"{_what(_join(path, name))} was removed", False)
                continue
            inner = "" if is_envelope and name in _ROW_FIELDS else _join(path, name)
            yield from self.compare(field["type"], new_fields[name]["type"], inner)
            yield from _defaults(field, new_fields[name], _join(path, name))
        for name, field in new_fields.items():
            if name in old_fields:
                continue
            text = f"{_what(_join(path, name))} was added: {self._shown(field['type'])}"
            if "default" in field:
                yield _Found(f"{text}, default {field['default']!r}", False)
            else:
                yield _Found(f"{text}, without a default for events that lack it", True)

    def _unions(self, old: list[Avro], new: list[Avro], path: str) -> Iterator[_Found]:
        if "null" in new and "null" not in old:
            yield _Found(f"{_what(path)} may now be null", False)
        if "null" in old and "null" not in new:
            yield _Found(f"{_what(path)} may no longer be null", True)
        values = [[branch for branch in side if branch != "null"] for side in (old, new)]
        if len(values[0]) == len(values[1]) == 1:
            yield from self.compare(values[0][0], values[1][0], path)
            return
        for branch in values[0]:
            if not any(self._reads(branch, candidate) for candidate in values[1]):
                yield _Found(f"{_what(path)} is no longer {self._shown(branch)}", True)
        for branch in values[1]:
            if not any(self._reads(candidate, branch) for candidate in values[0]):
                yield _Found(f"{_what(path)} may now be {self._shown(branch)}", False)

    def _reads(self, old: Avro, new: Avro) -> bool:
        found = _Comparison(self._old_names, self._new_names).compare(old, new, "")
        return not any(item.is_conflict for item in found)

    def _types(self, old: Avro, new: Avro, path: str) -> Iterator[_Found]:
        if _facts(old) == _facts(new):
            if _kind(old) == "array":
                yield from self.compare(_attribute(old, "items"), _attribute(new, "items"), f"{path}[]")
            elif _kind(old) == "map":
                yield from self.compare(_attribute(old, "values"), _attribute(new, "values"), f"{path}{{}}")
            elif _kind(old) == "enum":
                yield from _symbols(old, new, path)
            return
        text = f"{_what(path)} changed from {self._shown(old)} to {self._shown(new)}"
        yield _Found(text, not _widens(old, new))

    def _old(self, schema: Avro) -> Avro:
        return self._old_names.get(schema, schema) if isinstance(schema, str) else schema

    def _new(self, schema: Avro) -> Avro:
        return self._new_names.get(schema, schema) if isinstance(schema, str) else schema

    def _shown(self, schema: Avro) -> str:
        """``long (io.debezium.time.MicroTimestamp)``, ``bytes (decimal 10,2)``, ``string or null``."""
        schema = self._new(self._old(schema))
        if isinstance(schema, list):
            return " or ".join(self._shown(branch) for branch in sorted(schema, key=lambda branch: branch == "null"))
        kind = _kind(schema)
        if kind == "array":
            return f"array of {self._shown(_attribute(schema, 'items'))}"
        if kind in ("record", "enum", "fixed"):
            return f"{kind} {_full_name(schema)}"
        logical, semantic = _attribute(schema, "logicalType"), _attribute(schema, "connect.name")
        if logical == "decimal":
            return f"{kind} (decimal {_attribute(schema, 'precision')},{_attribute(schema, 'scale') or 0})"
        return f"{kind} ({semantic or logical})" if semantic or logical else kind


def _facts(schema: Avro) -> tuple[Any, ...]:
    """What decides how bytes of this type are read."""
    name = _full_name(schema) if _kind(schema) in ("enum", "fixed") else None
    attributes = ("logicalType", "connect.name", "precision", "size")
    return (_kind(schema), name, _attribute(schema, "scale") or 0, *(_attribute(schema, key) for key in attributes))


def _widens(old: Avro, new: Avro) -> bool:
    """A reader of `new` reads every value of `old` as what it was."""
    old_kind, *old_rest = _facts(old)
    new_kind, *new_rest = _facts(new)
    if old_kind != new_kind:
        plain = not any(old_rest) and not any(new_rest)
        return plain and new_kind in _WIDENS.get(old_kind, ())
    decimal = _attribute(old, "logicalType") == _attribute(new, "logicalType") == "decimal"
    same_scale = (_attribute(old, "scale") or 0) == (_attribute(new, "scale") or 0)
    return decimal and same_scale and _attribute(new, "precision") >= _attribute(old, "precision")


def _symbols(old: Avro, new: Avro, path: str) -> Iterator[_Found]:
    before, after = _attribute(old, "symbols"), _attribute(new, "symbols")
    for symbol in before:
        if symbol not in after:
            yield _Found(f"{_what(path)} lost the symbol {symbol}", _attribute(new, "default") is None)
    for symbol in after:
        if symbol not in before:
            yield _Found(f"{_what(path)} gained the symbol {symbol}", False)


def _defaults(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[_Found]:
    before, after = old.get("default", _NO_DEFAULT), new.get("default", _NO_DEFAULT)
    if before != after:
        shown = ["none" if default is _NO_DEFAULT else repr(default) for default in (before, after)]
        yield _Found(f"{_what(path)}: default changed from {shown[0]} to {shown[1]}", False)


def _named(schema: Avro) -> dict[str, Any]:
    """Every named type by its full name."""
    found: dict[str, Any] = {}

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for branch in part:
                walk(branch)
        elif isinstance(part, dict):
            if part.get("type") in ("record", "enum", "fixed"):
                found[_full_name(part)] = part
                found.setdefault(part["name"], part)
            for field in part.get("fields", ()):
                walk(field["type"])
            for key in ("items", "values", "type"):
                walk(part.get(key))

    walk(schema)
    return found


def _full_name(schema: Any) -> str:
    namespace = schema.get("namespace")
    return f"{namespace}.{schema['name']}" if namespace and "." not in schema["name"] else str(schema["name"])


def _kind(schema: Avro) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _attribute(schema: Avro, key: str) -> Any:
    return schema.get(key) if isinstance(schema, dict) else None


def _branches(schema: Avro) -> list[Avro]:
    return schema if isinstance(schema, list) else [schema]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _what(path: str) -> str:
    return path or "the event"
