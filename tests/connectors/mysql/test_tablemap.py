"""TABLE_MAP events as servers wrote them; the column types of every server are checked in test_catalog.py."""

import pytest

from connectors.mysql.rows import MalformedEvent
from connectors.mysql.tablemap import ENUM, GEOMETRY, SET, table_map

# create table g (e enum('a','ä') character set latin1, s set('x','ÿ') not null, g point, d decimal(10,2) unsigned,
#   c char(200) character set utf8mb4, y year, b bit(9), t text character set latin1, ..., primary key (c(10), d))
MYSQL = bytes.fromhex(  # v vector(3), h int invisible
    "0178000167000afefefff6fe0d10fcf2030df701f801040a02ce2001010204e5030101c00305fcff00083f0701010d0103041401650173016701"
    "640163017901620174017601680b0408fcff00050602017802c3bf060502016101e40904040a03000c02ff80"
)
MARIADB = bytes.fromhex(  # z text compressed, u uuid
    "0178000167000afefefff6fe0d10fc8cfe0ff701f801040a02ce2001010202fe10e5030101c003093ffc000908fc00093f070101041401650173"
    "016701640163017901620174017a01750b0408fc0009050602017802c3bf060502016101e40904040a0300"
)


def event(body: bytes) -> bytes:
    """`body` behind a log event's header, the table's id 7 and no flags."""
    return bytes(19) + b"\x07\0\0\0\0\0\0\0" + body


@pytest.mark.parametrize(("body", "is_mariadb"), [(MYSQL, False), (MARIADB, True)])
def test_a_table_map_with_full_metadata_tells_all_of_a_table(body: bytes, is_mariadb: bool) -> None:
    shown = table_map(event(body), is_mariadb)
    assert (shown.table_id, shown.database, shown.name) == (7, "x", "g")
    assert shown.kinds[:8] == (ENUM, SET, GEOMETRY, 246, 254, 13, 16, 252)
    assert shown.metas[:8] == (0x01F7, 0x01F8, 4, 0x020A, 0x20CE, 0, 0x0101, 2)
    assert shown.optional == (True, False, True, False, False, True, True, True, True, True)
    assert shown.metadata is not None
    assert shown.metadata.unsigned == (False, False, False, True, False, True, False, False, False, False)
    assert shown.metadata.geometries == (0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    assert shown.metadata.labels[:3] == ((b"a", b"\xe4"), (b"x", "ÿ".encode()), ())
    assert (shown.metadata.key, shown.metadata.prefixes) == ((4, 3), (10, 0))


def test_mysql_tells_dimensions_and_which_columns_are_invisible() -> None:
    metadata = table_map(event(MYSQL), False).metadata
    assert metadata is not None
    assert metadata.names == ("e", "s", "g", "d", "c", "y", "b", "t", "v", "h")
    assert metadata.collations == (8, 255, 0, 0, 255, 0, 0, 8, 63, 0)
    assert metadata.dimensions == (0, 0, 0, 0, 0, 0, 0, 0, 3, 0)
    assert metadata.visible == (True,) * 9 + (False,)


def test_mariadb_counts_geometries_and_compressed_columns_as_text() -> None:
    metadata = table_map(event(MARIADB), True).metadata
    assert metadata is not None
    assert metadata.collations == (8, 2304, 63, 0, 2304, 0, 0, 8, 2304, 63)
    assert metadata.visible == ()


def test_minimal_metadata_has_no_names_and_none_at_all_is_told_from_it() -> None:
    # One INT and one VARCHAR(5); the signedness and the default collation alone.
    head = b"\x01x\0\x01t\0\x02\x03\x0f\x02\x05\0\x01"
    minimal = table_map(event(head + b"\x01\x01\x80\x02\x01\x08"), False).metadata
    assert minimal is not None
    assert (minimal.unsigned, minimal.collations, minimal.names) == ((True, False), (0, 8), ())
    assert table_map(event(head), False).metadata is None


def test_a_table_of_more_than_255_columns_is_read() -> None:
    kinds = bytes([3]) * 300
    nulls = bytes(37) + b"\x08"
    shown = table_map(event(b"\x01x\0\x01t\0\xfc\x2c\x01" + kinds + b"\0" + nulls), False)
    assert len(shown.kinds) == 300
    assert [i for i, optional in enumerate(shown.optional) if optional] == [299]


def test_a_table_map_that_is_cut_never_passes_for_a_whole_one() -> None:
    whole = table_map(event(MYSQL), False)
    for size in range(len(MYSQL)):
        try:
            shown = table_map(event(MYSQL[:size]), False)
        except MalformedEvent:
            continue
        assert shown.metadata != whole.metadata, f"cut to {size} bytes"


def test_a_column_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="unknown column type 200"):
        table_map(event(b"\x01x\0\x01t\0\x01\xc8\0\0"), False)
