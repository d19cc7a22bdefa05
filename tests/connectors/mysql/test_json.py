"""JSON columns: what the log holds becomes the text that the server itself shows."""

import random
import struct

import pytest

from connectors.mysql.json import document, json_text_type, json_type, text
from connectors.mysql.json_diff import applied, partial_columns
from connectors.mysql.rows import PARTIAL_UPDATE, head, image
from schema.change import Value
from tests.connectors.mysql.rawlog import RawLog
from tests.mysql_servers import BY_NAME, MysqlDatabase

pytestmark = pytest.mark.mysql
binary_json = pytest.mark.parametrize("mysql_server", [BY_NAME["mysql97"]], ids=["mysql97"], indirect=True)
"""MariaDB has no JSON but a name for LONGTEXT."""

INT, JSON = 4, -4

DOCUMENTS = [
    *("null", "true", "false", "0", "-1", '""', "{}", "[]", "[[], {}, [{}]]", '{"": {"": ""}}'),
    "[32767, -32768, 32768, -32769, 65535, 65536, 2147483647, -2147483648, 2147483648, 4294967295, 4294967296]",
    "[9223372036854775807, -9223372036854775808, 9223372036854775808, 18446744073709551615, 18446744073709551616]",
    "[1.0, -1.0, 0.0, -0.0, 0.1, 1e14, 999999999999999.9, 1e15, 1234567890123456.7, 12345678901234567.8, 1e16, 1e17]",
    "[1e-4, 1e-5, 1.5e-14, 1e-15, 1e-16, 1e100, -1.25e-100, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]",
    r'"\"\\\/\b\f\n\r\t\u0000\u001f\u007f\u0080\u2028"',
    '"Zürich, Владивосток, 東京, 😀"',
    '{"b": 1, "a": 2, "aa": 3, "ä": 4, "😀": 5, "a\\"b": 6, "c\\\\d": 7, "e\\nf": 8}',
    "[" * 100 + "]" * 100,
    '{"a": ' * 99 + "[null, true, false, 7, 70000]" + "}" * 99,
    f'["{"x" * 127}", "{"y" * 128}", "{"z" * 16383}", "{"z" * 16384}", [1, null, true, -5, 70000, -70000, 3000000000]]',
    f'{{"long": "{"x" * 3_000_000}", "{"k" * 65535}": 65535, "n": null, "b": [false, {{"small": ["inside"]}}]}}',
    f"[{', '.join(str(n) for n in range(-20_000, 20_000, 3))}]",
    "{" + ", ".join(f'"k{n}": [{n * n * n}, {n}.5]' for n in range(3_000)) + "}",
]

OPAQUE = [
    "json_array(cast(0.50 as decimal(4,2)), cast(-12.3 as decimal(65,30)), cast(0 as decimal(5,0)), -0.0, 1e0)",
    "json_array(99999999999999999999999999999999999.999999999999999999999999999999, -.1, 123456789.012345678)",
    "json_array(date'2024-02-29', date'9999-12-31', timestamp'1000-01-01 00:00:00', timestamp'2024-02-29 23:59:59.5')",
    "json_array(time'838:59:59', time'-838:59:58.999999', time'-00:00:00.000001', time'00:00:00')",
    "json_array(x'', x'00ff', b'101', repeat(x'01', 56), repeat(x'02', 57), repeat(x'03', 58), repeat(x'04', 1000))",
    "json_array(true, cast(2155 as year), uuid_to_bin('6ccd780c-baba-1026-9564-5b8c656024db'), binary 'a\"b')",
    "json_object('point', point(1, 2), 'empty', st_geomfromtext('GEOMETRYCOLLECTION EMPTY'))",
    "cast(cast(1.50 as decimal(3,2)) as json)",
    "cast(time'11:22:33' as json)",
    "cast(x'ff00' as json)",
]


def shown_and_logged(mysql: MysqlDatabase, log: RawLog) -> tuple[list[bytes], list[bytes]]:
    """The Avro of every document of `t` as SELECT gives it, and of those that the log has."""
    copy = json_text_type().encoder(b"\x02")
    stream = json_type().encoder(b"\x02")
    logged = [value for _, value in log.inserted([INT, JSON])]
    rows = mysql.execute("select cast(doc as char) from t order by id")
    return [copy(shown.encode()) for (shown,) in rows], [stream(value) for value in logged if isinstance(value, bytes)]


