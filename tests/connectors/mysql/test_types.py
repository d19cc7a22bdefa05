"""Every type's tricky values on real servers: the log's bytes and the SELECT's text give the same Avro."""

import random
import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import BytesIO
from itertools import zip_longest
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader
from pymysql.constants import FIELD_TYPE

from connectors.mysql import types
from connectors.mysql.catalog import Catalog
from connectors.mysql.connection import identify
from connectors.mysql.shape import ColumnShape, TableShape
from schema.change import Value
from tests.connectors.mysql.rawlog import RawLog
from tests.mysql_servers import MysqlDatabase

pytestmark = pytest.mark.mysql

SESSION = "set session sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'"

INTEGERS = {
    "tinyint": ["-128", "-1", "0", "1", "127"],
    "tinyint unsigned": ["0", "127", "128", "255"],
    "tinyint(1)": ["-128", "0", "1", "9"],
    "smallint": ["-32768", "-1", "0", "32767"],
    "smallint unsigned": ["0", "32768", "65535"],
    "mediumint": ["-8388608", "-1", "0", "8388607"],
    "mediumint unsigned": ["0", "8388608", "16777215"],
    "int": ["-2147483648", "-134217729", "-8193", "-1", "0", "8191", "8192", "134217728", "2147483647"],
    "int unsigned": ["0", "2147483648", "4294967295"],
    "int(7) unsigned zerofill": ["0", "42"],
    "bigint": ["-9223372036854775808", "-1", "0", "9223372036854775807"],
    "year": ["0", "1901", "2155"],
}
DECIMALS = {
    "bigint unsigned": ["0", "127", "128", "255", "256", "9223372036854775808", "18446744073709551615"],
    "decimal(10,2)": ["-99999999.99", "-0.01", "0.00", "0.01", "12345678.90", "99999999.99"],
    "decimal(65,30)": [
        f"-{'9' * 35}.{'9' * 30}",
        f"{'9' * 35}.{'9' * 30}",
        f"0.{'0' * 29}1",
        f"-1000000000.{'0' * 29}1",
        f"123456789012345678901234567890.{'0' * 30}",
    ],
    "decimal(30,30)": [f"-0.{'9' * 30}", f"0.{'0' * 29}1"],
    "decimal(65,0)": ["9" * 65, f"-{'9' * 65}", "0", "-1"],
    "decimal(18,9)": ["-123456789.123456789", "0.000000001", "-0.000000001"],
    "decimal(9,0)": ["999999999", "-999999999", "255", "-256"],
}


def table(database: MysqlDatabase, declared: Sequence[str]) -> list[ColumnShape]:
    """The columns c0, c1, ... of a new table `t`; the first is the key `id`."""
    database.execute(SESSION)
    columns = ", ".join(f"c{i} {column}" for i, column in enumerate(declared))
    database.execute(f"create table t (id int primary key auto_increment, {columns})")
    shape = Catalog(database.admin, identify(database.admin)).shape(database.name, "t")
    assert shape is not None
    return list(shape.columns)


def insert(database: MysqlDatabase, values: Iterable[Sequence[str]]) -> None:
    """Each column's values, as SQL, from the first row on."""
    rows = zip_longest(*values, fillvalue="null")
    numbered = ", ".join(f"({i}, {', '.join(row)})" for i, row in enumerate(rows, 1))
    database.execute(f"insert into t values {numbered}")


def select(database: MysqlDatabase, shapes: Sequence[ColumnShape]) -> list[list[bytes | None]]:
    """The table's rows as a SELECT gives them, in bytes."""
    expressions = ", ".join(types.select_expression(shape) for shape in shapes)
    reader = in_bytes(database)
    rows = rows_of(reader, f"select {expressions} from t order by id")
    reader.close()
    return [list(row) for row in rows]


def in_bytes(database: MysqlDatabase) -> Any:
    """A connection that gives what the server sends."""
    connection = database.connect(conv={}, use_unicode=False)
    rows_of(connection, SESSION)
    return connection


