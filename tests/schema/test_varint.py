"""Numbers as Avro writes them, against fastavro."""

import io
import random

import fastavro
import pytest

from schema.varint import long, sized, tables


def edges() -> list[int]:
    powers = [sign * (1 << bits) + step for bits in range(64) for sign in (1, -1) for step in (-1, 0, 1)]
    return sorted({n for n in powers if -(1 << 63) <= n < 1 << 63})


def read(data: bytes, schema: str) -> object:
    stream = io.BytesIO(data)
    value = fastavro.schemaless_reader(stream, schema, None)
    assert not stream.read()
    return value


def test_every_number_of_64_bits_reads_back_at_every_power_of_two() -> None:
    for n in edges():
        assert read(long(n), "long") == n
        written = io.BytesIO()
        fastavro.schemaless_writer(written, "long", n)
        assert long(n) == written.getvalue()


def test_numbers_drawn_at_random_read_back() -> None:
    draw = random.Random(7)
    for _ in range(20_000):
        n = draw.getrandbits(draw.randrange(1, 64)) * draw.choice((1, -1))
        assert read(long(n), "long") == n


@pytest.mark.parametrize("n", [1 << 63, -(1 << 63) - 1])
def test_a_number_of_more_than_64_bits_is_refused(n: int) -> None:
    with pytest.raises(OverflowError, match="more than 64 bits"):
        long(n)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8191, 8192, 1_000_000])
def test_bytes_of_every_length_read_back(size: int) -> None:
    assert read(sized(b"x" * size), "bytes") == b"x" * size


def test_tables_are_the_same_numbers_behind_a_prefix() -> None:
    last, more = tables(b"\x02")
    for z in (0, 1, 127, 128, 16383):
        assert last[z] == b"\x02" + long(z >> 1 if z % 2 == 0 else -(z >> 1) - 1)
    assert more[5] + tables(b"")[0][3] == b"\x02" + long(-((5 | 3 << 14) >> 1) - 1)
