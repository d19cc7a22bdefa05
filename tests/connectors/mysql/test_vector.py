"""VECTOR columns: log and SELECT give one array of floats."""

from io import BytesIO

import pytest
from fastavro import schemaless_reader

from connectors.mysql.vector import vector_type
from tests.connectors.mysql.rawlog import RawLog
from tests.mysql_servers import BY_NAME, MysqlDatabase

pytestmark = pytest.mark.mysql
vectors = pytest.mark.parametrize(
    "mysql_server", [BY_NAME["mysql97"], BY_NAME["mariadb118"]], ids=lambda kind: kind.name, indirect=True
)
"""MariaDB has them from 11.7 on."""


@vectors
def test_a_vector_is_its_floats(mysql: MysqlDatabase) -> None:
    function, length_bytes = ("to_vector", 4) if mysql.flavor == "mysql" else ("vec_fromtext", 1)
    mysql.execute("create table t (id int auto_increment primary key, v vector(3))")
    log = RawLog(mysql)
    mysql.execute(f"insert into t (v) values ({function}('[1, -2.5, 0.1]'))")
    large, smallest, negative_zero = "0000005f", "01000000", "00000080"
    mysql.execute(f"insert into t (v) values (x'{large}{smallest}{negative_zero}')")
    with mysql.connect(use_unicode=False) as connection, connection.cursor() as cursor:
        cursor.execute("select v from t order by id")
        selected = [value for (value,) in cursor.fetchall()]
    assert [value for _, value in log.inserted([4, -length_bytes])] == selected
    column = vector_type("vector(3)")
    shown = [schemaless_reader(BytesIO(column.encoder(b"")(value)), column.avro, None) for value in selected]
    assert shown == [[1.0, -2.5, 0.10000000149011612], [9.223372036854775808e18, 1.401298464324817e-45, -0.0]]


def test_no_floats_and_many_floats_are_one_array() -> None:
    column = vector_type("vector(16383)")
    for count in (0, 1, 63, 64, 16383):
        avro = BytesIO(column.encoder(b"")(b"\x00\x00\x80\x3f" * count))
        assert schemaless_reader(avro, column.avro, None) == [1.0] * count
        assert not avro.read()


def test_half_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match="6 bytes"):
        vector_type("vector(2)").encoder(b"")(bytes(6))
