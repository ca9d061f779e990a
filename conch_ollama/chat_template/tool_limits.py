"""What keeps a TEMPLATE from rendering tools as a Jinja does, where that is a limit of Go or Ollama and no more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.chat_template.compare import likeness
from conch_ollama.chat_template.conversations import Conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.verdicts import DIFFERS, Server
from conch_ollama.errors import BadTemplateError

SORTED = (
    "a tool's parameters in the order they are given, in a text that is no JSON",
    "Go's range visits the keys of a map sorted by name",
)
WITHOUT_IDS = ("the ids of tool calls", "Ollama before 0.12.10 keeps none")


def tool_limit(jinja: JinjaTemplate, server: Server, chat: Conversation, rendered: str) -> tuple[str, str] | None:
    """(construct, limit) where `rendered` differs from the Jinja's prompt by nothing else; None where it does."""
    if not chat.tools:
        return None
    for limit, tools, without_ids in (
        (WITHOUT_IDS, chat.tools, True),
        (SORTED, [_sorted(tool) for tool in chat.tools], False),
    ):
        try:
            text = jinja.render(chat.messages, continue_final_message=chat.is_prefill, tools=tools)
        except BadTemplateError:
            return None
        text = server.without_bos(_without_ids(text, chat) if without_ids else text)
        if likeness(chat, text, rendered) != DIFFERS:
            return limit
    return None


def _without_ids(text: str, chat: Conversation) -> str:
    for found in {call["id"] for message in chat.messages for call in message.get("tool_calls", ()) if "id" in call}:
        entry = rf'"\w*id":\s*"{re.escape(found)}"'
        text = re.sub(rf",\s*{entry}|{entry},\s*", "", text)
    return text


def _sorted(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The tool with its properties sorted by name."""
    function = tool["function"]
    parameters = function["parameters"]
    properties: Sequence[tuple[str, Any]] = sorted(parameters["properties"].items())
    return {**tool, "function": {**function, "parameters": {**parameters, "properties": dict(properties)}}}
