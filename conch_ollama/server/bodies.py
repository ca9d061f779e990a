"""A request's JSON: its size and depth are checked before it is parsed, what UTF-8 or JSON can't carry on is refused.

The size is kept by the door, which counts as the body comes in.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from conch_ollama.server.errors import Refusal
from conch_ollama.server.visitors import raw_body

if TYPE_CHECKING:
    from starlette.requests import Request

    from conch_ollama.server.schemas.base import Edge

_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MOVES = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def check_depth(raw: bytes, limit: int) -> None:
    """Refuse JSON that is nested deeper than `limit`, without parsing it."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    depth = 0
    for match in _BRACKETS.finditer(raw):
        depth += _MOVES.get(match[0], 0)
        if depth > limit:
            raise Refusal(400, f"The JSON is nested deeper than {limit} levels.", "json_too_deep")


def parse_object(raw: bytes, depth: int) -> dict[str, Any]:
    """The JSON object in `raw`. Raises Refusal (400) for anything else, NaN and lone surrogates among it."""
    check_depth(raw, depth)
    try:
        text = raw.removeprefix(BOM_UTF8).decode().strip(_SPACE)
        found, end = _DECODER.raw_decode(text)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if _SURROGATE.search(raw):
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:  # UnicodeError is a ValueError
        raise Refusal(400, f"The body is not JSON in UTF-8: {_plain(err)}", "invalid_json") from err
    if not isinstance(found, dict):
        raise Refusal(400, "The body must be a JSON object.", "invalid_json")
    return found


def _plain(err: Exception) -> str:
    return "text that is not UTF-8" if isinstance(err, UnicodeError) else str(err)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
#: What JSON calls so; its `decode` would look for it by two patterns.
_SPACE = " \t\n\r"


def read_body(request: Request, model: type[Edge], depth: int) -> dict[str, Any]:
    """The request's JSON, checked against `model`: the object as it came, unknown fields kept.

    A body is read as JSON whatever Content-Type says: curl's users leave it out.
    """
    return validated(parse_object(raw_body(request), depth), model)


class _Checks(dict["type[Edge]", "Callable[..., dict[str, Any]]"]):
    """A kind of request -> what checks one. Made when the first one comes."""

    def __missing__(self, model: type[Edge]) -> Callable[..., dict[str, Any]]:
        check: Callable[..., dict[str, Any]] = TypeAdapter(model).validator.validate_python
        self[model] = check
        return check


_checks = _Checks()


def validated(body: dict[str, Any], model: type[Edge]) -> dict[str, Any]:
    """`body` itself, if it fits `model`; Refusal (400) with the first field that does not."""
    try:
        _checks[model](body)
    except ValidationError as err:
        raise _unfit(body, err) from err
    return body


def with_texts(body: dict[str, Any], texts: Mapping[str, str], model: type[Edge]) -> dict[str, Any]:
    """`body` with those fields of `model` that stand in an address or a form only, as the types that they are of.

    An empty text is a field that nobody filled in. Raises Refusal (400).
    """
    given = {name: text for name, text in texts.items() if text and name in model.__annotations__ and name not in body}
    both = {**given, **body}
    try:
        read = _checks[model](both, strict=False) if given else {}
    except ValidationError as err:
        raise _unfit(both, err) from err
    return validated({**{name: read[name] for name in given}, **body}, model)


def _unfit(body: dict[str, Any], err: ValidationError) -> Refusal:
    found = err.errors(include_url=False, include_input=False, include_context=False)
    # Of a field that may be of several kinds, the fault that lies deepest is that of the kind which was meant.
    places = [(_place(body, one["loc"], one["type"] == "missing"), one["msg"]) for one in found]
    place, message = max(places, key=lambda place: len(place[0]))
    where = ".".join(str(part) for part in place)
    return Refusal(400, f"{where}: {message}", "invalid_value", where or None)


def _place(value: Any, loc: Sequence[int | str], missing: bool) -> list[int | str]:
    """pydantic's path to a fault, without the names of the kinds that a field may be of."""
    place: list[int | str] = []
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not (missing and part is loc[-1]):
            continue
        place.append(part)
    return place
