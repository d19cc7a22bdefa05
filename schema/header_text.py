"""A key as the value of a header, the way Kafka Connect's default header converter writes it.

Source: Kafka's SimpleHeaderConverter and Values.append. It is nearly JSON: a decimal is a bare number, and in a string
only quotes and backslashes are escaped.
"""

from base64 import b64decode
from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any

from schema.avro_text import double_text
from schema.change import Avro
from schema.decode import Decoder

_ANY_SIZE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


class HeaderText:
    """For one thread."""

    def __init__(self, schema_of: Callable[[int], Avro]) -> None:
        """`schema_of` gives a schema by its id, KeyError for none."""
        self._decoder = Decoder(schema_of, connect=True)

    def of(self, wire: bytes) -> bytes:
        """Wire bytes -> ``{"id":1}``. Raises Undecodable."""
        return _text(self._decoder.decode(wire), self._decoder.schema(wire)).encode()


def _text(value: Any, avro: Avro) -> str:
    if isinstance(avro, list):
        avro = next(branch for branch in avro if branch != "null")
    body: dict[str, Any] = avro if isinstance(avro, dict) else {"type": avro}
    if value is None:
        return "null"
    if body.get("logicalType") == "decimal":
        unscaled = int.from_bytes(b64decode(value), "big", signed=True)
        return str(Decimal(unscaled).scaleb(-int(body["scale"]), _ANY_SIZE))  # Java's BigDecimal.toString
    if body["type"] in ("float", "double"):
        return value if isinstance(value, str) else double_text(value)
    if isinstance(value, dict):
        types = {field["name"]: field["type"] for field in body.get("fields", ())}
        parts = ",".join(f'"{name}":{_text(part, types.get(name, ""))}' for name, part in value.items())
        return f"{{{parts}}}"
    if isinstance(value, list):
        return f"[{','.join(_text(item, body['items']) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
