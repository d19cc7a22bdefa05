"""Geometries as Avro: log and SELECT give the same bytes, the SRID in four and the OGC's well-known binary.

Coordinates stand in the order of the server's own WKB, longitude before latitude, whatever the reference system says;
SRID 0 is none. Source: MySQL, sql/spatial.h (Geometry); MariaDB, sql/spatial.h; io.debezium.data.geometry.
"""

from typing import Final

from schema.change import ColumnType, Encode
from schema.errors import Unencodable
from schema.geometry import GEOMETRY, POINT
from schema.varint import long, sized

_SRID_BYTES: Final = 4
_WKB_AT: Final = _SRID_BYTES
_PAIR_AT: Final = _WKB_AT + 5
_LITTLE_ENDIAN: Final = 1
_POINT_HEAD: Final = b"\x01\x01\x00\x00\x00"
_POINT_BYTES: Final = _PAIR_AT + 16
_EMPTY_COLLECTION: Final = b"\x01\x07\x00\x00\x00\x00\x00\x00\x00"


def geometry_type(name: str) -> ColumnType:
    """`name` as the catalogue has it: ``point`` is a Point; ``geometry``, ``polygon`` and the others a Geometry."""
    if name == "point":
        return ColumnType(name, POINT, point, point(b"")(bytes(_SRID_BYTES) + _POINT_HEAD + bytes(16)), None)
    return ColumnType(name, GEOMETRY, geometry, geometry(b"")(bytes(_SRID_BYTES) + _EMPTY_COLLECTION), None)


def geometry(prefix: bytes) -> Encode:
    """{wkb, srid}"""

    def encode(value: bytes) -> bytes:
        srid = _srid(value)
        return prefix + sized(value[_WKB_AT:]) + srid

    return encode


def point(prefix: bytes) -> Encode:
    """{x, y, wkb, srid}"""

    def encode(value: bytes) -> bytes:
        srid = _srid(value)
        if len(value) != _POINT_BYTES or value[_WKB_AT:_PAIR_AT] != _POINT_HEAD:
            raise Unencodable("a Point can hold no other geometry")
        return prefix + value[_PAIR_AT:] + b"\x02" + sized(value[_WKB_AT:]) + srid

    return encode


def _srid(value: bytes) -> bytes:
    if len(value) < _PAIR_AT or value[_WKB_AT] != _LITTLE_ENDIAN:
        # MariaDB stores what is no geometry where '' is written.
        raise Unencodable(f"{len(value)} bytes that are no geometry")
    srid = int.from_bytes(value[:_SRID_BYTES], "little")
    if srid >> 31:
        raise Unencodable(f"SRID {srid} is beyond the range of an int")
    return b"\x02" + long(srid) if srid else b"\x00"
