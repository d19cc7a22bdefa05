"""Text of every charset that the servers have, as Avro: what the server's own CONVERT(c USING utf8mb4) gives.

Python's codecs are right for most charsets; what they read otherwise than the servers is listed here. A code to which
the charset gives no character, for which the server would show ``?``, is refused; seven codes of big5, for which it
shows U+FFFD, are what Python reads. Sources: the servers' CONVERT of every code
(tests/connectors/mysql/test_charsets.py); MySQL's strings/ctype-extra.cc and the ctype file of each charset.
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
    "euckr": "cp949",
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
    "swe7": "ascii",
    "tis620": "tis-620",
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


_OTHER_CODES: Final = {
    "big5": ("big5", {b"\xf9\xd6": "碁銹裏墻恒粧嫺"}),
    "eucjpms": (
        "euc_jp",
        {
            b"\xa1\xc1": "～∥",
            b"\xa1\xdd": "－",
            b"\xa1\xf1": "￠￡",
            b"\xa2\xcc": "￢",
            b"\xad\xa1": "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ",
            b"\xad\xc0": "㍉㌔㌢㍍㌘㌧㌃㌶㍑㍗㌍㌦㌣㌫㍊㌻㎜㎝㎞㎎㎏㏄㎡",
            b"\xad\xdf": "㍻〝〟№㏍℡㊤㊥㊦㊧㊨㈱㈲㈹㍾㍽㍼≒≡∫∮∑√⊥∠∟⊿∵∩∪",
            b"\x8f\xa2\xb7": "～",
            b"\x8f\xa2\xc3": "￤",
            b"\x8f\xf3\xf3": "ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅠⅡ",
            b"\x8f\xf4\xa1": (
                "ⅢⅣⅤⅥⅦⅧⅨⅩ＇＂㈱№℡炻仼僴凬匇匤\ufa0e咊坙\ufa0f\ufa10增寬峵嵓\ufa11德悅愠敎昻"
                "晥\ufa12\uf929栁\ufa13\ufa14橫櫢淸淲瀨\ufa15\ufa16甁皂皞\ufa17礰\ufa18\ufa19\ufa1a\ufa1b竧\ufa1c\ufa1d綠緖\ufa1e荢\ufa1f"
                "薰\ufa20\ufa21蠇\ufa22譿賴赶\ufa23\ufa24\ufa25郞\ufa26鄕\ufa27\ufa28閒\uf9dc\ufa29霻靍靑\ufa2a\ufa2b\ufa2c馞髙魲\ufa2d黑"
            ),
        },
    ),
    "gb18030": ("gb18030", {b"\xa8\xbc": "\u1e3f", b"\x81\x35\xf4\x37": "\ue7c7"}),
    "sjis": ("shift_jis", {b"\x81\x5f": "\\"}),
    "ujis": ("euc_jp", {b"\xa1\xc0": "\\"}),
}
"""By first code, as above, of charsets whose codes have up to four bytes."""
_EUC: Final = frozenset({"ujis", "eucjpms"})
_USER_ROWS: Final = range(0xF5, 0xFF)
_USER_FIRST: Final = 0xE000
_ROW: Final = 94


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
    if charset == "ucs2":
        return _ucs2
    if charset in _OTHER_CODES:
        return _multiple_bytes(charset)
    codec = _CODECS[charset]
    others = _SINGLE_BYTES.get(charset)
    if others is None:
        return lambda value: value.decode(codec)
    table = list(bytes(range(256)).decode(codec, "replace").replace("\ufffd", _HOLE))
    for first, characters in others.items():
        table[first : first + len(characters)] = characters
    by_code = "".join(table)
    return lambda value: charmap_decode(value, "strict", by_code)[0]


def _ucs2(value: bytes) -> str:
    """Two bytes a character; pairs of surrogates are none."""
    text = value.decode("utf-16-be")
    if len(text) * 2 != len(value):
        raise UnicodeError("a surrogate")
    return text


def _multiple_bytes(charset: str) -> Decode:
    codec, runs = _OTHER_CODES[charset]
    others: dict[bytes, str] = {}
    for first, characters in runs.items():
        for i, character in enumerate(characters):
            others[first[:-1] + bytes([first[-1] + i])] = character
    if charset in _EUC:
        user = [bytes([row, 0xA1 + i]) for row in _USER_ROWS for i in range(_ROW)]
        others |= {code: chr(_USER_FIRST + i) for i, code in enumerate([*user, *(b"\x8f" + code for code in user)])}
    misread = frozenset("".join([code.decode(codec, "ignore") for code in others]))

    def decode(value: bytes) -> str:
        try:
            text = value.decode(codec)
        except UnicodeDecodeError:
            text = ""
        if text and misread.isdisjoint(text):
            return text
        return "".join([others.get(code) or code.decode(codec) for code in _codes(charset, value)])

    return decode


def _codes(charset: str, value: bytes) -> list[bytes]:
    codes = []
    at = 0
    while at < len(value):
        first = value[at]
        size = 1 if first < 0x80 else 2
        if charset in _EUC:
            size = 3 if first == 0x8F else size
        elif charset == "sjis":
            size = 1 if 0xA1 <= first <= 0xDF else size
        elif charset == "gb18030" and size == 2 and 0x30 <= value[at + 1] <= 0x39:
            size = 4
        codes.append(value[at : at + size])
        at += size
    return codes