@pytest.fixture
def log(mysql: MysqlDatabase) -> RawLog:
    mysql.execute("create table t (id int auto_increment primary key, doc json not null)")
    return RawLog(mysql)


@binary_json
def test_a_document_of_the_log_is_the_text_that_the_server_shows(mysql: MysqlDatabase, log: RawLog) -> None:
    for written in DOCUMENTS:
        mysql.execute("insert into t (doc) values (%s)", written)
    shown, logged = shown_and_logged(mysql, log)
    assert logged == shown


@binary_json
def test_any_double_has_the_digits_that_the_server_shows(mysql: MysqlDatabase, log: RawLog) -> None:
    rng = random.Random(8)
    patterns = [float(struct.unpack("<d", rng.randbytes(8))[0]) for _ in range(2000)]
    rounded = [round(rng.uniform(-10, 10), rng.randint(0, 17)) * 10.0 ** rng.randint(-20, 20) for _ in range(2000)]
    numbers = [n for n in patterns + rounded if abs(n) < float("inf")]
    mysql.execute("insert into t (doc) values (%s)", str(numbers))
    shown, logged = shown_and_logged(mysql, log)
    assert logged == shown


@binary_json
def test_values_that_json_has_no_type_for_are_as_the_server_shows_them(mysql: MysqlDatabase, log: RawLog) -> None:
    mysql.execute("set sql_mode = ''")
    mysql.execute(
        "create table s (y year, b bit(11), e enum('a','b'), m set('a','b'), at timestamp(3) null, dt datetime, d date,"
        " f float, u bigint unsigned, bl blob, tb tinyblob, lb longblob, vb varbinary(9), bi binary(4), c char(5))"
    )
    mysql.execute(
        "insert into s values (2021, b'101', 'b', 'a,b', '2024-02-29 03:04:05.678', '0000-00-00', '2015-00-21', 1.1,"
        " 18446744073709551615, x'c3bf', 'y', 'x', x'ff', x'01', 'é')"
    )
    log.take()
    for expression in OPAQUE:
        mysql.execute(f"insert into t (doc) values ({expression})")
    mysql.execute("insert into t (doc) select json_array(y, b, e, m, at, dt, d, f, u, bl, tb, lb, vb, bi, c) from s")
    shown, logged = shown_and_logged(mysql, log)
    assert logged == shown


@binary_json
def test_what_insert_ignore_leaves_in_a_not_null_column_is_jsons_null(mysql: MysqlDatabase, log: RawLog) -> None:
    mysql.execute("insert ignore into t (doc) values (null)")
    mysql.execute("insert ignore into t () values ()")
    shown, logged = shown_and_logged(mysql, log)
    assert logged == shown == [b"\x02\x08null"] * 2
    assert document(b"")(b"") == b"\x08null"


@binary_json
def test_a_document_with_holes_from_updates_in_place_is_whole(mysql: MysqlDatabase, log: RawLog) -> None:
    mysql.execute(
        "insert into t (doc) values (%s)", '{"a": "long enough to leave a hole", "b": [1, 70000], "c": "kept"}'
    )
    mysql.execute("update t set doc = json_set(doc, '$.a', 'short')")
    mysql.execute("update t set doc = json_set(doc, '$.b[1]', 7)")
    mysql.execute("update t set doc = json_remove(doc, '$.a')")
    [_, *updates] = log.take()
    afters = [values for event in updates for _, values in changes(event, [INT, JSON])]
    assert [text(present(after[1])) for after in afters] == [
        '{"a": "short", "b": [1, 70000], "c": "kept"}',
        '{"a": "short", "b": [1, 7], "c": "kept"}',
        '{"b": [1, 7], "c": "kept"}',
    ]


@pytest.mark.parametrize("large", [b"\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x0c\x0c\x00k\x03abc"])
def test_a_document_cut_off_anywhere_is_refused(large: bytes) -> None:
    assert text(large + b"\x00") == '{"k": "abc"}'
    for size in range(1, len(large)):
        with pytest.raises((ValueError, LookupError)):
            text(large[:size])


