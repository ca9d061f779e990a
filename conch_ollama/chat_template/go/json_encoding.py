"""encoding/json's Marshal for the values of `values.py`: compact, keys of maps sorted, `<`, `>` and `&` escaped."""

from __future__ import annotations

import base64
import math
from typing import assert_never

from conch_ollama.chat_template.go.escapes import is_invalid, text_of
from conch_ollama.chat_template.go.floats import json_float
from conch_ollama.chat_template.go.values import Map, Nil, Pointer, Slice, Struct, Value

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_UNICODE = frozenset("<>&\u2028\u2029")


def marshal(value: Value) -> bytes:
    """The JSON text, or nothing where Go would err (complex numbers, NaN): Ollama's `json` ignores the error."""
    try:
        return _encode(value)
    except ValueError:
        return b""


def _encode(value: Value) -> bytes:  # noqa: PLR0911 a table of types
    match value:
        case None | Nil():
            return b"null"
        case bool():
            return b"true" if value else b"false"
        case int():
            return str(int(value)).encode()
        case float():
            if not math.isfinite(value):
                raise ValueError("not a JSON number")
            return json_float(value).encode()
        case complex():
            raise ValueError("not a JSON number")
        case bytes():
            return _string(value)
        case Pointer():
            return _encode(value.target)
        case Struct():
            return _struct(value)
        case Slice():
            return _slice(value)
        case Map():
            pairs = [_string(key) + b":" + _encode(value.items[key]) for key in value.sorted_keys]
            return b"null" if value.nil else b"{" + b",".join(pairs) + b"}"
    assert_never(value)


def _slice(value: Slice) -> bytes:
    if value.json:
        return value.json(value)
    if value.nil:
        return b"null"
    if value.type == "uint8":
        return b'"' + base64.b64encode(bytes(int(item) for item in value.items if isinstance(item, int))) + b'"'
    return b"[" + b",".join(map(_encode, value.items)) + b"]"


def _struct(value: Struct) -> bytes:
    parts = []
    for field in value.type.fields:
        item = value.values[field.name]
        if not (field.omit_empty and _is_empty(item)):
            parts.append(_string((field.json or field.name).encode()) + b":" + _encode(item))
    return b"{" + b",".join(parts) + b"}"


def _is_empty(value: Value) -> bool:
    if isinstance(value, Slice | Map):
        return not value.items
    if isinstance(value, Pointer):
        return value.target is None
    return value is None or isinstance(value, Nil) or (not isinstance(value, Struct) and not value)


def _string(value: bytes) -> bytes:
    out = []
    for char in text_of(value):
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif is_invalid(char):
            out.append("\\ufffd")
        elif char < " " or char in _UNICODE:
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(char)
    return ('"' + "".join(out) + '"').encode()
