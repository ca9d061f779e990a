"""The part of the corpus with tools: declared, called, answered, with thoughts between; plain data.

Only what Ollama's own structs keep: a tool's description and its properties' `type`, `description`, `enum`, `items`,
and `required`. Other keys of a JSON schema are dropped by the server before a TEMPLATE sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
Chat = tuple[str, Sequence[Json], Sequence[Json]]

DECLARED, CALLED, BY_ID = "tools declared", "tools called and answered", "tools called by id"
WITH_THOUGHTS, SIDE_BY_SIDE = "tools called in thought", "tools answered side by side"
#: In these, equal may be up to how JSON is written. Ollama before 0.9.6 joins results that stand side by side; before
#: 0.12.10 it has no ids of calls.
TOOL_KINDS = (DECLARED, CALLED, BY_ID, WITH_THOUGHTS, SIDE_BY_SIDE)

TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "its name"}},
                "required": ["city"],
            },
        },
    },
)
MORE_TOOLS = (
    *TOOLS,
    {
        "type": "function",
        "function": {
            "name": "search_files",
            "description": "在文件里查找 <text> & \"quoted\" 'words'\nin two lines",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "what to look for: a < b && c"},
                    "limit": {"type": "integer", "description": "at most so many"},
                    "kind": {"type": "string", "description": "which files", "enum": ["text", "image"]},
                    "folders": {"type": "array", "description": "where", "items": {"type": "string"}},
                },
                "required": ["query", "kind"],
            },
        },
    },
)
#: No JSON where a template writes them by hand, their texts as they are: so they show how all around them is spelled.
QUOTED_TOOLS = (
    MORE_TOOLS[1],
    {
        "type": "function",
        "function": {
            "name": "note",
            "description": 'Keeps a "note"',
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string", "description": 'the "text"'}},
                "required": ["text"],
            },
        },
    },
)


def tool_conversations() -> Iterator[Chat]:
    """(kind, messages, tools)"""
    ask, brief = _user("Will it rain in Paris?"), {"role": "system", "content": "Be brief."}
    hi = (_user("Hi"), _answer("Hello!"))
    yield DECLARED, (ask,), TOOLS
    yield DECLARED, (brief, ask), TOOLS
    yield DECLARED, (*hi, ask), MORE_TOOLS
    yield DECLARED, (brief, *hi, ask), MORE_TOOLS
    yield DECLARED, ({"role": "system", "content": ""}, ask), TOOLS
    yield DECLARED, (brief, ask, _answer("It will")), TOOLS
    for before in ((), (brief,), ({"role": "system", "content": ""},)):
        yield DECLARED, (*before, ask), QUOTED_TOOLS
        yield DECLARED, (*before, *hi, ask, _answer("It will")), QUOTED_TOOLS
    yield from _called(ask, brief)
    call = _call({"city": "Paris"})
    named = (_asks(call | {"id": "call12345"}), _result("dry") | {"tool_call_id": "call12345", "name": "weather"})
    yield BY_ID, (ask, *named), TOOLS
    yield BY_ID, (ask, *named, _answer("No."), _user("Sure?")), MORE_TOOLS
    thinking = _asks(call) | {"thinking": "I have to look it up."}
    yield WITH_THOUGHTS, (ask, thinking, _result("dry")), TOOLS
    yield WITH_THOUGHTS, (ask, thinking, _result("dry"), _answer("No."), _user("Sure?")), TOOLS
    spoken = thinking | {"content": "Let me see."}
    yield WITH_THOUGHTS, (brief, ask, spoken, _result("dry"), thinking, _result("wet")), MORE_TOOLS
    both = _asks(call, _call({"city": "Oslo"}))
    yield SIDE_BY_SIDE, (ask, both, _result("dry"), _result("wet")), TOOLS
    yield SIDE_BY_SIDE, (brief, ask, both, _result("dry"), _result("wet"), _answer("No."), _user("Sure?")), TOOLS


def _called(ask: Json, brief: Json) -> Iterator[Chat]:
    call = _asks(_call({"city": "Paris"}))
    yield CALLED, (ask, call, _result("dry")), TOOLS
    yield CALLED, (ask, call | {"content": "Let me see."}, _result("dry"), _answer("No."), _user("Sure?")), TOOLS
    yield CALLED, (brief, ask, call, _result('{"rain": false, "wind": [1, 2.5]}'), _answer("No.")), TOOLS
    odd = {"query": "a < b && \"c\" 'd'\n海螺", "limit": 3, "folders": ["x", "y z"], "kind": "text"}
    deep = {"z": {"b": [1, {"y": None, "x": 2.5}], "a": True}, "c": ""}
    for arguments in (odd, deep, {}):
        found = _asks(_call(arguments, "search_files"))
        yield CALLED, (ask, found, _result("three\nlines\n<b>&amp;</b>")), MORE_TOOLS
    both = _asks(_call({"city": "Paris"}), _call({"query": "x"}, "search_files"))
    yield CALLED, (ask, both, _result("dry; nothing")), MORE_TOOLS
    yield CALLED, (brief, ask, both, _result(""), _answer("No."), _user("Sure?"), _answer("Yes,")), MORE_TOOLS
    yield CALLED, (ask, call, _result("dry"), call, _result("wet"), _answer("Both."), _user("Well")), TOOLS
    yield CALLED, (brief, ask, call, _result("dry"), _answer("No."), _user("Oslo?"), call, _result("wet")), TOOLS


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _result(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


def _call(arguments: Json, name: str = "weather") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _asks(*calls: Json) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}