def test_text_that_the_server_kept_as_an_opaque_value_is_text() -> None:
    assert text(b'\x0f\xfd\x03a"b') == r'"a\"b"'


def test_what_is_no_json_is_refused() -> None:
    unknown_type, unknown_literal, infinite = b"\x0d\x00", b"\x04\x03", b"\x0b" + struct.pack("<d", float("inf"))
    endless_length, not_utf8 = b"\x0c" + b"\xff" * 9, b"\x0c\x01\xff"
    array_in_itself = b"\x02\x01\x00\x07\x00\x02\x00\x00"
    for bad in (unknown_type, unknown_literal, infinite, endless_length, not_utf8, array_in_itself):
        with pytest.raises((ValueError, LookupError)):
            text(bad)


def changes(event: bytes, widths: list[int]) -> list[tuple[list[Value], list[Value]]]:
    """(before, after) of every row of an update, differences applied."""
    at, found = head(event).rows_at, []
    json_columns = [i for i, width in enumerate(widths) if width == JSON]
    while at < len(event):
        before, at = image(event, at, widths, head(event).before)
        partial: list[int] = []
        if event[4] == PARTIAL_UPDATE:
            partial, at = partial_columns(event, at, json_columns)
        after, at = image(event, at, widths, head(event).after)
        for column in partial:
            after[column] = applied(present(before[column]), present(after[column]))
        found.append((before, after))
    return found


