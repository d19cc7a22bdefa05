"""Text of every charset that the servers have, as Avro: what the server's own CONVERT(c USING utf8mb4) gives.

A code to which the charset gives no character, for which the server would show ``?``, is refused. Python's codecs are
right for most charsets; what they read otherwise than the servers is listed here. Source: the servers' own CONVERT of
every code (tests/connectors/mysql/test_charsets.py); MySQL's strings/ctype-extra.cc and its ctype files.
"""

from codecs import charmap_decode
from collections.abc import Callable
from functools import cache
from typing import Final

from schema.change import Encode
from schema.errors import Unencodable
from schema.varint import SHORT, long, size_heads

Decode = Callable[[bytes], str]
_SURROGATE = 0xED
"""The first byte of every surrogate in UTF-8, and of Hangul."""

UTF8: Final = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_NOT_ASCII: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32", "swe7"})
"""Those whose first 128 codes are not ASCII's."""

_CODECS: Final = {
    "ascii": "ascii",
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "dec8": "latin-1",
    "armscii8": "latin-1",
    "eucjpms": "euc_jp",
    "euckr": "euc_kr",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "geostd8": "cp1252",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "hp8": "hp-roman8",
    "keybcs2": "cp437",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac-latin2",
    "macroman": "mac-roman",
    "sjis": "shift_jis",
    "swe7": "ascii",
    "tis620": "tis-620",
    "ucs2": "utf-16-be",
    "ujis": "euc_jp",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}
_HOLE: Final = "\ufffe"
"""charmap_decode's sign for a code without a character."""

_SINGLE_BYTES: Final[dict[str, dict[int, str]]] = {
    **{name: {} for name in ("ascii", "cp1250", "cp1251", "cp1257", "cp850", "cp852", "hp8", "koi8r", "latin2")},
    **{name: {} for name in ("latin5", "latin7", "macce", "macroman", "tis620")},
    "armscii8": {
        0xA1: "❁§։)(»«—.՝,-՟…՜՛՞",
        0xB2: "ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'",
    },
    "cp1256": dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), _HOLE),
    "cp866": {0xFC: "ⁿ²"},
    "dec8": {
        **dict.fromkeys((0xA4, 0xA6, 0xAC, 0xAD, 0xAE, 0xAF, 0xB4, 0xB8, 0xBE, 0xD0, 0xDE, 0xF0, 0xFE, 0xFF), _HOLE),
        0xA8: "¤",
        0xD7: "Œ",
        0xDD: "Ÿ",
        0xF7: "œ",
        0xFD: "ÿ",
    },
    "geostd8": {
        **dict.fromkeys((0x83, 0x88, 0x8A, 0x8C, 0x8E, 0x98, 0x99, 0x9A, 0x9C, 0x9E, 0x9F), _HOLE),
        0xC0: "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ" + _HOLE * 23 + "№" + _HOLE * 2,
    },
    "greek": {0xA1: "\u02bd\u02bc", 0xA4: _HOLE * 2, 0xAA: _HOLE},
    "hebrew": {0xAF: "‾"},
    "keybcs2": {0x80: "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘť", 0xA4: "ňŇŮÔšřŕŔ"},
    "koi8u": {0x95: "•"},
    "latin1": {0x81: "\x81", 0x8D: "\x8d", 0x8F: "\x8f\x90", 0x9D: "\x9d"},
    "swe7": {0x40: "É", 0x5B: "ÄÖÅÜ", 0x60: "é", 0x7B: "äöåü" + _HOLE},
}
"""By first code: the characters that differ from those of the codec."""


def text(charset: str, prefix: bytes) -> Encode:
    """Bytes of `charset` to an Avro string. Raises LookupError for a charset that no server has."""
    if charset in UTF8:
        return _utf8_text(prefix)
    heads = size_heads(prefix)
    decode = decoder(charset)
    ascii_is_itself = charset not in _NOT_ASCII

    def encode(value: bytes) -> bytes:
        shown = value if ascii_is_itself and value.isascii() else _utf8(value, decode, charset)
        size = len(shown)
        return (heads[size] if size < SHORT else prefix + long(size)) + shown

    return encode


def _utf8_text(prefix: bytes) -> Encode:
    heads = size_heads(prefix)

    def encode(value: bytes) -> bytes:
        if _SURROGATE in value:
            # MariaDB stores lone surrogates, which are no UTF-8.
            _utf8(value, bytes.decode, "utf8mb4")
        size = len(value)
        return (heads[size] if size < SHORT else prefix + long(size)) + value

    return encode


def _utf8(value: bytes, decode: Decode, charset: str) -> bytes:
    try:
        return decode(value).encode()
    except UnicodeError:
        raise Unencodable(f"0x{value[:60].hex()} is no text in {charset}") from None


@cache
def decoder(charset: str) -> Decode:
    """Bytes of `charset` to text; what it gives raises UnicodeError. Raises LookupError for an unknown charset."""
    if charset in UTF8:
        return bytes.decode
    codec = _CODECS[charset]
    others = _SINGLE_BYTES.get(charset)
    if others is None:
        return lambda value: value.decode(codec)
    table = list(bytes(range(256)).decode(codec, "replace").replace("\ufffd", _HOLE))
    for first, characters in others.items():
        table[first : first + len(characters)] = characters
    characters_by_code = "".join(table)
    return lambda value: charmap_decode(value, "strict", characters_by_code)[0]
