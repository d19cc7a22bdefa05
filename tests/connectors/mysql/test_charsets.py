"""Every charset of every server, every code: what the server's own CONVERT gives."""

import pytest

from connectors.mysql import charsets
from schema.errors import Unencodable
from tests.mysql_servers import MysqlDatabase

NUMBERS = 65536
REPLACEMENT = "\ufffd".encode()
SINGLE = "unhex(lpad(hex(i), 2, '0'))"
PAIR = "unhex(lpad(hex(i), 4, '0'))"
HIGH_PAIR = "unhex(hex(i | 32768))"
BEHIND_8F = f"concat(x'8f', {HIGH_PAIR})"
FOUR = (
    "concat(char(129 + {n} div 12600), char(48 + {n} div 1260 % 10), char(129 + {n} div 10 % 126), char(48 + {n} % 10))"
)

CODES = {
    **dict.fromkeys(("big5", "cp932", "euckr", "gb2312", "gbk", "sjis"), (SINGLE, HIGH_PAIR)),
    **dict.fromkeys(("ujis", "eucjpms"), (SINGLE, HIGH_PAIR, BEHIND_8F)),
    "gb18030": (SINGLE, HIGH_PAIR, FOUR.format(n="i"), FOUR.format(n="(i * 16 + 189000)")),
    **dict.fromkeys(("ucs2", "utf16", "utf16le"), (PAIR,)),
    "utf32": (f"concat(x'0000', {PAIR})", f"concat(x'0001', {PAIR})", f"concat(x'0010', {PAIR})"),
    **dict.fromkeys(("utf8mb3", "utf8mb4"), (SINGLE, HIGH_PAIR, f"concat(x'e3', {HIGH_PAIR})")),
}
"""By charset, those of one byte left out: SQL of its codes, of `i` from 0 to 65535."""


@pytest.mark.mysql
def test_every_code_is_what_the_server_converts_it_to(mysql: MysqlDatabase) -> None:
    mysql.execute("set session group_concat_max_len = 100000000")
    count_numbers(mysql)
    names = [row[0] for row in mysql.execute("select character_set_name from information_schema.character_sets")]
    assert {"latin1", "sjis", "utf32"} < set(names)
    for name in sorted({*names} - {"binary"}):
        for codes in CODES.get(name, (SINGLE,)):
            told = converted(mysql, name, codes)
            wrong = {code.hex(): (text, ours(name, code)) for code, text in told if ours(name, code) != text}
            assert not wrong, f"{name}: {len(wrong)} codes, {list(wrong.items())[:10]}"


def count_numbers(database: MysqlDatabase) -> None:
    database.execute("create table digits (d int)")
    database.execute("insert into digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15)")
    database.execute("create table numbers (i int primary key)")
    database.execute(
        "insert into numbers select a.d * 4096 + b.d * 256 + c.d * 16 + e.d from digits a, digits b, digits c, digits e"
    )


def converted(database: MysqlDatabase, charset: str, codes: str) -> list[tuple[bytes, str | None]]:
    """(code, the server's text of it); None for what has no character. Codes that the server refuses are left out."""
    count = 256 if codes == SINGLE else NUMBERS
    rows = database.execute(
        f"select group_concat(hex({codes}), ':', hex(convert(convert({codes} using {charset}) using utf8mb4)))"
        f" from numbers where i < {count} group by i div 256"
    )
    pairs = (pair.split(":") for row in rows if row[0] for pair in row[0].split(","))
    told = [(bytes.fromhex(code), bytes.fromhex(shown)) for code, shown in pairs]
    return [(code, text(code, shown)) for code, shown in told if is_telling(database, code, shown)]


def is_telling(database: MysqlDatabase, code: bytes, shown: bytes) -> bool:
    """MariaDB shows ? for what it would not store, too; MySQL only for what has no character."""
    if not shown or REPLACEMENT in shown:
        return False
    return b"?" not in shown or code == b"?" or (b"?" not in code and database.flavor == "mysql")


def text(code: bytes, shown: bytes) -> str | None:
    if b"?" in shown and b"?" not in code:
        return None
    try:
        return shown.decode()
    except UnicodeDecodeError:
        return None


def ours(charset: str, code: bytes) -> str | None:
    try:
        return charsets.text(charset, b"")(code)[1:].decode()
    except Unencodable:
        return None


@pytest.mark.parametrize(
    ("charset", "value"),
    [
        ("ascii", b"caf\xe9"),
        ("cp1250", b"a\x81"),
        ("tis620", b"\xfc"),
        ("ucs2", b"\xd8\x3d\xde\x00"),
        ("utf16", b"\xd8\x3d"),
        ("utf8mb4", b"a\xed\xa0\x80"),
        ("gbk", b"a\x81"),
    ],
)
def test_bytes_that_are_no_text_are_refused_and_told(charset: str, value: bytes) -> None:
    with pytest.raises(Unencodable, match=f"0x{value.hex()} is no text in {charset}"):
        charsets.text(charset, b"")(value)


@pytest.mark.parametrize(
    ("charset", "value", "shown"),
    [
        ("latin1", b"\x80\x81\x9d", "€\x81\x9d"),
        ("eucjpms", b"~\x8f\xa2\xb7\xa1\xc1a", "~～～a"),
        ("ujis", b"\xa1\xc0\xf5\xa1\x8f\xf5\xa1", "\\\ue000\ue3ac"),
        ("sjis", "カ\\表".encode("shift_jis") + b"\x81\x5f", "カ\\表\\"),
        ("big5", b"a\xf9\xd6\xa4\xa4", "a碁中"),
        ("gb18030", b"\xa8\xbc\x81\x35\xf4\x37a", "\u1e3f\ue7c7a"),
        ("swe7", b"@[x", "ÉÄx"),
        ("utf32", "a😀".encode("utf-32-be"), "a😀"),
        ("utf8mb4", "힣😀".encode(), "힣😀"),
    ],
)
def test_text_is_read_by_code_where_python_reads_otherwise(charset: str, value: bytes, shown: str) -> None:
    encoded = shown.encode()
    assert charsets.text(charset, b"\x02")(value) == b"\x02" + bytes([2 * len(encoded)]) + encoded


def test_an_unknown_charset_is_told() -> None:
    with pytest.raises(LookupError, match="klingon"):
        charsets.text("klingon", b"")
