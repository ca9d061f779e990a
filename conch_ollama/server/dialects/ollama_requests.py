"""Ollama's requests as bodies in OpenAI's dialect. Pure; what only Ollama knows goes along for the runtimes that do."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from conch_ollama.server.errors import Refusal

#: Ollama's option -> OpenAI's field. The others stay in `options`.
_FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_PICTURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def chat_body(request: Mapping[str, Any]) -> dict[str, Any]:
    """/api/chat as a chat body. Raises Refusal for images that are no base64."""
    body = _common(request)
    body["messages"] = list(_messages(request["messages"]))
    body |= _chat_logprobs(request)
    if request.get("tools"):
        body["tools"] = request["tools"]
    return body


def generate_body(request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """/api/generate as ("chat", body), or ("complete", body) where the prompt is raw or has a gap. `template` and
    `context` are not in it: see as_text.py. Raises Refusal for what does not go together."""
    _check_together(request)
    body = _common(request)
    if request.get("raw") or request.get("suffix"):
        body["prompt"] = request.get("prompt") or ""
        if request.get("logprobs"):
            body["logprobs"] = _top(request)
        if request.get("suffix"):
            body["suffix"] = request["suffix"]
        return "complete", body
    user: dict[str, Any] = {"role": "user", "content": request.get("prompt") or "", "images": request.get("images")}
    system = [{"role": "system", "content": request["system"]}] if request.get("system") else []
    body["messages"] = list(_messages([*system, user]))
    return "chat", body | _chat_logprobs(request)


def _check_together(request: Mapping[str, Any]) -> None:
    """Refuse what would be left out without a word."""
    given = {name for name in ("template", "system", "context", "images", "suffix") if request.get(name)}
    if request.get("raw") and given:
        raise Refusal(400, f"raw mode does not support {' or '.join(sorted(given))}")
    if "suffix" in given and len(given) > 1:
        raise Refusal(400, f"suffix does not go with {' or '.join(sorted(given - {'suffix'}))}")
    if "images" in given and given & {"template", "context"}:
        raise Refusal(400, "images do not go with template or context; send them to /api/chat")


def _chat_logprobs(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": _top(request)} if request.get("logprobs") else {}


def _top(request: Mapping[str, Any]) -> int:
    # Of none llama.cpp would not even tell the token's own.
    return max(1, request.get("top_logprobs") or 0)


def _common(request: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in (request.get("options") or {}).items() if value is not None}
    body: dict[str, Any] = {"model": request["model"]}
    body |= {name: options.pop(key) for key, name in _FIELDS.items() if key in options}
    limit = options.pop("num_predict", None)
    if isinstance(limit, int) and limit >= 0:  # -1, -2: as long as it takes
        body["max_tokens"] = limit
    if options:
        body["options"] = options
    wanted = request.get("format")
    if wanted == "json":
        body["response_format"] = {"type": "json_object"}
    elif wanted:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    body |= {key: request[key] for key in ("think", "keep_alive") if request.get(key) is not None}
    return body


def _messages(messages: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Calls get ids, which Ollama's dialect has not; a tool's answer gets the id of the next call without one."""
    open_calls: list[tuple[str, str]] = []
    number = 0
    for message in messages:
        made: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
        if message.get("images"):
            made["content"] = [{"type": "text", "text": made["content"]}, *map(_picture, message["images"])]
        if message.get("thinking"):
            made["reasoning_content"] = message["thinking"]
        if message.get("tool_calls"):
            made["tool_calls"] = []
            for call in message["tool_calls"]:
                function = call["function"]
                arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
                identity, number = f"call_{number}", number + 1
                open_calls.append((function["name"], identity))
                made["tool_calls"].append(
                    {
                        "id": identity,
                        "type": "function",
                        "function": {"name": function["name"], "arguments": arguments},
                    }
                )
        if message["role"] == "tool":
            made["tool_call_id"] = _answered(open_calls, message.get("tool_name"))
            if message.get("tool_name"):
                made["name"] = message["tool_name"]
        yield made


def _answered(open_calls: list[tuple[str, str]], name: str | None) -> str:
    index = next((n for n, (called, _) in enumerate(open_calls) if name in (None, called)), None)
    return open_calls.pop(index)[1] if index is not None else "call_unknown"


def _picture(text: str) -> dict[str, Any]:
    try:
        start = base64.b64decode(text[:64] + "=" * (-len(text[:64]) % 4), validate=True)
    except (binascii.Error, ValueError) as err:
        raise Refusal(400, "images must be base64") from err
    kind = next((kind for mark, kind in _PICTURES if start.startswith(mark)), "image/png")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{text}"}}
