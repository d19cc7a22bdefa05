"""A database's text of numbers and strings as Avro: what Postgres and MySQL write alike.

Every function takes a prefix, the union branch, and gives the function that writes a value behind it.
"""

from decimal import Decimal
from struct import Struct

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import SHORT, long, size_heads, tables

_FLOAT = Struct("<f").pack
_DOUBLE = Struct("<d").pack
_DOT = ord(".")


def integer(prefix: bytes) -> Encode:
    last, more = tables(prefix)
    final = tables(b"")[0]

    def encode(text: bytes) -> bytes:
        n = int(text)
        z = n + n if n >= 0 else -n - n - 1
        if z < 16384:
            return last[z]
        if z < 268435456:
            return more[z & 16383] + final[z >> 14]
        return prefix + long(n)

    return encode


def real(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        return prefix + _FLOAT(float(text))

    return encode


def double(prefix: bytes) -> Encode:
    def encode(text: bytes) -> bytes:
        return prefix + _DOUBLE(float(text))

    return encode


def string(prefix: bytes) -> Encode:
    """Text in UTF-8, or bytes, verbatim."""
    heads = size_heads(prefix)

    def encode(text: bytes) -> bytes:
        size = len(text)
        return (heads[size] if size < SHORT else prefix + long(size)) + text

    return encode


def decimal(scale: int, prefix: bytes) -> Encode:
    """numeric(p,s): the unscaled value as two's complement, big-endian, as short as can be."""
    heads = size_heads(prefix)
    point = ~scale

    def encode(text: bytes) -> bytes:
        try:
            if text[point] == _DOT:
                unscaled = int(text.replace(b".", b""))
            else:
                unscaled = _rescaled(text, scale) if scale else int(text)
        except (ValueError, IndexError):
            unscaled = _rescaled(text, scale)
        size = ((unscaled if unscaled >= 0 else ~unscaled).bit_length() >> 3) + 1
        head = heads[size] if size < SHORT else prefix + long(size)
        if unscaled < 0:
            unscaled += 1 << 8 * size
        return head + unscaled.to_bytes(size)

    return encode


def _rescaled(text: bytes, scale: int) -> int:
    """`text` at `scale` where it was written at another. Raises Unencodable where digits would be lost."""
    refuse_special(text, "decimal")
    whole, _, fraction = text.partition(b".")
    if len(fraction) > scale and fraction[scale:].strip(b"0"):
        raise Unencodable(f"{text.decode()} has more than {scale} digits behind the point")
    return exact_integer(whole + fraction[:scale].ljust(scale, b"0"))


def exact_integer(digits: bytes) -> int:
    # int() refuses more than 4,300 digits; numeric has up to 147,455.
    return int(digits) if len(digits) <= 4300 else int(Decimal(digits.decode()))


def refuse_special(text: bytes, form: str) -> None:
    if text in (b"NaN", b"Infinity", b"-Infinity"):
        raise Unencodable(f"a {form} cannot hold {text.decode()}")


def twos_complement(n: int) -> bytes:
    """As short as can be, big-endian: what Java's BigInteger.toByteArray gives."""
    return n.to_bytes((n if n >= 0 else ~n).bit_length() // 8 + 1, "big", signed=True)
