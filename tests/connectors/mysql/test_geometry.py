"""Geometries: log and SELECT give one struct, as Debezium shows it."""

from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader

from connectors.mysql.geometry import geometry_type
from schema.change import ColumnType
from schema.errors import Unencodable
from tests.connectors.mysql.rawlog import RawLog
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

INT, GEOMETRY = 4, -4

SHAPES = [
    "POINT(1 2)",
    "LINESTRING(0 0,1 1,-1.5 1e100)",
    "POLYGON((0 0,0 10,10 10,10 0,0 0),(1 1,1 2,2 2,2 1,1 1))",
    "MULTIPOINT(1 1,2 2)",
    "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
    "MULTIPOLYGON(((0 0,0 1,1 1,0 0)),((5 5,5 6,6 6,5 5)))",
    "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))",
    "GEOMETRYCOLLECTION EMPTY",
]


def read(column: ColumnType, value: bytes) -> Any:
    return schemaless_reader(BytesIO(column.encoder(b"")(value)), column.avro, None)


def test_every_shape_keeps_its_bytes_and_srid(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int auto_increment primary key, g geometry)")
    log = RawLog(mysql)
    for shape in SHAPES:
        for srid in (0, 3857):
            mysql.execute(f"insert into t (g) values (st_geomfromtext('{shape}', {srid}))")
    selected = [value for (value,) in mysql.execute("select g from t order by id")]
    assert [value for _, value in log.inserted([INT, GEOMETRY])] == selected
    column = geometry_type("geometry")
    told = mysql.execute("select st_asbinary(g), st_srid(g) from t order by id")
    assert [read(column, value) for value in selected] == [{"wkb": wkb, "srid": srid or None} for wkb, srid in told]


def test_a_point_has_its_coordinates_beside_its_bytes(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int auto_increment primary key, p point)")
    log = RawLog(mysql)
    mysql.execute("insert into t (p) values (point(-0.5, 1e300)), (st_geomfromtext('POINT(47 8)', 4326))")
    selected = [value for (value,) in mysql.execute("select p from t order by id")]
    assert [value for _, value in log.inserted([INT, GEOMETRY])] == selected
    plain, placed = (read(geometry_type("point"), value) for value in selected)
    assert plain == {"x": -0.5, "y": 1e300, "wkb": selected[0][4:], "srid": None}
    # In 4326 MySQL's text has the latitude first; its bytes, and MariaDB always, have the longitude first.
    x, y = (8.0, 47.0) if mysql.flavor == "mysql" else (47.0, 8.0)
    assert placed == {"x": x, "y": y, "wkb": selected[1][4:], "srid": 4326}


def test_what_a_struct_cannot_hold_is_refused_by_name() -> None:
    point = geometry_type("point").encoder(b"")
    geometry = geometry_type("geometry").encoder(b"")
    line = b"\x00\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00\x00\x00" + bytes(16)
    with pytest.raises(Unencodable, match="no other geometry"):
        point(line[:25])
    with pytest.raises(Unencodable, match="SRID 4294967295 is beyond"):
        geometry(b"\xff\xff\xff\xff" + line[4:])
    # MariaDB leaves no bytes at all where '' is written to the column.
    for column in (point, geometry):
        with pytest.raises(Unencodable, match="0 bytes that are no geometry"):
            column(b"")


def test_a_not_null_column_that_the_log_left_out_is_the_empty_geometry() -> None:
    shown = [
        schemaless_reader(BytesIO(column.zero), column.avro, None)
        for column in (geometry_type("polygon"), geometry_type("point"))
    ]
    assert shown[0] == {"wkb": bytes.fromhex("010700000000000000"), "srid": None}
    assert shown[1] == {"x": 0.0, "y": 0.0, "wkb": bytes.fromhex("0101000000") + bytes(16), "srid": None}
