"""A schema as the text that Java's Avro writes (`Schema.toString`), which is what Debezium's converter registers.

A registry may compare schemas by their bytes (Apicurio does), so an equal schema has to be an equal text.
Source: Avro's Schema.java, Jackson's JsonGenerator, java.lang.Double.toString.
"""

import json
import re
from typing import Any

_ESCAPE = re.compile(r"\\(u00..|.)")
_PLAIN_FROM, _PLAIN_BELOW = 1e-3, 1e7


def schema_text(schema: Any) -> str:
    """Parsed JSON, attributes in the order given and nothing between them."""
    if isinstance(schema, dict):
        return "{" + ",".join(f"{_string(name)}:{schema_text(value)}" for name, value in schema.items()) + "}"
    if isinstance(schema, list):
        return "[" + ",".join(map(schema_text, schema)) + "]"
    if isinstance(schema, float):
        return double_text(schema)
    return _string(schema) if isinstance(schema, str) else json.dumps(schema)


def _string(text: str) -> str:
    def shown(escape: re.Match[str]) -> str:
        return f"\\u{escape[1][1:].upper()}" if len(escape[1]) > 1 else escape[0]

    return _ESCAPE.sub(shown, json.dumps(text, ensure_ascii=False))


def double_text(value: float) -> str:
    """As Java writes it: ``0.001``, ``5.0E-4``, ``1.2345678E7``. Only of a number."""
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return repr(value)
    sign, digits, power = _decimal(value)
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"


def _decimal(value: float) -> tuple[str, str, int]:
    """(sign, shortest digits, power of ten of the first)."""
    whole, _, exponent = repr(abs(value)).partition("e")
    before, _, after = whole.partition(".")
    digits = (before + after).lstrip("0")
    leading_zeros = len(before + after) - len(digits)
    power = len(before) - 1 - leading_zeros + int(exponent or 0)
    return "-" if value < 0 else "", digits.rstrip("0") or "0", power
