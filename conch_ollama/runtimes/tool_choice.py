"""Which of a request's tools may be called: llama.cpp knows auto, none and required, and takes all else for auto."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from conch_ollama.errors import RuntimeRefusedError


def only(tools: Any, names: Collection[Any]) -> list[Any]:
    """The tools of these names. Raises RuntimeRefusedError for a name that no tool has."""
    found = [tool for tool in (tools if isinstance(tools, list) else ()) if _name(tool) in names]
    missing = [name for name in names if name not in map(_name, found)]
    if missing:
        raise RuntimeRefusedError(f"tool_choice names {missing[0]}, which is not among the tools")
    return found


def _name(tool: Any) -> Any:
    """In any of the dialects."""
    if not isinstance(tool, Mapping):
        return None
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else tool.get("name")
