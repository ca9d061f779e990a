"""How fmt prints values: %v and every other verb, for one value at a time; `print` and `println` over several.

`printf`'s format string is read in `printf.py`. Not modelled: %#v of composite values, %p, and addresses of nested
pointers, which no output can depend on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conch_ollama.chat_template.go.escapes import can_backquote, escape_rune, is_print, quote, text_of
from conch_ollama.chat_template.go.floats import format_float
from conch_ollama.chat_template.go.values import (
    Map,
    Nil,
    Pointer,
    Slice,
    Struct,
    Value,
    is_nil,
    string_method,
    type_name,
)

_BASES = {"b": (2, "b"), "o": (8, "o"), "O": (8, "o"), "x": (16, "x"), "X": (16, "X")}
_STRINGABLE = "vsxXq"


@dataclass(slots=True)
class Flags:
    sharp: bool = False
    zero: bool = False
    plus: bool = False
    minus: bool = False
    space: bool = False
    plus_v: bool = False
    width: int | None = None
    precision: int | None = None

    def pad(self, text: bytes, *, zero: bool | None = None) -> bytes:
        missing = (self.width or 0) - len(text_of(text))
        if missing <= 0:
            return text
        if self.minus:
            return text + b" " * missing
        return (b"0" if (self.zero if zero is None else zero) else b" ") * missing + text


PLAIN = Flags()


def show(value: Value, verb: str = "v", flags: Flags = PLAIN, depth: int = 0, erring: bool = False) -> bytes:  # noqa: PLR0911
    """One operand by one verb. `depth` is 0 for the operand itself, more for what it holds."""
    if value is None or isinstance(value, Nil):
        return (flags.pad(b"<nil>") if depth == 0 else b"<nil>") if verb in "vT" or depth else bad_verb(value, verb)
    if verb == "T":
        return _string(type_name(value).encode(), "s", flags)
    if not erring and verb in _STRINGABLE:
        text = string_method(value, by_address=False)
        if text is not None:
            return _string(text, verb, flags)
    match value:
        case bool():
            return flags.pad(b"true" if value else b"false") if verb in "tv" else bad_verb(value, verb, flags)
        case int():
            return _integer(value, verb, flags)
        case float():
            return _float(value, verb, flags)
        case complex():
            return _complex(value, verb, flags)
        case bytes():
            return _string(value, verb, flags) if verb in _STRINGABLE else bad_verb(value, verb, flags)
    return _composite(value, verb, flags, depth, erring)


def _composite(  # noqa: PLR0911 a table of types
    value: Value, verb: str, flags: Flags, depth: int, erring: bool
) -> bytes:
    if isinstance(value, Slice):
        if value.type == "uint8" and verb in "sqxX":
            return _string(bytes(int(item) for item in value.items if isinstance(item, int)), verb, flags)
        return b"[" + b" ".join(show(item, verb, flags, depth + 1, erring) for item in value.items) + b"]"
    if isinstance(value, Map):
        pairs = [
            show(key, verb, flags, depth + 1, erring) + b":" + show(value.items[key], verb, flags, depth + 1, erring)
            for key in value.sorted_keys
        ]
        return b"map[" + b" ".join(pairs) + b"]"
    if isinstance(value, Struct):
        parts = [
            (f"{field.name}:".encode() if flags.plus_v else b"")
            + show(value.values[field.name], verb, flags, depth + 1, erring)
            for field in value.type.fields
        ]
        return b"{" + b" ".join(parts) + b"}"
    if isinstance(value, Pointer) and value.target is not None and depth == 0:
        return b"&" + _composite(value.target, verb, flags, depth + 1, erring)
    if verb not in "vbodxX":
        return bad_verb(value, verb, flags)
    return b"<nil>" if is_nil(value) else b"0xc000012345"


def bad_verb(value: Value, verb: str, flags: Flags = PLAIN) -> bytes:
    shown = b"<nil>" if is_nil(value) and not isinstance(value, Slice | Map | Pointer) else None
    if shown is None:
        shown = type_name(value).encode() + b"=" + show(value, "v", flags, erring=True)
    return b"%!" + verb.encode() + b"(" + shown + b")"


def _string(value: bytes, verb: str, flags: Flags) -> bytes:
    if verb in "xX":
        return _hex_string(value, verb, flags)
    if flags.precision is not None:
        value = text_of(value)[: flags.precision].encode("utf-8", "surrogateescape")
    if verb != "q":
        return flags.pad(value)
    if flags.sharp and can_backquote(value):
        return flags.pad(b"`" + value + b"`")
    return flags.pad(quote(value, ascii_only=flags.plus))


def _hex_string(value: bytes, verb: str, flags: Flags) -> bytes:
    if flags.precision is not None:
        value = value[: flags.precision]
    pairs = [f"{byte:02{verb}}" for byte in value]
    prefix = f"0{verb}" if flags.sharp else ""
    text = " ".join(prefix + pair for pair in pairs) if flags.space else prefix + "".join(pairs)
    return flags.pad(text.encode() if value else b"")


def _integer(value: int, verb: str, flags: Flags) -> bytes:
    if verb in "cqU":
        return _rune(value, verb, flags)
    if verb not in "vdboOxX":
        return bad_verb(value, verb, flags)
    base, letter = _BASES.get(verb, (10, ""))
    size = abs(int(value))
    digits = {2: f"{size:b}", 8: f"{size:o}", 10: str(size), 16: f"{size:X}" if verb == "X" else f"{size:x}"}[base]
    if flags.precision is not None:
        if flags.precision == 0 and size == 0:
            return b" " * (flags.width or 0)
        digits = digits.rjust(flags.precision, "0")
    elif flags.zero and not flags.minus and flags.width is not None:
        digits = digits.rjust(flags.width - (value < 0 or flags.plus or flags.space), "0")
    if flags.sharp:
        digits = "0" + digits if base == 8 and digits[0] != "0" else digits if base in (8, 10) else f"0{letter}{digits}"
    if verb == "O":
        digits = "0o" + digits
    sign = "-" if value < 0 else "+" if flags.plus else " " if flags.space else ""
    return flags.pad((sign + digits).encode(), zero=False)


def _rune(value: int, verb: str, flags: Flags) -> bytes:
    code = value & 0xFFFFFFFFFFFFFFFF
    valid = code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    char = chr(code) if valid else "\ufffd"
    if verb == "c":
        return flags.pad(char.encode())
    if verb == "q":
        return flags.pad(f"'{escape_rune(char, chr(39), flags.plus)}'".encode())
    text = f"U+{code:0{max(4, flags.precision or 0)}X}"
    if flags.sharp and code <= 0x10FFFF and valid and is_print(char):
        text += f" '{char}'"
    return flags.pad(text.encode(), zero=False)


def _float(value: float, verb: str, flags: Flags) -> bytes:
    if verb not in "vgGeEfFbxX":
        return bad_verb(value, verb, flags)
    precision = flags.precision if flags.precision is not None else 6 if verb in "eEfF" else -1
    text = format_float(value, {"v": "g", "F": "f"}.get(verb, verb), precision)
    if text[0] not in "+-":
        text = "+" + text
    if flags.space and text[0] == "+" and not flags.plus:
        text = " " + text[1:]
    if flags.sharp and verb != "b" and text[1] not in "IN":
        text = _with_point(text, verb, precision)
    if text[1] in "IN":
        return flags.pad((text[1:] if not flags.plus and text[0] == "+" else text).encode(), zero=False)
    if flags.plus or text[0] != "+":
        width = flags.width or 0
        if flags.zero and not flags.minus and width > len(text):
            return (text[0] + text[1:].rjust(width - 1, "0")).encode()
        return flags.pad(text.encode())
    return flags.pad(text[1:].encode())


def _with_point(text: str, verb: str, precision: int) -> str:
    """The # flag of floats: always a decimal point, and trailing zeros up to the precision (6 if there is none)."""
    wanted = (6 if precision < 0 else precision) if verb in "vgGx" else 0
    at = next((at for at, char in enumerate(text) if char in ("pP" if verb in "xX" else "eEpP")), len(text))
    number, tail = text[:at], text[at:]
    digits = number[1:].replace(".", "")
    if "." not in number:
        wanted -= digits == "0"
        number += "."
    return number + "0" * max(wanted - len(digits.lstrip("0")), 0) + tail


def _complex(value: complex, verb: str, flags: Flags) -> bytes:
    if verb not in "vgGeEfFbxX":
        return bad_verb(value, verb, flags)
    signed = Flags(flags.sharp, flags.zero, True, flags.minus, flags.space, False, flags.width, flags.precision)
    return b"(" + _float(value.real, verb, flags) + _float(value.imag, verb, signed) + b"i)"


def sprint(values: Sequence[Value]) -> bytes:
    """fmt.Sprint: a space between two operands when neither is a string."""
    out = bytearray()
    for at, value in enumerate(values):
        if at and not isinstance(value, bytes) and not isinstance(values[at - 1], bytes):
            out += b" "
        out += show(value)
    return bytes(out)


def sprintln(values: Sequence[Value]) -> bytes:
    """fmt.Sprintln: always a space between operands, and a line feed at the end."""
    return b" ".join(show(value) for value in values) + b"\n"
