"""What a server makes of a conversation: the prompt itself where it tells it, else how many tokens it has.

`_debug_render_only` is answered since Ollama 0.11.5. Before, the same text is sent raw: a prompt that was rendered as
meant has as many tokens as that text. Compares nothing with any template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.errors import OllamaRefusedError
from conch_ollama.ollama.client import OllamaClient

#: One token, on one thread: the answer is thrown away, and a prompt of a few lines needs no more.
_QUICK: Mapping[str, Any] = {"num_predict": 1, "temperature": 0}
Message = Mapping[str, Any]


def rendered_prompt(
    server: OllamaClient, name: str, messages: Sequence[Message], *, think: bool | None = None
) -> str | None:
    """The prompt that the server renders; None where it is too old to tell (it answers the chat then)."""
    body: dict[str, Any] = {"_debug_render_only": True}
    if think is not None:
        body["think"] = think
    answer = _chat(server, name, messages, body)
    told = answer.get("_debug_info")
    text = told.get("rendered_template") if isinstance(told, dict) else None
    return text if isinstance(text, str) else None


def chat_tokens(server: OllamaClient, name: str, messages: Sequence[Message]) -> int:
    """How many tokens the prompt of this conversation has, a BOS that the server adds counted."""
    return _count(_chat(server, name, messages, {}), server, name)


def raw_tokens(server: OllamaClient, name: str, prompt: str) -> int:
    """How many tokens this text has as a whole prompt, a BOS that the server adds counted."""
    body = {"model": name, "prompt": prompt, "raw": True, "stream": False, "options": dict(_QUICK)}
    return _count(server.post("/api/generate", body, f"generate with {name}"), server, name)


def _chat(server: OllamaClient, name: str, messages: Sequence[Message], extra: Mapping[str, Any]) -> Mapping[str, Any]:
    body = {"model": name, "messages": list(messages), "stream": False, "options": dict(_QUICK), **extra}
    return server.post("/api/chat", body, f"chat with {name}")


def _count(answer: Mapping[str, Any], server: OllamaClient, name: str) -> int:
    count = answer.get("prompt_eval_count")
    if not isinstance(count, int):
        raise OllamaRefusedError(f"Ollama at {server.host} does not say how many tokens a prompt of {name} has")
    return count