def present(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


KEYS = [
    "a",
    "bb",
    "two words",
    'q"uote',
    "é",
    "back\\slash",
    "dot.ted",
    "",
    "0",
    "last",
    "$",
    "😀",
    "z" * 300,
    "new\nline",
]


def any_value(rng: random.Random, depth: int) -> str:
    """SQL of a JSON value."""
    if depth and rng.random() < 0.5:
        inner = [any_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.5:
            return f"json_array({', '.join(inner)})"
        return f"json_object({', '.join(f'{quoted(key)}, {value}' for key, value in zip(KEYS, inner, strict=False))})"
    scalars = [
        "null",
        "true",
        "-1",
        "70000",
        "-3000000000",
        "18446744073709551615",
        "1.5",
        "1e0",
        "'x'",
        "repeat('y', 300)",
    ]
    return rng.choice([*scalars, "date'2024-02-29'", "x'00ff'"])


def quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"


def any_path(rng: random.Random) -> str:
    keys = ['."' + key.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"' for key in KEYS]
    cells = ["[0]", "[1]", "[4]", "[last]", "[last-1]", "[last-3]"]
    return "$.doc" + "".join(rng.choice(keys if rng.random() < 0.5 else cells) for _ in range(rng.randint(0, 3)))


@binary_json
@pytest.mark.parametrize("seed", range(3))
def test_partial_updates_become_the_document_that_the_server_has(mysql: MysqlDatabase, seed: int) -> None:
    rng = random.Random(seed)
    mysql.execute("create table t (id int primary key, other json, n int, doc json)")
    everything = ", ".join(f"{quoted(key)}, {any_value(rng, 3)}" for key in KEYS)
    mysql.execute(
        f"insert into t values (1, '[1]', 0, json_object('fill', repeat('f', 3000), 'doc', json_object({everything})))"
    )
    log = RawLog(mysql)
    mysql.execute("set binlog_row_value_options = PARTIAL_JSON")
    expected = []
    for n in range(150):
        function = rng.choice(["set", "replace", "insert", "array_insert", "array_append", "remove"])
        path = quoted(any_path(rng))
        try:
            value = "" if function == "remove" else f", {any_value(rng, 2)}"
            mysql.execute(f"update t set n = {n + 1}, doc = json_{function}(doc, {path}{value})")
        except mysql.admin.Error:
            continue  # no cell of an array where one is asked for
        expected += mysql.execute("select cast(other as char), cast(doc as char) from t")
    events = log.take()
    afters = [after for event in events for _, after in changes(event, [INT, JSON, INT, JSON])]
    assert [(text(present(after[1])), text(present(after[3]))) for after in afters] == expected
    assert sum(event[4] == PARTIAL_UPDATE for event in events) > 60


@binary_json
def test_a_member_that_a_partial_update_adds_stands_where_the_server_puts_it(mysql: MysqlDatabase) -> None:
    mysql.execute("create table t (id int primary key, doc json)")
    mysql.execute("""insert into t values (1, json_object('fill', repeat('f', 3000), 'doc', '{"b": 1, "dd": 2}'))""")
    mysql.execute("""update t set doc = json_set(doc, '$.doc', cast('{"b": 1, "dd": 2, "eee": 3}' as json))""")
    log = RawLog(mysql)
    mysql.execute("set binlog_row_value_options = PARTIAL_JSON")
    mysql.execute(
        "update t set doc = json_set(doc, '$.doc.c', 1, '$.doc.a', 2, '$.doc.cc', 3, '$.doc.dddd', 4, '$.é', 5)"
    )
    expected = mysql.execute("select cast(doc as char) from t")
    # What is no array counts as one of a single cell.
    mysql.execute("update t set doc = json_set(doc, '$[0].doc[0].a[0]', 6, '$.doc.b[last]', 7, '$.doc.c[1]', 8)")
    expected += mysql.execute("select cast(doc as char) from t")
    events = log.take()
    assert [event[4] for event in events] == [PARTIAL_UPDATE] * 2
    assert [(text(present(after[1])),) for event in events for _, after in changes(event, [INT, JSON])] == expected


@binary_json
def test_a_partial_image_tells_of_json_columns_that_it_does_not_hold(mysql: MysqlDatabase) -> None:
    columns = ", ".join(f"j{n} json" for n in range(9))
    mysql.execute(f"create table t (id int primary key, {columns})")
    fill = "json_object('fill', repeat('f', 500), 'n', 1)"
    mysql.execute(f"insert into t values (1, {', '.join([fill] * 9)})")
    log = RawLog(mysql)
    mysql.execute("set binlog_row_value_options = PARTIAL_JSON, binlog_row_image = MINIMAL")
    mysql.execute("update t set j8 = json_set(j8, '$.n', 2), j2 = null")
    [event] = log.take()
    assert event[4] == PARTIAL_UPDATE
    widths = [INT, *[JSON] * 9]
    _, at = image(event, head(event).rows_at, widths, head(event).before)
    partial, at = partial_columns(event, at, range(1, 10))
    after, at = image(event, at, widths, head(event).after)
    assert partial == [9]
    assert after[3] is None
    assert at == len(event)
    whole = mysql.execute("select cast(j7 as char) from t")[0][0]
    assert len(present(after[9])) < len(whole) // 4


def test_differences_that_do_not_fit_their_document_are_refused() -> None:
    array = b"\x02\x01\x00\x07\x00\x05\x07\x00"
    seven = b"\x03\x05\x07\x00"
    assert text(applied(array, b"\x00\x04$[0]" + b"\x03\x05\x08\x00")) == "[8]"
    for diffs in (
        b"\x00\x04$[1]" + seven,
        b"\x02\x04$[1]",
        b"\x00\x03$.a" + seven,
        b"\x01\x03$.a" + seven,
        b"\x00\x07$[0][0]" + seven,
        b"\x00\x04$[*]" + seven,
        b"\x03\x04$[0]" + seven,
        b"\x00\x04$[0]" + seven[:-1],
    ):
        with pytest.raises((ValueError, LookupError)):
            applied(array, diffs)
    object_with_a = b"\x00\x01\x00\x0c\x00\x0b\x00\x01\x00\x05\x07\x00a"
    assert text(object_with_a) == '{"a": 7}'
    with pytest.raises(ValueError, match="has already"):
        applied(object_with_a, b"\x01\x03$.a" + seven)
    with pytest.raises(ValueError, match="the whole document"):
        applied(array, b"\x02\x01$")
    for nothing in (b"", b"\x04\x00"):
        with pytest.raises((ValueError, LookupError)):
            applied(nothing, b"\x02\x04$[0]")
    with pytest.raises(ValueError, match="options 2"):
        partial_columns(b"\x02\x00", 0, [0])
