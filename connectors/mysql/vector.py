"""VECTOR as Avro: log and SELECT give the same bytes, little-endian floats, which is also how Avro writes them.

Source: MySQL, include/vector-common/vector_conversion.h; MariaDB, sql/sql_type_vector.cc; io.debezium.data.FloatVector.
"""

from typing import Final

from schema.change import Avro, ColumnType, Encode
from schema.varint import long

_FLOAT_BYTES: Final = 4
_END: Final = b"\x00"

_VECTOR: Final[Avro] = {
    "type": "array",
    "items": "float",
    "connect.version": 1,
    "connect.name": "io.debezium.data.FloatVector",
}


def vector_type(name: str) -> ColumnType:
    """`name` as the catalogue has it: ``vector(3)``."""
    return ColumnType(name, _VECTOR, vector, _END, None)


def vector(prefix: bytes) -> Encode:
    """An array of floats in one block."""

    def encode(value: bytes) -> bytes:
        count, rest = divmod(len(value), _FLOAT_BYTES)
        if rest:
            raise ValueError(f"a vector of {len(value)} bytes")
        return prefix + long(count) + value + _END if count else prefix + _END

    return encode
