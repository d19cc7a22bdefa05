"""Rows events: bytes in, values or Avro out.

A value is the column's bytes without their length prefix. Source: MySQL, libs/mysql/binlog/event/rows_event.h
(Rows_event), sql-common/my_time.h and sql/log_event.cc (Rows_log_event::print_verbose_one_row).
"""

from typing import NamedTuple

from schema.change import UNCHANGED, Encode, Value

HEADER_BYTES = 19
WRITE_V1, UPDATE_V1, DELETE_V1 = 23, 24, 25
WRITE, UPDATE, DELETE, PARTIAL_UPDATE = 30, 31, 32, 39
_TABLE_ID_BYTES = 6
BODY_AT = HEADER_BYTES + _TABLE_ID_BYTES + 2
"""Behind the table id and the flags."""

Cell = tuple[int, Encode, bytes | None]
"""A column's width (below 0: that many bytes of length stand before it), its writer, and what stands for NULL."""

Image = list[Value]


class MalformedEvent(Exception):
    """Bytes that no server writes."""


class RowsHead(NamedTuple):
    """What stands before the rows.

    `before` and `after` have a bit for each column that an image holds, None where it holds all; an insert has only
    `after`, a delete only `before`. `rows_at` is where the first row begins.
    """

    columns: int
    before: int | None
    after: int | None
    rows_at: int


def table_id(event: bytes) -> int:
    return event[19] | event[20] << 8 | event[21] << 16 | event[22] << 24 | event[23] << 32 | event[24] << 40


def head(event: bytes) -> RowsHead:
    kind = event[4]
    at = BODY_AT
    if kind >= WRITE:
        at += int.from_bytes(event[at : at + 2], "little")  # the extra data's length counts its own two bytes
    columns = event[at]
    at += 1
    if columns >= 0xFB:
        if columns != 0xFC:
            raise MalformedEvent("a table of more than 65,535 columns")
        columns = int.from_bytes(event[at : at + 2], "little")
        at += 2
    size = (columns + 7) >> 3
    everything = (1 << columns) - 1
    first = int.from_bytes(event[at : at + size], "little") & everything
    at += size
    second = first
    if kind in (UPDATE, UPDATE_V1, PARTIAL_UPDATE):
        second = int.from_bytes(event[at : at + size], "little") & everything
        at += size
    return RowsHead(
        columns,
        None if first == everything else first,
        None if second == everything else second,
        at,
    )


def written(event: bytes, at: int, cells: list[Cell], *, paired: bool) -> list[list[bytes]]:
    """Every row from `at` to the end, each with all its columns, as Avro. Raises what the writers raise.

    `paired`: each second one is what the one before became; what did not change is written once.
    """
    end = len(event)
    nulls_size = (len(cells) + 7) >> 3
    rows: list[list[bytes]] = []
    old: list[bytes] = []
    old_values: list[bytes | None] = []
    is_new = False
    while at < end:
        nulls = int.from_bytes(event[at : at + nulls_size], "little")
        at += nulls_size
        row: list[bytes] = []
        for i, (width, write, null) in enumerate(cells):
            if nulls & 1:
                if null is None:
                    raise LookupError("nothing stands for NULL")
                row.append(null)
                if paired and not is_new:
                    old_values.append(None)
            else:
                size = width
                if width <= 0:
                    size = event[at]
                    if width < -1:
                        size |= event[at + 1] << 8
                        if width < -2:
                            size |= event[at + 2] << 16
                            if width < -3:
                                size |= event[at + 3] << 24
                    at -= width
                value = event[at : at + size]
                at += size
                if not paired:
                    row.append(write(value))
                elif not is_new:
                    row.append(write(value))
                    old_values.append(value)
                else:
                    row.append(old[i] if value == old_values[i] else write(value))
            nulls >>= 1
        rows.append(row)
        if paired:
            is_new = not is_new
            old = row
            if not is_new:
                old_values = []
    if at != end:
        raise MalformedEvent("the last row ends behind its event")
    return rows


def image(event: bytes, at: int, widths: list[int], present: int | None) -> tuple[Image, int]:
    """(the values of the row image at `at`, where it ends). Columns outside `present` are UNCHANGED."""
    held = len(widths) if present is None else present.bit_count()
    nulls_size = (held + 7) >> 3
    nulls = int.from_bytes(event[at : at + nulls_size], "little")
    at += nulls_size
    values: Image = []
    for i, width in enumerate(widths):
        if present is not None and not present >> i & 1:
            values.append(UNCHANGED)
            continue
        if nulls & 1:
            values.append(None)
        else:
            size = width
            if width < 0:
                size = int.from_bytes(event[at : at - width], "little")
                at -= width
            if at + size > len(event):
                raise MalformedEvent("a row ends behind its event")
            values.append(event[at : at + size])
            at += size
        nulls >>= 1
    return values, at
