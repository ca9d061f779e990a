"""Marked tools that a template is given, and where it prints them: as JSON, in one array or one after the other."""

from __future__ import annotations

from typing import Any

from conch_ollama.chat_template.compiler.model import NotExpressibleError, Pieces, SystemText, ToolList, joined
from conch_ollama.chat_template.compiler.probe import Probe, Shape
from conch_ollama.chat_template.json_equality import json_pieces

_TOOL = "ZqT"


def _tool(number: int) -> dict[str, Any]:
    mark = f"{_TOOL}{number}qZ"
    properties = {f"{mark}p": {"type": "string", "description": f"{mark}d"}}
    parameters = {"type": "object", "properties": properties, "required": [f"{mark}p"]}
    return {"type": "function", "function": {"name": mark, "description": f"{mark}t", "parameters": parameters}}


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
        raise beyond("tools declared otherwise than as JSON")
    return joined(found)


def beyond(construct: str) -> NotExpressibleError:
    return NotExpressibleError(construct, "only tools and arguments printed as JSON, in order, are compiled")
