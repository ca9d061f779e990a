"""Conversations with tools that the prover does not use: seeded, with other tools, arguments, shapes and odd texts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from conch_ollama.chat_template.conversations import ODD, Conversation
from conch_ollama.chat_template.tool_conversations import BY_ID, CALLED, DECLARED, WITH_THOUGHTS

_WORDS = ("rain", "find_all", "x", "查询", "get-weather", "a.b", "lookup2")
_TEXTS = tuple(text for text in ODD if "tool_response" not in text and "think" not in text)


class _Chance:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def text(self) -> str:
        return self.chance.choice(_TEXTS) + self.chance.choice(("", "plain", " and more"))

    def value(self, depth: int = 0) -> Any:
        kinds = ["text", "number", "flag", "none"] + (["list", "object"] if depth < 2 else [])
        match self.chance.choice(kinds):
            case "text":
                return self.text()
            case "number":
                return self.chance.choice((0, -3, 17, 2.5, 1000000))
            case "flag":
                return self.chance.random() < 0.5
            case "list":
                return [self.value(depth + 1) for _ in range(self.chance.randint(0, 3))]
            case "object":
                return {self.text(): self.value(depth + 1) for _ in range(self.chance.randint(0, 3))}
        return None

    def tool(self) -> dict[str, Any]:
        names = self.chance.sample(_WORDS, k=self.chance.randint(1, 4))
        properties = {name: {"type": "string", "description": self.text()} for name in names}
        parameters = {"type": "object", "properties": properties, "required": names[:1]}
        name = self.chance.choice(_WORDS)
        return {"type": "function", "function": {"name": name, "description": self.text(), "parameters": parameters}}

    def calls(self, ids: bool) -> list[dict[str, Any]]:
        made = []
        for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
            arguments = {name: self.value() for name in self.chance.sample(_WORDS, k=self.chance.randint(0, 3))}
            call = {"type": "function", "function": {"name": self.chance.choice(_WORDS), "arguments": arguments}}
            made.append({**call, "id": "abcdefghi"} if ids else call)
        return made


def larger_tools(count: int, seed: int = 4) -> Iterator[Conversation]:
    """No messages of one role side by side, which Ollama joins."""
    for number in range(count):
        chance = _Chance(seed * 1000 + number)
        kind = (DECLARED, CALLED, WITH_THOUGHTS, BY_ID)[number % 4]
        tools = [chance.tool() for _ in range(chance.chance.randint(1, 3))]
        yield Conversation(kind, tuple(_turns(chance, kind)), tools)


def _turns(chance: _Chance, kind: str) -> Iterator[dict[str, Any]]:
    pick = chance.chance
    if pick.random() < 0.5:
        yield {"role": "system", "content": pick.choice(("Be brief.", chance.text() or "S"))}
    count = pick.randint(1, 3)
    for turn in range(count):
        yield {"role": "user", "content": "Ask " + chance.text()}
        steps: Sequence[int] = range(pick.randint(1, 2)) if kind != DECLARED else ()
        for _ in steps:
            yield from _called(chance, kind)
        if turn < count - 1:
            yield {"role": "assistant", "content": "So " + chance.text()}


def _called(chance: _Chance, kind: str) -> Iterator[dict[str, Any]]:
    pick = chance.chance
    asked: dict[str, Any] = {
        "role": "assistant",
        "content": pick.choice(("", "", "Let me see.")),
        "tool_calls": chance.calls(kind == BY_ID),
    }
    if kind == WITH_THOUGHTS and pick.random() < 0.7:
        asked["thinking"] = "I look " + pick.choice(("", "twice\n", "\n\nhere"))
    yield asked
    ids = {"tool_call_id": "abcdefghi", "name": "rain"} if kind == BY_ID else {}
    yield {"role": "tool", "content": "Got " + chance.text(), **ids}