def rows_of(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def check(database: MysqlDatabase, values: dict[str, list[str]]) -> list[tuple[str, Any]]:
    """(SQL, what a reader sees) of each value, column by column; the log and the SELECT gave the same bytes."""
    shapes = table(database, list(values))
    log = RawLog(database)
    insert(database, values.values())
    logged = log.inserted([types.width(shape) for shape in shapes])
    selected = select(database, shapes)
    seen = []
    for i, (shape, expressions) in enumerate(zip(shapes[1:], values.values(), strict=True), 1):
        for row, expression in enumerate(expressions):
            seen.append((expression, both(shape, logged[row][i], selected[row][i])))
    return seen


def both(shape: ColumnShape, logged: Value, selected: Value) -> Any:
    assert isinstance(logged, bytes) and isinstance(selected, bytes)
    log, text = types.log_type(shape), types.text_type(shape)
    assert log._replace(encoder=text.encoder) == text
    avro = log.encoder(b"\x02")(logged)
    assert avro == text.encoder(b"\x02")(selected), f"{shape.declared}: {logged.hex()} {selected!r}"
    assert avro[:1] == b"\x02"
    return schemaless_reader(BytesIO(avro[1:]), parse_schema(log.avro), None)


def test_integers_are_numbers_at_every_width(mysql: MysqlDatabase) -> None:
    seen = check(mysql, INTEGERS)
    assert seen == [(text, int(text)) for texts in INTEGERS.values() for text in texts]


def test_decimals_and_unsigned_bigints_keep_every_digit(mysql: MysqlDatabase) -> None:
    seen = check(mysql, DECIMALS)
    assert seen == [(text, Decimal(text)) for texts in DECIMALS.values() for text in texts]


def test_floats_keep_their_bits(mysql: MysqlDatabase) -> None:
    values = ["0.1e0", "-0.0e0", "3.4028234663852886e38", "1.401298464324817e-45", "16777217e0", "1.17549435e-38"]
    doubles = ["0.1e0", "-0.0e0", "1.7976931348623157e308", "5e-324", "9007199254740993e0", "2.2250738585072014e-308"]
    declared = {
        "float": values,
        "float(24)": values,
        "float(25)": doubles,
        "double": doubles,
        "double(20,3)": ["1234567.125", "0.5", "-0.125"],
        "float(7,4)": ["123.4567", "-0.0001"],
    }
    seen = check(mysql, declared)
    singles = [*seen[:12], *seen[-2:]]
    assert [value for _, value in singles] == [
        struct.unpack("<f", struct.pack("<f", float(sql)))[0] for sql, _ in singles
    ]
    assert [(sql, value) for sql, value in seen[12:-2] if float(sql) != value] == []


def test_a_float_with_digits_of_its_own_is_a_double(mysql: MysqlDatabase) -> None:
    shapes = table(mysql, ["float", "float(7,4)", "double(10,2)"])
    assert [types.log_type(shape).avro for shape in shapes[1:]] == ["float", "double", "double"]


BITS = {
    "bit": ["0", "1"],
    "bit(3)": ["0", "b'101'", "b'111'"],
    "bit(8)": ["0", "255"],
    "bit(9)": ["0", "1", "256", "511"],
    "bit(14)": ["1", "8192"],
    "bit(64)": ["0", "1", "9223372036854775808", "18446744073709551615"],
}


def test_bits_are_little_endian_and_one_bit_is_a_boolean(mysql: MysqlDatabase) -> None:
    seen = check(mysql, BITS)
    assert seen[:2] == [("0", False), ("1", True)]
    numbers = [int(sql[2:-1], 2) if sql[0] == "b" else int(sql) for sql, _ in seen[2:]]
    assert [int.from_bytes(value, "little") for _, value in seen[2:]] == numbers
    assert [len(value) for _, value in seen[2:]] == [1] * 3 + [1] * 2 + [2] * 4 + [2] * 2 + [8] * 4


LABELS = {
    "enum('a','b,c','it''s','')": ["'a'", "'b,c'", "'it''s'", "''", "0"],
    "enum('größe','naïve') character set latin1": ["'größe'", "2"],
    f"enum({','.join(repr(f'l{i}') for i in range(300))})": ["'l0'", "'l255'", "'l299'"],
    "set('a','b','c')": ["''", "'c,a'", "7"],
    "set('ä','ö') character set latin1": ["'ö,ä'"],
    f"set({','.join(repr(f'm{i}') for i in range(64))})": ["'m63'", "'m0,m63'", "18446744073709551615"],
}


def test_enums_and_sets_show_labels_and_an_invalid_one_as_empty(mysql: MysqlDatabase) -> None:
    seen = [value for _, value in check(mysql, LABELS)]
    everything = ",".join(f"m{i}" for i in range(64))
    assert seen[:7] == ["a", "b,c", "it's", "", "", "größe", "naïve"]
    assert seen[7:] == ["l0", "l255", "l299", "", "a,c", "a,b,c", "ä,ö", "m63", "m0,m63", everything]


def test_the_labels_of_an_enum_are_told_with_commas_escaped(mysql: MysqlDatabase) -> None:
    shape = table(mysql, ["enum('a','b,c','it''s','')"])[1]
    assert types.log_type(shape).avro == {
        "type": "string",
        "connect.version": 1,
        "connect.parameters": {"allowed": "a,b\\,c,it's,"},
        "connect.name": "io.debezium.data.Enum",
    }


STRINGS = {
    "char(5)": ["''", "'a'", "'a  '", "'😀é'"],
    "char(200)": ["'x'", "repeat('é', 200)"],
    "char(0)": ["''"],
    "varchar(10)": ["''", "'bc  '", "concat('a', char(0), 'b')"],
    "varchar(300)": ["repeat('x', 255)", "repeat('x', 256)", "repeat('é', 300)"],
    "tinytext": ["''", "repeat('x', 255)"],
    "text": ["'text'", "repeat('x', 65535)"],
    "mediumtext": ["repeat('x', 70000)"],
    "longtext": ["'😀'"],
    "varchar(20) character set latin1": ["_latin1 x'80818d8f909de9'", "'é'"],
    "char(10) character set utf16": ["'a  '", "'😀'", "'日本'"],
    "varchar(10) character set ucs2": ["'日本'", "''"],
    "text character set gbk": ["'中文 text'"],
}
BYTES = {
    "binary(4)": ["''", "x'61'", "x'6100'", "x'00000000'", "x'61626364'", "x'61626320'"],
    "binary(255)": ["x'01'"],
    "varbinary(4)": ["''", "x'6100'", "x'00'", "x'20'"],
    "varbinary(300)": ["repeat(x'ff', 300)"],
    "blob": ["''", "x'00ff'", "repeat('x', 65535)"],
    "mediumblob": ["repeat(x'00', 70000)"],
    "char(3) character set binary": ["x'61'"],
    "text character set binary": ["x'e9'"],
}


def test_strings_are_what_the_server_converts_to_utf8mb4(mysql: MysqlDatabase) -> None:
    seen = check(mysql, STRINGS)
    texts = iter(seen)
    for i, expressions in enumerate(STRINGS.values()):
        rows = mysql.execute(f"select convert(c{i} using utf8mb4) from t where c{i} is not null order by id")
        assert [(sql, row[0]) for sql, row in zip(expressions, rows, strict=True)] == [next(texts) for _ in expressions]


def test_binary_is_padded_again_and_other_bytes_are_as_stored(mysql: MysqlDatabase) -> None:
    seen = iter(check(mysql, BYTES))
    for i, expressions in enumerate(BYTES.values()):
        rows = mysql.execute(f"select hex(c{i}) from t where c{i} is not null order by id")
        wanted = [(sql, bytes.fromhex(row[0])) for sql, row in zip(expressions, rows, strict=True)]
        assert wanted == [next(seen) for _ in expressions]


ADDRESSES = {
    "uuid": [
        "'00000000-0000-0000-0000-000000000000'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        "'01234567-89ab-1def-8123-456789abcd00'",
        "'01234567-89ab-7def-8123-456789abcdef'",
        "'01234567-89ab-4def-0123-000000000000'",
    ],
    "inet4": ["'0.0.0.0'", "'1.2.3.0'", "'255.255.255.255'"],
    "inet6": [
        *("'::'", "'::1'", "'::1.2.3.4'", "'::ffff:1.2.3.4'", "'1:0:0:2::'", "'1:0:0:2:0:0:0:3'", "'1::2:3:4:5:6:7'"),
        *("'2001:db8:0:0:1:0:0:1'", "'0:0:0:0:0:0:1:0'", "'::ffff:0:0:0'", "'1:0:2:0:3:0:4:0'"),
        *("'::ffff:0:0'", "'::0102'", "'fe80::1:0:0:0'", "'1:2:3:4:5:6:7:8'", "'::ffff'", "'::1:ffff'", "'0:0:1::'"),
    ],
}
COMPRESSED = {
    "varchar(2000) compressed": ["''", "'short'", "repeat('é', 1500)"],
    "varchar(100) compressed": ["repeat('a', 100)", "''"],
    "mediumblob compressed": ["''", "x'00ff'", "repeat(x'00ff', 50000)"],
    "mediumtext compressed character set latin1": ["repeat('é', 5000)", "'é'"],
}


def test_mariadbs_uuids_addresses_and_compressed_columns_are_their_text(mysql: MysqlDatabase) -> None:
    if mysql.flavor == "mysql":
        pytest.skip("MariaDB alone has these types")
    seen = iter(check(mysql, ADDRESSES | COMPRESSED))
    for i, expressions in enumerate((ADDRESSES | COMPRESSED).values()):
        rows = mysql.execute(f"select c{i} from t where c{i} is not null order by id")
        assert [(sql, row[0]) for sql, row in zip(expressions, rows, strict=True)] == [next(seen) for _ in expressions]


@pytest.mark.parametrize("frame", ["on", "off"])
def test_compressed_columns_are_read_with_and_without_zlibs_frame(mysql: MysqlDatabase, frame: str) -> None:
    if mysql.flavor == "mysql":
        pytest.skip("MariaDB alone has these columns")
    mysql.execute(f"set session column_compression_zlib_wrap = {frame}")
    assert check(mysql, {"blob compressed": ["repeat('a', 500)"]}) == [("repeat('a', 500)", b"a" * 500)]


def test_any_double_is_read_from_a_select_with_all_its_digits(mysql: MysqlDatabase) -> None:
    chance = random.Random(1)
    # Any bits but those of infinities and NaN, which neither server has.
    doubles = [chance.getrandbits(1) << 63 | chance.randrange(0x7FF << 52) for _ in range(500)]
    floats = [chance.getrandbits(1) << 31 | chance.randrange(0xFF << 23) for _ in range(500)]
    values = {
        "double": [repr(struct.unpack("<d", bits.to_bytes(8, "little"))[0]) for bits in doubles],
        "float": [repr(struct.unpack("<f", bits.to_bytes(4, "little"))[0]) for bits in floats],
    }
    assert len(check(mysql, values)) == 1000


KEYS = {
    "tinyint unsigned": ["0", "7", "255"],
    "bigint": ["-9223372036854775808", "-1", "9223372036854775807"],
    "bigint unsigned": ["0", "9223372036854775808", "18446744073709551615"],
    "decimal(30,10)": ["-0.0000000001", "0", "12345678901234567890.0123456789"],
    "float": ["-0.1e0", "0.1e0", "0.3e0", "16777217e0"],
    "double": ["-5e-324", "0.1e0", "0.30000000000000004e0", "1.7976931348623157e308"],
    "bit(64)": ["0", "9223372036854775808", "18446744073709551615"],
    "year": ["0", "1901", "1999", "2000", "2155"],
    "date": ["'0000-00-00'", "'2015-00-21'", "'2015-02-31'", "'9999-12-31'"],
    "datetime(6)": ["'0000-00-00'", "'2015-00-21 00:00:00.000001'", "'2024-02-29 12:34:56.789012'"],
    "timestamp(3)": ["'0000-00-00'", "'1970-01-01 00:00:01'", "'2024-02-29 12:34:56.789'"],
    "time(6)": ["'-838:59:59'", "'-00:00:00.000001'", "'00:00:00'", "'838:59:59'"],
    "char(10)": ["''", "'a'", "'B'", "'é'", "'😀'"],
    "varchar(10) character set latin1": ["''", "_latin1 x'80'", "'a''b'", "'ä'"],
    "varchar(10) character set sjis": ["'a'", "_sjis x'835c'", "_sjis x'8ea1'"],
    "varchar(10) character set utf16": ["'a'", "'日本'", "'😀'"],
    "varchar(10) character set utf8mb3 collate utf8mb3_bin": ["'a'", "'A'", "'日本'"],
    "binary(4)": ["x'00000000'", "x'00000100'", "x'ff000000'"],
    "varbinary(10)": ["''", "x'00'", "x'27275c'"],
    "enum('z','a','')": ["0", "'z'", "'a'", "''"],
    f"set({','.join(repr(f'm{i}') for i in range(64))})": ["0", "'m1'", "'m62'", "'m63'", "18446744073709551615"],
}


WITHOUT_RANGES = {FIELD_TYPE.ENUM, FIELD_TYPE.SET}
"""Rows of these are filtered while the server walks through the index."""


def test_a_table_is_paged_through_by_any_key_with_its_index(mysql: MysqlDatabase) -> None:
    mysql.execute(SESSION)
    catalog = Catalog(mysql.admin, identify(mysql.admin))
    addresses = ADDRESSES if mysql.flavor == "mariadb" else {}
    reader = in_bytes(mysql)
    for i, (declared, values) in enumerate((KEYS | addresses).items()):
        mysql.execute(f"create table t{i} (k {declared} primary key) engine = InnoDB")
        mysql.execute(f"insert into t{i} values {', '.join(f'({value})' for value in values)}")
        shape = catalog.shape(mysql.name, f"t{i}")
        assert shape is not None
        page_through(reader, shape, len(values))
    reader.close()


def page_through(reader: Any, table: TableShape, count: int) -> None:
    key = table.columns[0]
    query = f"select {types.select_expression(key)} from {table.name}"
    everything = [row[0] for row in rows_of(reader, f"{query} order by k")]
    assert len(everything) == count
    seen = everything[:1]
    while rows := rows_of(reader, f"{query} where {behind(key, seen[-1])} order by k limit 1"):
        seen.append(rows[0][0])
    assert seen == everything
    where = behind(key, seen[-2])
    plan = rows_of(reader, f"explain select k from {table.name} force index (primary) where {where} order by k limit 1")
    assert "range" in str(plan) or key.kind in WITHOUT_RANGES, f"{where}: {plan}"


def behind(key: ColumnShape, value: bytes) -> str:
    return f"{types.key_expression(key)} > {types.key_literal(key, value)}"


DEFAULTS = {
    "tinyint(1) default 1": 1,
    "bigint unsigned default 18446744073709551615": "\x00" + "\xff" * 8,
    "bit default b'1'": True,
    "bit(9) not null default b'100000001'": "\x01\x01",
    "year not null default 0": 0,
    "decimal(10,2) default 12.5": "\x04\xe2",
    "float default 0.1": 0.1,
    "double default 1e100": 1e100,
    "date default '2015-02-28'": 16494,
    "date not null default '0000-00-00'": None,
    "datetime default '2015-00-21'": None,
    "datetime(3) default '2015-02-28 12:34:56.789'": 1425126896789,
    "datetime default current_timestamp": 0,
    "timestamp(6) not null default current_timestamp(6)": "1970-01-01T00:00:00Z",
    "timestamp null default current_timestamp": None,
    "timestamp(6) null default '2015-02-28 12:34:56.5'": "2015-02-28T12:34:56.500000Z",
    "timestamp not null default '0000-00-00'": None,
    "time(6) default '-100:00:00.5'": -360000500000,
    "varchar(10) default 'it''s'": "it's",
    "varchar(40) default 'current_timestamp'": "current_timestamp",
    "varchar(10) character set latin1 default 'é'": "é",
    "enum('a','b') default 'b'": "b",
    "set('x','y') default 'x,y'": "x,y",
    "int default (1 + 1)": None,
    "int": None,
    "varbinary(5) default 'ab'": None,
}


def test_constant_defaults_are_shown_and_no_others(mysql: MysqlDatabase) -> None:
    shapes = table(mysql, list(DEFAULTS))
    shown = {}
    for declared, shape in zip(DEFAULTS, shapes[1:], strict=True):
        default = types.constant_default(shape)
        shown[declared] = None if default is None else default.json
        if default is not None and shape.kind != FIELD_TYPE.FLOAT:
            schema = types.log_type(shape).avro
            primitive = schema["type"] if isinstance(schema, dict) else schema
            value = schemaless_reader(BytesIO(default.avro), primitive, None)
            assert (value.decode("latin-1") if isinstance(value, bytes) else value) == default.json
    assert shown == DEFAULTS


def test_what_the_log_left_out_is_told_only_where_it_looks_like_no_value() -> None:
    assert types.log_type(ColumnShape("c", FIELD_TYPE.VARCHAR, 40, charset="utf8mb4")).unavailable is not None
    for kind in (FIELD_TYPE.LONG, FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DATE, types.DATETIME2, types.TIMESTAMP2):
        assert types.log_type(ColumnShape("c", kind)).unavailable is None


def test_a_label_or_member_that_is_not_known_is_refused() -> None:
    with pytest.raises(LookupError):
        types.log_type(ColumnShape("e", FIELD_TYPE.ENUM, 247 | 256, labels=("a",))).encoder(b"")(b"\x02")
    with pytest.raises(ValueError, match="beyond the 1 known"):
        types.log_type(ColumnShape("s", FIELD_TYPE.SET, 248 | 256, labels=("a",))).encoder(b"")(b"\x02")
