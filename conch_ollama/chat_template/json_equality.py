"""Whether two prompts are the same but for how the JSON in them is written: spacing, key order, escapes.

Strict: the texts are cut at every JSON value on either side; what lies between must be the same bytes, the values the
same data (numbers spelled alike, no key twice), and a value that is written differently must not be a message's text,
and has to be of the tools, calls or results: what the template itself says is said as it says it.
Go's `json` is compact, sorts keys and escapes < > &; Jinja's `tojson` puts spaces and keeps the order.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

Piece = tuple[str, Any]
_OBJECTS, _STRINGS = "{[", '{["'


class _NotJsonError(ValueError):
    pass


class _Number(str):
    """A number as it is spelled, and no string."""

    __slots__ = ()


def equal_but_for_json(wanted: str, rendered: str, contents: Iterable[str], data: Container[str] | None = None) -> bool:
    """`contents`: the messages' own texts, which nothing may spell in another way. `data`: only JSON that holds one of
    these strings may be spelled in another way; None: any."""
    texts = list(contents)
    return any(
        _same(json_pieces(wanted, openings), json_pieces(rendered, openings), texts, data)
        for openings in (_OBJECTS, _STRINGS)
    )


def _same(wanted: Sequence[Piece], rendered: Sequence[Piece], texts: list[str], data: Container[str] | None) -> bool:
    if len(wanted) != len(rendered):
        return False
    for (raw, value), (other_raw, other) in zip(wanted, rendered, strict=True):
        if raw == other_raw:
            continue
        if value is None or other is None or _typed(value) != _typed(other):
            return False
        if any(raw in text or other_raw in text for text in texts):
            return False
        if data is not None and not any(text in data for text in strings_of(value)):
            return False
    return True


def json_pieces(text: str, openings: str = _OBJECTS) -> list[Piece]:
    """(text, None) and (JSON, its value) by turns. JSON begins with one of `openings`; numbers are as spelled."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=_Number, parse_int=_Number, parse_constant=_constant
    )
    found: list[Piece] = []
    start = at = 0
    while at < len(text):
        if text[at] in openings:
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                at += 1
                continue
            found += [(text[start:at], None), (text[at:end], value)]
            start = at = end
        else:
            at += 1
    return [*found, (text[start:], None)]


def strings_of(value: Any) -> Iterator[str]:
    """All keys and strings in a JSON value."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield key
            yield from strings_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from strings_of(one)
    elif isinstance(value, str) and not isinstance(value, _Number):
        yield value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _NotJsonError("a key twice")
    return dict(pairs)


def _constant(name: str) -> Any:
    raise _NotJsonError(f"{name} is not JSON")


def _typed(value: Any) -> Any:
    """The value in a form in which only the same data is equal: 1, "1" and true differ, the order of keys does not."""
    if isinstance(value, dict):
        return "object", {key: _typed(one) for key, one in value.items()}
    if isinstance(value, list):
        return "array", [_typed(one) for one in value]
    return type(value).__name__, value
