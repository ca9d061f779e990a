"""Quoting and escaping of text as Go does it: strconv.Quote, and the template functions html, js and urlquery.

Texts are bytes; an invalid UTF-8 byte counts as one character, as in Go (`text_of` shows it as a lone surrogate).
"""

from __future__ import annotations

import unicodedata

_SIMPLE = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_HTML = {0: b"\xef\xbf\xbd", 34: b"&#34;", 39: b"&#39;", 38: b"&amp;", 60: b"&lt;", 62: b"&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_URL_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def text_of(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_print(char: str) -> bool:
    """Go's IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space."""
    return char == " " or unicodedata.category(char)[0] in "LMNPS"


def is_invalid(char: str) -> bool:
    return "\udc80" <= char <= "\udcff"


def escape_rune(char: str, quote: str, ascii_only: bool) -> str:
    if char in (quote, "\\"):
        return "\\" + char
    if (char < "\x80" or not ascii_only) and is_print(char):
        return char
    if char in _SIMPLE:
        return _SIMPLE[char]
    code = ord(char)
    if char < " " or char == "\x7f":
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(value: bytes, *, ascii_only: bool = False) -> bytes:
    """strconv.Quote, or QuoteToASCII."""
    body = [
        f"\\x{ord(char) - 0xDC00:02x}" if is_invalid(char) else escape_rune(char, '"', ascii_only)
        for char in text_of(value)
    ]
    return b'"' + bytes_of("".join(body)) + b'"'


def can_backquote(value: bytes) -> bool:
    """Whether a raw string literal can hold the text."""
    return all(
        not is_invalid(char) and char not in "\ufeff`\x7f" and (char >= " " or char == "\t") for char in text_of(value)
    )


def html(value: bytes) -> bytes:
    return b"".join(_HTML.get(byte, bytes((byte,))) for byte in value)


def js(value: bytes) -> bytes:
    out = []
    for char in text_of(value):
        if char in _JS:
            out.append(_JS[char])
        elif char < " ":
            out.append(f"\\u00{ord(char):02X}")
        elif char < "\x80" or is_invalid(char) or is_print(char):
            out.append(char)  # Go sees an invalid byte as U+FFFD, which can be printed, and copies the byte
        else:
            out.append(f"\\u{ord(char):04X}")
    return bytes_of("".join(out))


def urlquery(value: bytes) -> bytes:
    return b"".join(b"+" if byte == 32 else bytes((byte,)) if byte in _URL_SAFE else b"%%%02X" % byte for byte in value)
