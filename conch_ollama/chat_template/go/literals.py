"""Go's literals: quoted strings, character constants and numbers, as strconv reads them.

Raises ValueError with a short reason; the parser adds the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_INTEGER = re.compile(r"([+-]?)(0[xX]_?|0[oO]_?|0[bB]_?|0_?(?=[0-9]))?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)\Z")
_DIGITS, _HEX = r"[0-9]+(?:_[0-9]+)*", r"[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_FLOAT = re.compile(rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?\Z")
_HEX_FLOAT = re.compile(rf"[+-]?0[xX]_?(?:{_HEX}\.?(?:{_HEX})?|\.{_HEX})[pP][+-]?[0-9]+\Z")


def unquote(text: str) -> bytes:
    """The bytes of a string literal, quotes included in `text`."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "").encode("utf-8", "surrogatepass")
    out = bytearray()
    at = 1
    while at < len(text) - 1:
        value, is_byte, at = _unquote_char(text, at, '"')
        out += bytes([value]) if is_byte else chr(value).encode("utf-8", "surrogatepass")
    return bytes(out)


def unquote_char(text: str) -> int:
    """The code point (or byte value) of a character constant, quotes included in `text`."""
    if text == "''":
        raise ValueError("empty character constant")
    value, _, end = _unquote_char(text, 1, "'")
    if text[end:] != "'":
        raise ValueError(f"malformed character constant: {text}")
    return value


def _unquote_char(text: str, at: int, quote: str) -> tuple[int, bool, int]:
    """(value, whether it stands for a single byte, where the next character begins)."""
    char = text[at]
    if char != "\\":
        if char in (quote, "\n"):
            raise ValueError("invalid syntax")
        return ord(char), False, at + 1
    escape = text[at + 1]
    if escape in _SIMPLE:
        return _SIMPLE[escape], False, at + 2
    if escape == quote:
        return ord(quote), False, at + 2
    digits, base, start = (_HEX_DIGITS[escape], 16, at + 2) if escape in _HEX_DIGITS else (3, 8, at + 1)
    body = text[start : start + digits]
    pattern = r"[0-9a-fA-F]*" if base == 16 else r"[0-7]*"
    if len(body) < digits or not re.fullmatch(pattern, body):
        raise ValueError(f"invalid escape \\{escape}")
    value = int(body, base)
    if escape in "uU":
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise ValueError(f"invalid code point \\{escape}{body}")
        return value, False, start + digits
    if value > 255:
        raise ValueError(f"octal escape over 255: \\{body}")
    return value, True, start + digits


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a numeric literal can be. `integer` and `real` are set where it fits a Go int64/uint64 or float64."""

    value: int | float | complex
    is_int: bool
    is_uint: bool
    is_float: bool
    is_complex: bool


def parse_number(text: str) -> Parsed:
    """A number token: integer of any base, float, hexadecimal float, or imaginary."""
    if text.endswith("i"):
        return _complex(complex(0.0, _parse_float(text[:-1])))
    whole = _parse_integer(text)
    if whole is not None:
        fits_int, fits_uint = -(1 << 63) <= whole < 1 << 63, 0 <= whole < 1 << 64 and text[0] not in "+-"
        if not fits_int and not fits_uint:
            raise ValueError(f"integer overflow: {text!r}")
        return Parsed(whole, fits_int, fits_uint or whole == 0, True, False)
    real = _parse_float(text)
    if not any(char in text for char in ".eEpP"):
        raise ValueError(f"integer overflow: {text!r}")
    is_int = real.is_integer() and -(2.0**63) <= real < 2.0**63
    return Parsed(real, is_int, real.is_integer() and 0 <= real < 2.0**64, True, False)


def parse_complex(text: str) -> Parsed:
    """A pair such as `1+2i`."""
    cut = max(text.rfind("+", 1), text.rfind("-", 1))
    while cut > 0 and text[cut - 1] in "eEpP" and not text[:cut].lower().startswith(("0x", "+0x", "-0x")):
        cut = max(text.rfind("+", 1, cut), text.rfind("-", 1, cut))
    if cut <= 0:
        raise ValueError(f"illegal number syntax: {text!r}")
    return _complex(complex(_parse_float(text[:cut]), _parse_float(text[cut:-1])))


def untyped_constant(text: str, parsed: Parsed) -> int | float | complex | None:
    """What a number is where no type is asked for; None for an int that fits none."""
    value = parsed.value
    if parsed.is_complex and isinstance(value, complex):
        return value
    looks_float = any(char in text for char in ".eEpP")
    hexadecimal = text[:2] in ("0x", "0X") and not any(char in text for char in "pP")
    if looks_float and parsed.is_float and not hexadecimal:
        return float(value.real)
    return int(value.real) if parsed.is_int else None


def _complex(value: complex) -> Parsed:
    is_float = value.imag == 0
    is_int = is_float and value.real.is_integer() and -(2.0**63) <= value.real < 2.0**63
    return Parsed(value, is_int, is_int and value.real >= 0, is_float, True)


def _parse_integer(text: str) -> int | None:
    found = _INTEGER.match(text)
    if not found:
        return None
    sign, prefix, digits = found.groups()
    base = {"x": 16, "o": 8, "b": 2}.get((prefix or "").lower().strip("0_"), 8 if prefix else 10)
    try:
        value = int(digits.replace("_", ""), base)
    except ValueError:
        return None
    return -value if sign == "-" else value


def _parse_float(text: str) -> float:
    try:
        if _FLOAT.match(text):
            value = float(text.replace("_", ""))
        elif _HEX_FLOAT.match(text):
            value = float.fromhex(text.replace("_", ""))
        else:
            raise ValueError(f"illegal number syntax: {text!r}")
    except OverflowError as err:
        raise ValueError(f"value out of range: {text!r}") from err
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"value out of range: {text!r}")
    return value
