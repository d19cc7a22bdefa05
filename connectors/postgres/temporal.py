"""Postgres' text of dates and times as Avro, in Debezium's adaptive precision.

Text is ISO, in UTC (SESSION_SETTINGS): ``0044-03-15 10:11:12.131415+00 BC``, ``infinity``. Dates are proleptic
Gregorian on both sides.
"""

import re
from functools import lru_cache

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import long, size_heads, sized

DAY_US = 86_400_000_000
MONTH_US = 2_629_800_000_000
"""Debezium's average month: 365.25 / 12 days."""

_HYPHEN = ord("-")
_ASCII_ZEROS = (ord("0") * 11) * (3600 + 60 + 1)
_ENDS = {22: b".000000Z", **{size: b"0" * (29 - size) + b"Z" for size in range(24, 30)}}
"""By the length of ``2024-02-29 12:34:56.789+00``: what makes its fraction six digits."""
_MICRO_INFINITY = {b"infinity": 9_223_372_036_825_200_000, b"-infinity": -9_223_372_036_832_400_000}
_MILLI_INFINITY = {text: us // 1000 for text, us in _MICRO_INFINITY.items()}
_ZONED_TIME = re.compile(rb"(\d\d:\d\d:\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?")
_INTERVAL_PART = re.compile(rb"([+-]?\d+) (year|mon|day)s?(?: |$)|([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?$")
_PART_US = {b"year": 12 * MONTH_US, b"mon": MONTH_US, b"day": DAY_US}


@lru_cache(8192)
def days(text: bytes) -> int:
    """Days from 1970-01-01 to ``2024-02-29``; a year before 1 has `` BC`` behind."""
    digits = text.removesuffix(b" BC")
    year, month, day = map(int, digits.split(b"-"))
    if digits is not text:
        year = 1 - year
    # A year that begins in March has its leap day last (Howard Hinnant, "Low-Level Date Algorithms").
    year -= month < 3
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def micros_of_day(text: bytes) -> int:
    """``12:34:56.789`` in microseconds, up to ``24:00:00``."""
    seconds = (text[0] * 10 + text[1]) * 3600 + (text[3] * 10 + text[4]) * 60 + text[6] * 10 + text[7] - _ASCII_ZEROS
    # Not a slice alone: compiled, one that begins behind the end is an error.
    return seconds * 1_000_000 + (int(text[9:].ljust(6, b"0")) if len(text) > 9 else 0)


def micros(text: bytes) -> int:
    """Microseconds from 1970-01-01 00:00:00 to ``2024-02-29 12:34:56.789``, `` BC`` behind it included."""
    day, _, clock = text.partition(b" ")
    if clock.endswith(b" BC"):
        return days(day + b" BC") * DAY_US + micros_of_day(clock[:-3])
    return days(day) * DAY_US + micros_of_day(clock)


def date(prefix: bytes) -> Encode:
    """io.debezium.time.Date: days from 1970-01-01."""

    def encode(text: bytes) -> bytes:
        if text in _MICRO_INFINITY:
            raise Unencodable(f"a date in days cannot hold {text.decode()}")
        return prefix + long(days(text))

    return encode


def time_millis(prefix: bytes) -> Encode:
    """io.debezium.time.Time: time(0) to time(3)."""

    def encode(text: bytes) -> bytes:
        return prefix + long(micros_of_day(text) // 1000)

    return encode


def time_micros(prefix: bytes) -> Encode:
    """io.debezium.time.MicroTime."""

    def encode(text: bytes) -> bytes:
        return prefix + long(micros_of_day(text))

    return encode


def timestamp_millis(prefix: bytes) -> Encode:
    """io.debezium.time.Timestamp: timestamp(0) to timestamp(3), the wall clock read as UTC."""

    def encode(text: bytes) -> bytes:
        infinity = _MILLI_INFINITY.get(text)
        return prefix + long(micros(text) // 1000 if infinity is None else infinity)

    return encode


def timestamp_micros(prefix: bytes) -> Encode:
    """io.debezium.time.MicroTimestamp."""

    def encode(text: bytes) -> bytes:
        n = _MICRO_INFINITY.get(text)
        if n is None:
            n = micros(text)
            _refuse_wide(n, text)
        return prefix + long(n)

    return encode


def _refuse_wide(n: int, text: bytes) -> None:
    if not -(1 << 63) <= n < 1 << 63:
        raise Unencodable(f"{text.decode()} in microseconds has more than 64 bits")


def zoned_timestamp(digits: int, prefix: bytes) -> Encode:
    """io.debezium.time.ZonedTimestamp, with `digits` behind the second: ``2024-02-29T12:34:56.789000Z``."""
    whole = size_heads(prefix)[27]

    def encode(text: bytes) -> bytes:
        # A year of four digits, UTC, and microseconds: nearly every value.
        if digits == 6 and text[4] == _HYPHEN and text[-3:] == b"+00":
            return whole + text[:-3].replace(b" ", b"T") + _ENDS[len(text)]
        return prefix + sized(_zoned_timestamp(text, digits))

    return encode


def _zoned_timestamp(text: bytes, digits: int) -> bytes:
    if text in _MICRO_INFINITY:
        return text
    moment = text.removesuffix(b" BC")
    day, _, clock = moment.partition(b" ")
    if not clock.endswith(b"+00"):
        raise ValueError("not a timestamp in UTC")
    year, month_day = day[:-6], day[-6:]
    if moment is not text:
        n = 1 - int(year)
        year = b"-%04d" % -n if n else b"0000"
    elif len(year) > 4:
        year = b"+" + year
    second, _, fraction = clock[:-3].partition(b".")
    tail = b"." + fraction.ljust(digits, b"0") if digits else b""
    return b"%b%bT%b%bZ" % (year, month_day, second, tail)


def zoned_time(prefix: bytes) -> Encode:
    """io.debezium.time.ZonedTime: timetz in UTC, ``11:51:30.123789Z``. 24:00:00+00 stays 24:00:00Z."""

    def encode(text: bytes) -> bytes:
        parts = _ZONED_TIME.fullmatch(text)
        if parts is None:
            raise ValueError("not a time with a zone")
        clock, fraction, sign, hours, minutes, seconds = parts.groups(b"")
        east = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
        utc = micros_of_day(clock) // 1_000_000 - (east if sign == b"+" else -east)
        if utc != 86_400 or east:
            utc %= 86_400
        hour, rest = divmod(utc, 3600)
        return prefix + sized(b"%02d:%02d:%02d%bZ" % (hour, *divmod(rest, 60), fraction))

    return encode


def interval(prefix: bytes) -> Encode:
    """io.debezium.time.MicroDuration: ``1 year 2 mons -3 days +04:05:06.789`` in microseconds of average months."""

    def encode(text: bytes) -> bytes:
        if text in _MICRO_INFINITY:
            raise Unencodable(f"a duration in microseconds cannot hold {text.decode()}")
        n = at = 0
        while at < len(text):
            part = _INTERVAL_PART.match(text, at)
            if part is None:
                raise ValueError(f"not an interval at character {at}")
            count, unit, sign, *clock, fraction = part.groups(b"")
            if unit:
                n += int(count) * _PART_US[unit]
            else:
                hours, minutes, seconds = map(int, clock)
                us = (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + int(fraction.ljust(6, b"0"))
                n += -us if sign == b"-" else us
            at = part.end()
        _refuse_wide(n, text)
        return prefix + long(n)

    return encode
