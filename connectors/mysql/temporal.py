"""Dates and times of the log, and of the server's text, as Avro, in Debezium's adaptive precision.

The functions `log_...` read a column's bytes in a rows event, the others the text of a SELECT in a session of UTC; both
take the prefix, the union branch, last. DATETIME is a wall clock, read as UTC. What is no day (0000-00-00, 2015-00-21)
is never shown as one. Sources: MySQL's mysys/my_time.cc (``my_datetime_packed_from_binary`` and its like), MariaDB's
sql/compat56.cc; for the old forms both servers' sql/field.cc (Field_timestamp, Field_datetime, Field_time).
"""

from functools import lru_cache

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import long, size_heads, sized

MILLIS_DIGITS = 3
FRACTION_BYTES = (0, 1, 1, 2, 2, 3, 3)
"""By digits behind the second: the bytes that hold them in the log."""

_DAY_S = 86_400
_UNITS_PER_SECOND = (1, 100, 100, 10_000, 10_000, 1_000_000, 1_000_000)
_DATETIME_OFFSET = 1 << 17
_TIME_OFFSET = 1 << 23
_MONTH_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MINUTES = [b"T%02d:%02d:" % divmod(minute, 60) for minute in range(24 * 60)]
_SECONDS = [b"%02d" % second for second in range(60)]
_THREE_DIGITS = [b"%03d" % n for n in range(1000)]
_ASCII_ZEROS = (ord("0") * 11) * (3600 + 60 + 1)
_CLOCK_BYTES = len("12:34:56")
_DATE_BYTES = len("2024-02-29")
_ZONED_BYTES = len("2024-02-29T12:34:56Z")
_HYPHEN = ord("-")
_COLON = ord(":")

_number = int.from_bytes


@lru_cache(8192)
def days(packed: int) -> int:
    """Days from 1970-01-01; `packed` is year << 9 | month << 5 | day. Raises Unencodable for what is no day."""
    year, month, day = packed >> 9, packed >> 5 & 15, packed & 31
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _MONTH_DAYS[month] + leap:
        raise Unencodable(f"{year:04}-{month:02}-{day:02} is no day of the calendar")
    # A year that begins in March has its leap day last (Howard Hinnant, "Low-Level Date Algorithms").
    year -= month < 3
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468


@lru_cache(8192)
def _days_of_text(text: bytes) -> int:
    """``2024-02-29``; parts may be zeros."""
    return days(int(text[:4]) << 9 | int(text[5:7]) << 5 | int(text[8:10]))


