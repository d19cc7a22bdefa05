"""Avro object container files that hold events' own bytes: nothing is decoded on the way."""

import os
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any, BinaryIO, Literal

import fastavro
from fastavro.write import Writer

from schema.change import Avro as Schema
from schema.decode import HEADER_BYTES, schema_id
from schema.errors import Undecodable
from schema.event import Event
from schema.reader import full_name
from sinks.base import Schemas
from sinks.errors import Rejected

Codec = Literal["null", "deflate"]

SYNC_BYTES = 16
_NULL, _PRESENT = b"\x00", b"\x02"  # the branches of ["null", schema]
_BROKEN = (EOFError, IndexError, ValueError, zlib.error)


class Avro:
    """The block of one topic that waits to be written. A file holds one version of key and value."""

    suffix = ".avro"

    def __init__(self, topic: str, schemas: Schemas, codec: Codec) -> None:
        name = topic.encode()
        self._topic = _long(len(name)) + name
        self._schemas = schemas
        self._codec = codec
        self._key: bytes | None = None  # wire headers of the file's versions; None until the topic shows one
        self._value: bytes | None = None
        self._marker = b""
        self._parts: list[bytes] = []
        self._events = 0
        self.size_bytes = 0

    def begin(self, events: Sequence[Event], at: int) -> bytes:
        """The header of a file whose first event is `events[at]`. A null there keeps the version seen last."""
        event = events[at]
        self._key = event.key[:HEADER_BYTES] if event.key is not None else self._key
        self._value = event.value[:HEADER_BYTES] if event.value is not None else self._value
        try:
            schema = envelope(self._schema(self._key), self._schema(self._value))
        except Undecodable as error:
            raise Rejected(event, str(error), error.hint) from error
        self._marker = os.urandom(SYNC_BYTES)
        header = BytesIO()
        Writer(header, schema, codec=self._codec, sync_marker=self._marker).flush()
        return header.getvalue()

    def add(self, events: Sequence[Event], at: int) -> int:
        key_header, value_header = self._key, self._value
        without_key, with_key = self._topic + _NULL, self._topic + _PRESENT
        parts: list[bytes] = []
        end = len(events)
        for index in range(at, end):
            _, _, key, value, _, _ = events[index]
            if key is not None and key[:HEADER_BYTES] != key_header:
                end = index
            elif value is None:
                parts += (without_key, _NULL) if key is None else (with_key, key[HEADER_BYTES:], _NULL)
            elif value[:HEADER_BYTES] != value_header:
                end = index
            elif key is None:
                parts += (without_key, _PRESENT, value[HEADER_BYTES:])
            else:
                parts += (with_key, key[HEADER_BYTES:], _PRESENT, value[HEADER_BYTES:])
            if end == index:
                break
        encoded = b"".join(parts)
        self._parts.append(encoded)
        self._events += end - at
        self.size_bytes += len(encoded)
        return end

    def take(self) -> tuple[list[bytes], bytes]:
        """The block, and the sync marker that must follow it once it is durable: a marker vouches for its block.

        The block is put together here because fastavro's writer copies each event five times.
        """
        if not self._events:
            return [], b""
        parts, events = self._parts, self._events
        self._parts, self._events, self.size_bytes = [], 0, 0
        if self._codec == "deflate":
            deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            parts = [*map(deflate.compress, parts), deflate.flush()]
        return [_long(events) + _long(sum(map(len, parts))), *parts], self._marker

    @staticmethod
    def whole_bytes(file: BinaryIO) -> int:
        whole = 0
        try:
            for block in fastavro.block_reader(file):
                whole = block.offset + block.size
        except _BROKEN:
            pass  # what follows was never flushed
        return whole

    def _schema(self, header: bytes | None) -> Schema | None:
        if header is None:
            return None
        try:
            schema: Schema = self._schemas.schema(schema_id(header))
        except KeyError as error:
            raise Undecodable(f"schema {schema_id(header)} is not in the registry") from error
        return schema


def envelope(key: Schema | None, value: Schema | None) -> Schema:
    """The schema of a file's records, `{topic, key, value}`."""
    defined: set[str] = set()
    fields = [
        {"name": name, "type": ["null"] if schema is None else ["null", _define_once(schema, "tailrace", defined)]}
        for name, schema in (("key", key), ("value", value))
    ]
    return {
        "type": "record",
        "name": "Event",
        "namespace": "tailrace",
        "fields": [{"name": "topic", "type": "string"}, *fields],
    }


def _define_once(schema: Schema, namespace: str, defined: set[str]) -> Schema:
    """Avro defines a name once per schema; key and value may both define it, the second time it is a reference."""
    if isinstance(schema, list):
        return [_define_once(branch, namespace, defined) for branch in schema]
    if isinstance(schema, str):
        return schema
    if schema["type"] in ("record", "enum", "fixed"):
        name = full_name(schema, namespace)
        if name in defined:
            return name
        defined.add(name)
        namespace = name.rpartition(".")[0]
    inner: dict[str, Any] = {}
    for part in ("type", "items", "values"):
        if isinstance(schema.get(part), dict | list):
            inner[part] = _define_once(schema[part], namespace, defined)
    if "fields" in schema:
        inner["fields"] = [{**f, "type": _define_once(f["type"], namespace, defined)} for f in schema["fields"]]
    return {**schema, **inner}


def _long(number: int) -> bytes:
    """A count as Avro writes it: zigzag, seven bits a byte."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
