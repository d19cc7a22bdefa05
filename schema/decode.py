"""Wire bytes back into values, for sinks and commands that show values rather than pass bytes on.

Values are what JSON can hold and lose nothing: a decimal is a string (``"22.2200"``; debezium's VariableScaleDecimal
too), bytes are base64, a float that is no number is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``. Everything else is
as Avro holds it: a date is its count of days.
"""

from collections.abc import Callable
from typing import Any

import orjson

from schema.change import Avro
from schema.errors import Undecodable
from schema.event import Event
from schema.reader import MISMATCH, Read, compile_reader

HEADER_BYTES = 5


class Decoder:
    """Decodes events of any schema version, for one thread; a version is prepared once."""

    def __init__(self, schema_of: Callable[[int], Avro], *, connect: bool = False) -> None:
        """`schema_of` gives the parsed JSON of a schema by its id, KeyError where there is none.

        `connect`: values as Kafka Connect's JsonConverter shows them.
        """
        self._schema_of = schema_of
        self._connect = connect
        self._readers: dict[bytes, Read] = {}

    def decode(self, wire: bytes) -> Any:
        """0x00, schema id, Avro body -> plain values. Raises Undecodable."""
        head = wire[:HEADER_BYTES]
        read = self._readers.get(head) or self._prepare(head)
        try:
            value, end = read(wire, HEADER_BYTES)
        except MISMATCH as error:
            raise Undecodable(f"the bytes do not match schema {schema_id(head)}: {error}") from error
        if end != len(wire):
            raise Undecodable(f"the bytes do not match schema {schema_id(head)}: {len(wire)} bytes, not {end}")
        return value

    def line(self, event: Event) -> bytes:
        """``{"topic": ..., "key": ..., "value": ...}`` and a newline. Raises Undecodable."""
        key, value = event.key, event.value
        return orjson.dumps(
            {
                "topic": event.topic,
                "key": None if key is None else self.decode(key),
                "value": None if value is None else self.decode(value),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def _prepare(self, head: bytes) -> Read:
        self._readers[head] = compile_reader(self.schema(head), connect=self._connect)
        return self._readers[head]

    def schema(self, wire: bytes) -> Avro:
        """The schema that wire bytes begin with the id of. Raises Undecodable."""
        try:
            return self._schema_of(schema_id(wire))
        except KeyError as error:
            raise Undecodable(f"schema {schema_id(wire)} is not in the registry") from error


def schema_id(wire: bytes) -> int:
    """The schema id that wire bytes begin with. Raises Undecodable."""
    if len(wire) < HEADER_BYTES or wire[0]:
        raise Undecodable(f"not an event: its bytes begin with {wire[:HEADER_BYTES].hex(' ')!r}, not with 00 and an id")
    return int.from_bytes(wire[1:HEADER_BYTES], "big")
