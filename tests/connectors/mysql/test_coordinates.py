"""Coordinates and their tokens."""

import pytest

from connectors.mysql.coordinates import Coordinates, order, parse

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    "coordinates",
    [
        Coordinates("binlog.000003", 1547),
        Coordinates("binlog.000003", 1547, f"{UUID}:1-5:shop:7"),
        Coordinates("mysql-bin.log.1000000", 1 << 34, "0-1-5,1-2-7"),
    ],
)
def test_a_token_is_read_as_it_was_written(coordinates: Coordinates) -> None:
    assert parse(str(coordinates)) == coordinates


def test_a_token_is_one_word() -> None:
    assert str(Coordinates("binlog.000003", 1547, f"{UUID}:1-5")) == f"binlog.000003:1547/{UUID}:1-5"
    assert parse(f"binlog.000003:1547/{UUID}:1-5,\n{UUID}:7").gtids == f"{UUID}:1-5,{UUID}:7"


@pytest.mark.parametrize("token", ["", "binlog.000003", "binlog:4", "binlog.000003:x", "0/16B3748", f"{UUID}:1-5"])
def test_what_is_no_position_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="is no position in a binlog"):
        parse(token)


def test_order_grows_along_the_log_beyond_4_gb_and_beyond_six_digits() -> None:
    along = [
        Coordinates("binlog.000009", 4),
        Coordinates("binlog.000009", 1 << 33),
        Coordinates("binlog.000010", 4),
        Coordinates("binlog.999999", 5),
        Coordinates("binlog.1000000", 4),
    ]
    assert sorted(along, key=order) == along
    assert order(along[-1]) < 1 << 63