@lru_cache(8192)
def _date_text(day: int) -> bytes:
    """`day`, counted from 1970-01-01, as ``2024-02-29``: the inverse of `days`."""
    day += 719468
    era, day_of_era = divmod(day, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    year = era * 400 + year_of_era + (month > 9)
    return b"%04d-%02d-%02d" % (year, month + 3 if month < 10 else month - 9, day_of_year - (153 * month + 2) // 5 + 1)


def _micros_of_clock(text: bytes, at: int) -> int:
    """``12:34:56.789`` from `at` on."""
    second = (
        (text[at] * 10 + text[at + 1]) * 3600
        + (text[at + 3] * 10 + text[at + 4]) * 60
        + text[at + 6] * 10
        + text[at + 7]
        - _ASCII_ZEROS
    )
    at += _CLOCK_BYTES + 1
    # Not a slice alone: compiled, one that begins behind the end is an error.
    return second * 1_000_000 + (int(text[at:].ljust(6, b"0")) if len(text) > at else 0)


def log_date(prefix: bytes) -> Encode:
    """DATE to io.debezium.time.Date, days from 1970-01-01: 15 bits of year, 4 of month, 5 of day, little-endian."""

    def encode(value: bytes) -> bytes:
        return prefix + long(days(value[0] | value[1] << 8 | value[2] << 16))

    return encode


def date(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        return prefix + long(_days_of_text(text))

    return encode


def log_datetime(digits: int, prefix: bytes) -> Encode:
    """DATETIME to io.debezium.time.Timestamp up to three digits behind the second, else to MicroTimestamp.

    Big-endian: a sign bit that is always 1; year * 13 + month in 17 bits; 5 for the day, 5, 6 and 6 for the clock.
    """
    bits = 8 * FRACTION_BYTES[digits]
    mask = (1 << bits) - 1
    # Either unit of the result in either unit of the fraction.
    per_second = 1000 if digits <= MILLIS_DIGITS else 1_000_000
    divisor = _UNITS_PER_SECOND[digits] // per_second or 1
    factor = per_second // _UNITS_PER_SECOND[digits] or 1

    def encode(value: bytes) -> bytes:
        n = _number(value)
        clock = n >> bits
        second = _day_start(clock >> 17) + (clock >> 12 & 31) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63)
        return prefix + long(second * per_second + (n & mask) * factor // divisor)

    return encode


@lru_cache(8192)
def _day_start(packed: int) -> int:
    """The second at which the day of a DATETIME's first 23 bits begins."""
    year, month = divmod((packed >> 5) - _DATETIME_OFFSET, 13)
    return days(year << 9 | month << 5 | packed & 31) * _DAY_S


def log_old_datetime(prefix: bytes) -> Encode:
    """DATETIME from before MySQL 5.6 to io.debezium.time.Timestamp: the decimal number 20240229123456."""

    def encode(value: bytes) -> bytes:
        date, clock = divmod(_number(value, "little"), 1_000_000)
        second = clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
        day = days(date // 10_000 << 9 | date // 100 % 100 << 5 | date % 100)
        return prefix + long((day * _DAY_S + second) * 1000)

    return encode


def datetime(digits: int, prefix: bytes) -> Encode:
    is_millis = digits <= MILLIS_DIGITS

    def encode(text: bytes) -> bytes:
        us = _days_of_text(text[:_DATE_BYTES]) * _DAY_S * 1_000_000 + _micros_of_clock(text, _DATE_BYTES + 1)
        return prefix + long(us // 1000 if is_millis else us)

    return encode


def log_timestamp(digits: int, prefix: bytes) -> Encode:
    """TIMESTAMP to io.debezium.time.ZonedTimestamp: seconds from 1970-01-01 in four bytes, big-endian, unsigned.

    The fraction has all the digits that were declared: ``2024-02-29T12:34:56.780Z``. 0 is 0000-00-00 00:00:00.
    """
    head = size_heads(prefix)[_ZONED_BYTES + (digits + 1 if digits else 0)]
    factor = 1_000_000 // _UNITS_PER_SECOND[digits]
    bits = 8 * FRACTION_BYTES[digits]
    mask = (1 << bits) - 1

    def encode(value: bytes) -> bytes:
        n = _number(value)
        if n == 0:
            raise _zero_timestamp()
        if not digits:
            return head + _moment(n) + b"Z"
        thousands, rest = divmod((n & mask) * factor, 1000)
        return head + _moment(n >> bits) + b"." + (_THREE_DIGITS[thousands] + _THREE_DIGITS[rest])[:digits] + b"Z"

    return encode


def log_old_timestamp(prefix: bytes) -> Encode:
    """TIMESTAMP from before MySQL 5.6 to io.debezium.time.ZonedTimestamp."""

    def encode(value: bytes) -> bytes:
        second = _number(value, "little")
        if second == 0:
            raise _zero_timestamp()
        return prefix + sized(_moment(second) + b"Z")

    return encode


def timestamp(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        if text[:4] == b"0000":
            raise _zero_timestamp()
        return prefix + sized(text.replace(b" ", b"T") + b"Z")

    return encode


def _zero_timestamp() -> Unencodable:
    return Unencodable("0000-00-00 00:00:00 is no moment")


def _moment(second: int) -> bytes:
    """``2024-02-29T12:34:56``."""
    minute = second // 60
    day = minute // 1440
    return _date_text(day) + _MINUTES[minute - day * 1440] + _SECONDS[second - minute * 60]


def log_time(digits: int, prefix: bytes) -> Encode:
    """TIME to io.debezium.time.MicroTime, below zero too.

    Big-endian, an offset that makes it positive; 10 bits of hours, 6 and 6 of minutes and seconds, then the fraction.
    """
    factor = 1_000_000 // _UNITS_PER_SECOND[digits]
    bits = 8 * FRACTION_BYTES[digits]
    offset = _TIME_OFFSET << bits
    mask = (1 << bits) - 1

    def encode(value: bytes) -> bytes:
        n = _number(value) - offset
        size = n if n >= 0 else -n
        clock = size >> bits
        us = ((clock >> 12) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63)) * 1_000_000 + (size & mask) * factor
        return prefix + long(us if n >= 0 else -us)

    return encode


def log_old_time(prefix: bytes) -> Encode:
    """TIME from before MySQL 5.6 to io.debezium.time.MicroTime: the decimal number 123456, below zero too."""

    def encode(value: bytes) -> bytes:
        n = _number(value, "little")
        if n >= 1 << 23:
            n -= 1 << 24
        size = abs(n)
        second = size // 10_000 * 3600 + size // 100 % 100 * 60 + size % 100
        return prefix + long((second if n >= 0 else -second) * 1_000_000)

    return encode


def time(prefix: bytes) -> Encode:
    """``-838:59:59.999999``."""

    def encode(text: bytes) -> bytes:
        if text[2] == _COLON and text[0] != _HYPHEN:
            return prefix + long(_micros_of_clock(text, 0))
        negative = text[0] == _HYPHEN
        hours, _, rest = (text[1:] if negative else text).partition(b":")
        us = int(hours) * 3_600_000_000 + _micros_of_clock(b"00:" + rest, 0)
        return prefix + long(-us if negative else us)

    return encode
