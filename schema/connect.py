"""An Avro schema as the schema of Kafka Connect that it stands for, the way JsonConverter writes it beside a payload.

Source: Confluent's AvroData (toConnectSchema), Kafka's JsonConverter (asJsonSchema).
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from schema.change import Avro
from schema.reader import full_name

_TYPES = {
    "boolean": "boolean",
    "int": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "bytes": "bytes",
    "string": "string",
    "array": "array",
    "record": "struct",
}
_ATTRIBUTES = ("name", "version", "doc", "parameters")


def connect_schema(avro: Avro) -> dict[str, Any]:
    """Attributes in JsonConverter's order. Raises KeyError for a type that no event has."""
    return _Walk().shown(avro, "", optional=False)


def resolved(avro: Avro, named: Mapping[str, dict[str, Any]], namespace: str) -> dict[str, Any]:
    """A type other than a union with its attributes; a name is looked up in `named`."""
    if isinstance(avro, dict):
        kind = avro["type"]
        if isinstance(kind, str) and kind in _TYPES:
            return avro
        return {**resolved(kind, named, namespace), **{key: avro[key] for key in avro if key != "type"}}
    if isinstance(avro, list):
        raise KeyError("a union in a union")
    if avro in _TYPES:
        return {"type": avro}
    return named[avro if "." in avro or not namespace else f"{namespace}.{avro}"]


class _Walk:
    """Connect has no names for types: what Avro refers to by name stands there again."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, Any]] = {}

    def shown(self, avro: Avro, namespace: str, *, optional: bool) -> dict[str, Any]:
        if isinstance(avro, list):
            (branch,) = (branch for branch in avro if branch != "null")
            return self.shown(branch, namespace, optional="null" in avro)
        body = resolved(avro, self._named, namespace)
        kind = body["type"]
        shown: dict[str, Any] = {"type": body.get("connect.type", _TYPES[kind])}
        if kind == "array":
            shown["items"] = self.shown(body["items"], namespace, optional=False)
        elif kind == "record":
            name = full_name(body, namespace)
            self._named[name] = {**body, "name": name}
            inside = name.rpartition(".")[0]
            shown["fields"] = [self._field(field, inside) for field in body["fields"]]
        shown["optional"] = optional
        for attribute in _ATTRIBUTES:
            if f"connect.{attribute}" in body:
                shown[attribute] = body[f"connect.{attribute}"]
        if "connect.default" in body:
            shown["default"] = self._default(body["connect.default"], body, namespace)
        return shown

    def _field(self, field: dict[str, Any], namespace: str) -> dict[str, Any]:
        return {**self.shown(field["type"], namespace, optional=False), "field": field["name"]}

    def _default(self, value: Any, avro: Avro, namespace: str) -> Any:
        """Avro writes bytes as ISO-8859-1, JsonConverter as base64."""
        if value is None:
            return None
        if isinstance(avro, list):
            (avro,) = (branch for branch in avro if branch != "null")
        body = resolved(avro, self._named, namespace)
        if body["type"] == "bytes":
            return b64encode(value.encode("iso-8859-1")).decode()
        if body["type"] == "array":
            return [self._default(item, body["items"], namespace) for item in value]
        if body["type"] == "record":
            inside = full_name(body, namespace).rpartition(".")[0]
            types = {field["name"]: field["type"] for field in body["fields"]}
            return {name: self._default(part, types[name], inside) for name, part in value.items()}
        return value
