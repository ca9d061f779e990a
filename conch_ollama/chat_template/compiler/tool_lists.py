"""Marked tools that a template is given, and where it prints them: as JSON, in one array or one after the other, or
part by part: some write a JSON by hand and escape nothing in it, which a quote in the description shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from conch_ollama.chat_template.compiler.model import (
    NotExpressibleError,
    Pieces,
    SystemText,
    ToolField,
    ToolList,
    joined,
)
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, Probe, Shape
from conch_ollama.chat_template.json_equality import Piece, json_pieces

_TOOL = "ZqT"
_TEXT = 't "said"'
_FIELDS = {"": "name", _TEXT: "description"}
_SHOWN = re.compile(f"ZqT([01])qZ({re.escape(_TEXT)}|(?![ptd]))")


def _tool(number: int) -> dict[str, Any]:
    mark = f"{_TOOL}{number}qZ"
    properties = {f"{mark}p": {"type": "string", "description": f"{mark}d"}}
    parameters = {"type": "object", "properties": properties, "required": [f"{mark}p"]}
    return {"type": "function", "function": {"name": mark, "description": mark + _TEXT, "parameters": parameters}}


PROBED_TOOLS = (_tool(0), _tool(1))


def are_shown(probe: Probe) -> bool:
    """Whether the template prints the tools it is given. `probe` gives it PROBED_TOOLS."""
    text = probe.render(Shape(None, 1).messages())
    return text is not None and _TOOL in text


def with_tool_lists(text: str) -> Pieces:
    """The text with PROBED_TOOLS taken for what they are. Raises NotExpressibleError where they aren't plain JSON."""
    if _TOOL not in text:
        return (text,)
    whole, functions = list(PROBED_TOOLS), [tool["function"] for tool in PROBED_TOOLS]
    found: list[str | SystemText | ToolList] = []
    pieces = json_pieces(text)
    at = 0
    while at < len(pieces):
        raw, value = pieces[at]
        if value in (whole, functions):
            found.append(ToolList(bare=value == functions, array=True))
        elif value in (whole[0], functions[0]) and at + 2 < len(pieces):
            bare = value == functions[0]
            if pieces[at + 2][1] != (functions if bare else whole)[1]:
                raise beyond("tools declared otherwise than as a list")
            found.append(ToolList(bare=bare, array=False, separator=pieces[at + 1][0]))
            at += 2
        else:
            found.append(raw)
        at += 1
    if any(isinstance(piece, str) and _TOOL in piece for piece in found):
        return _spelled(pieces)
    return joined(found)


def _spelled(pieces: Sequence[Piece]) -> Pieces:
    """Name, description and parameters of one tool after those of the other, each with the same texts between them.

    Raises NotExpressibleError where they stand in another way."""
    texts, shown = [""], list[tuple[str, str]]()  # a text before each part and after the last; (tool, part)
    parameters = [tool["function"]["parameters"] for tool in PROBED_TOOLS]
    for raw, value in pieces:
        if value in parameters:
            shown.append((str(parameters.index(value)), "parameters"))
            texts.append("")
            continue
        text, *rest = _SHOWN.split(raw)
        texts[-1] += text
        for tool, part, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            shown.append((tool, _FIELDS[part]))
            texts.append(after)
    half = len(shown) // 2
    first, second = shown[:half], shown[half:]
    alike = [(tool, "1", part) for tool, part in first] == [("0", tool, part) for tool, part in second]
    inner = texts[1:half]
    if not half or not alike or inner != texts[half + 1 : -1] or any(_TOOL in text for text in texts):
        raise beyond("tools declared otherwise than as JSON")
    if any(SYSTEM_MARK in text for text in (*inner, texts[half])):
        raise beyond("a system text among the tools")
    parts = tuple(ToolField(text, part) for text, (_, part) in zip(("", *inner), first, strict=True))
    return joined([texts[0], ToolList(False, False, texts[half], parts), texts[-1]])


def beyond(construct: str) -> NotExpressibleError:
    return NotExpressibleError(construct, "only tools and arguments printed as JSON, in order, are compiled")
