"""Dates and times on real servers, old forms by hand: the log, the SELECT, and what no event may show."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from connectors.mysql import temporal, types
from connectors.mysql.shape import ColumnShape
from schema.change import Encode
from schema.errors import Unencodable
from tests.connectors.mysql.rawlog import RawLog
from tests.connectors.mysql.test_types import check, insert, select, table
from tests.mysql_servers import MysqlDatabase

EPOCH = datetime(1970, 1, 1)

DATES = ["9999-12-31", "1582-10-10", "1970-01-01", "1969-12-31", "2000-02-29", "2024-02-29", "1000-01-01", "0001-01-01"]
CLOCKS = ["00:00:00", "23:59:59.999999", "12:34:56.1", "12:34:56.000001", "12:34:56.789"]
DATETIMES = [f"{day} {clock}" for day, clock in zip(DATES, [*CLOCKS, *CLOCKS], strict=False)]
MOMENTS = ["1970-01-01 00:00:01", "2015-02-28 12:34:56.1", "2015-03-29 01:30:00.120", "2038-01-19 03:14:06.999999"]
TIMES = [
    *("-838:59:59", "-838:59:58.999999", "838:59:59", "517:51:04.777", "-00:00:01", "-00:00:01.5", "-00:00:00.000001"),
    *("00:00:00", "00:00:00.1", "-00:00:00.99", "99:00:00", "-100:00:00.5"),
]


def quoted(texts: list[str]) -> list[str]:
    return [f"'{text}'" for text in texts]


def stored(database: MysqlDatabase, column: int) -> list[str]:
    """The values as the server itself shows them."""
    rows = database.execute(f"select cast(c{column} as char) from t where c{column} is not null order by id")
    return [row[0] for row in rows]


@pytest.mark.mysql
def test_dates_are_days_and_datetimes_are_a_clock_read_as_utc(mysql: MysqlDatabase) -> None:
    declared = {"date": quoted(DATES)} | {f"datetime({digits})": quoted(DATETIMES) for digits in range(7)}
    seen = iter(check(mysql, declared))
    assert [next(seen)[1] for _ in DATES] == [(date.fromisoformat(day) - EPOCH.date()).days for day in DATES]
    for digits in range(7):
        unit = timedelta(milliseconds=1) if digits <= 3 else timedelta(microseconds=1)
        texts = stored(mysql, digits + 1)
        assert [(datetime.fromisoformat(text) - EPOCH) // unit for text in texts] == [next(seen)[1] for _ in DATETIMES]


@pytest.mark.mysql
def test_timestamps_are_utc_with_all_the_digits_of_their_declaration(mysql: MysqlDatabase) -> None:
    seen = iter(check(mysql, {f"timestamp({digits}) null": quoted(MOMENTS) for digits in range(7)}))
    for digits in range(7):
        assert [f"{text.replace(' ', 'T')}Z" for text in stored(mysql, digits)] == [next(seen)[1] for _ in MOMENTS]


@pytest.mark.mysql
def test_a_timestamp_does_not_depend_on_the_writers_time_zone(mysql: MysqlDatabase) -> None:
    declared = ["timestamp null", "datetime"]
    shapes = table(mysql, declared)
    log = RawLog(mysql)
    mysql.execute("set session time_zone = '+02:00'")
    insert(mysql, [["'2015-03-29 02:30:00'"], ["'2015-03-29 02:30:00'"]])
    mysql.execute("set session time_zone = '+00:00'")
    [row] = log.inserted([types.width(shape) for shape in shapes])
    [selected] = select(mysql, shapes)
    for value, encoder in ((row[1], types.log_type), (selected[1], types.text_type)):
        assert isinstance(value, bytes)
        assert encoder(shapes[1]).encoder(b"")(value) == b"\x282015-03-29T00:30:00Z"


@pytest.mark.mysql
def test_times_are_microseconds_of_up_to_838_hours_both_ways(mysql: MysqlDatabase) -> None:
    seen = iter(check(mysql, {f"time({digits})": quoted(TIMES) for digits in range(7)}))
    for digits in range(7):
        for text in stored(mysql, digits):
            hours, minutes, seconds = text.lstrip("-").split(":")
            whole, _, fraction = seconds.partition(".")
            us = (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0"))
            assert next(seen)[1] == (-us if text.startswith("-") else us)


NO_DAYS = {
    "date": ["0000-00-00", "2015-00-21", "2015-02-00", "2015-02-31", "1900-02-29"],
    "datetime": ["0000-00-00 00:00:00", "2015-00-21 12:34:56", "2015-02-31 00:00:00"],
    "datetime(6)": ["0000-00-00 00:00:00.000000", "2015-01-00 12:34:56.789000"],
    "timestamp null": ["0000-00-00 00:00:00"],
    "timestamp(6) null": ["0000-00-00 00:00:00.000000"],
}


@pytest.mark.mysql
def test_what_is_no_day_is_refused_and_told_never_shown_as_another(mysql: MysqlDatabase) -> None:
    shapes = table(mysql, list(NO_DAYS))
    log = RawLog(mysql)
    insert(mysql, [quoted(texts) for texts in NO_DAYS.values()])
    logged = log.inserted([types.width(shape) for shape in shapes])
    selected = select(mysql, shapes)
    for i, texts in enumerate(NO_DAYS.values(), 1):
        for row, text in enumerate(texts):
            assert selected[row][i] == text.encode()
            for value, made in ((logged[row][i], types.log_type), (selected[row][i], types.text_type)):
                assert isinstance(value, bytes)
                with pytest.raises(Unencodable, match=text.split()[0]):
                    made(shapes[i]).encoder(b"")(value)


@pytest.mark.parametrize(
    ("encoder", "value", "modern", "text"),
    [
        (temporal.log_old_datetime, 20240229123456, temporal.datetime, b"2024-02-29 12:34:56"),
        (temporal.log_old_datetime, 10000101000000, temporal.datetime, b"1000-01-01 00:00:00"),
        (temporal.log_old_timestamp, 1709210096, temporal.timestamp, b"2024-02-29 12:34:56"),
        (temporal.log_old_time, 8385959, temporal.time, b"838:59:59"),
        (temporal.log_old_time, (1 << 24) - 123456, temporal.time, b"-12:34:56"),
    ],
)
def test_columns_from_before_mysql_56_are_read_in_their_own_form(
    encoder: Any, value: int, modern: Any, text: bytes
) -> None:
    size = {temporal.log_old_datetime: 8, temporal.log_old_timestamp: 4, temporal.log_old_time: 3}[encoder]
    write: Encode = modern(0, b"") if modern is temporal.datetime else modern(b"")
    assert encoder(b"")(value.to_bytes(size, "little")) == write(text)


@pytest.mark.parametrize("encoder", [temporal.log_old_datetime, temporal.log_old_timestamp])
def test_a_zero_date_from_before_mysql_56_is_refused(encoder: Any) -> None:
    with pytest.raises(Unencodable, match="0000-00-00"):
        encoder(b"")(bytes(8 if encoder is temporal.log_old_datetime else 4))


def test_a_fraction_stored_by_mariadb_53_is_refused_by_name() -> None:
    shape = ColumnShape("at", 12, declared="datetime(3) /* mariadb-5.3 */")
    with pytest.raises(Exception, match=r"at is stored in the format of MariaDB 5\.3"):
        types.width(shape)
    with pytest.raises(Exception, match=r"at is stored in the format of MariaDB 5\.3"):
        types.log_type(shape)


def test_every_day_of_the_calendar_is_counted_as_datetime_does() -> None:
    for ordinal in range(1, date.max.toordinal(), 37):
        day, count = date.fromordinal(ordinal), ordinal - EPOCH.toordinal()
        assert temporal.days(day.year << 9 | day.month << 5 | day.day) == count
        assert temporal._date_text(count).decode() == day.isoformat()
