"""Requests of other dialects as llama.cpp's own doors for them want them, and what is made of the answers.

Pure. A model's own parameters and system prompt stand where the request is silent, as in a chat. llama.cpp's door for
Anthropic's dialect leaves out what that dialect does not have: of the parameters all but five, and adapters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conch_ollama.errors import NotSupportedError, RuntimeRefusedError
from conch_ollama.runtimes.llama_body import encode, refuse_media, request_fields, thinking
from conch_ollama.runtimes.llama_events import Answer, Whole
from conch_ollama.runtimes.llama_messages import MessageStream, completed_message
from conch_ollama.runtimes.llama_responses import Frame, ResponseStream
from conch_ollama.runtimes.tool_choice import only

#: llama.cpp's name of a parameter -> Anthropic's.
_ANTHROPIC = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "stop": "stop_sequences",
}


MESSAGES = "/v1/messages"


@dataclass(frozen=True)
class Asked:
    """The model that is asked. `options`: its Modelfile parameters, `lora`: the adapters that its worker is told."""

    name: str
    num_ctx: int
    options: Mapping[str, Any]
    system: str = ""
    lora: Sequence[Mapping[str, Any]] | None = None


_Made = tuple[dict[str, Any], Answer]


def forwarded(path: str, body: Mapping[str, Any], model: Asked) -> tuple[bytes, Answer]:
    """What is sent to `path`, and what becomes of the answer's pieces.

    Raises NotSupportedError for a path that llama.cpp does not have, RuntimeRefusedError for what it would leave out
    without a word.
    """
    make = _DOORS.get(path)
    if make is None:
        raise NotSupportedError(f"llama.cpp has no {path}")
    request, answer = make(body, model)
    return encode({**request, "model": model.name}), answer


def _response(body: Mapping[str, Any], model: Asked) -> _Made:
    refuse_media(body.get("input"))
    request = request_fields(body, model.options, model.lora)
    request["stream"] = bool(body.get("stream"))
    given = request.get("input")
    items = given if isinstance(given, list) else []
    if model.system and not request.get("instructions") and not any(map(_is_system, items)):
        request["instructions"] = model.system
    limit = request.get("max_output_tokens", request.get("max_tokens"))
    frame = Frame(
        model.name,
        dict(request),
        limit if isinstance(limit, int) and limit >= 0 else None,
        model.num_ctx,
        int(time.time()),
    )
    if items:
        request["input"] = [_said(item) for item in items]
    if body.get("think") is not None:
        request |= thinking(request, body["think"])
    text = request.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(wanted, Mapping):
        request.setdefault("response_format", {"type": wanted.get("type"), "json_schema": wanted})
    choice = request.get("tool_choice")
    if isinstance(choice, Mapping):
        request |= _chosen(request.get("tools"), choice)
    return request, ResponseStream(frame) if request["stream"] else Whole(frame.completed)


def _is_system(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("role") in ("system", "developer")


def _said(item: Any) -> Any:
    """llama.cpp knows what an assistant said only where it is called a message."""
    if isinstance(item, Mapping) and item.get("role") == "assistant":
        return {"type": "message", **item}
    return item


def _chosen(tools: Any, choice: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's tool_choice where it is no word."""
    kind = choice.get("type")
    if kind == "function":
        return {"tools": only(tools, [choice.get("name")]), "tool_choice": "required"}
    if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
        names = [tool.get("name") for tool in choice["tools"] if isinstance(tool, Mapping)]
        return {"tools": only(tools, names), "tool_choice": choice.get("mode") or "auto"}
    raise RuntimeRefusedError(f"llama.cpp has no tools of the kind {kind}")


def _message(body: Mapping[str, Any], model: Asked) -> _Made:
    refuse_media(body.get("messages"))
    config = body.get("output_config")
    if body.get("output_format") or (isinstance(config, Mapping) and config.get("format")):
        raise RuntimeRefusedError(
            "llama.cpp binds no answer to a schema in Anthropic's dialect", hint="/v1/responses and chats can"
        )
    known = request_fields({"options": body.get("options")}, model.options, None)
    request = {theirs: known[ours] for ours, theirs in _ANTHROPIC.items() if ours in known}
    request |= {key: value for key, value in body.items() if value is not None}
    if model.system and not request.get("system"):
        request["system"] = model.system
    thought = request.get("thinking")
    think = thought.get("type") != "disabled" if isinstance(thought, Mapping) else body.get("think")
    if think is not None:
        request |= thinking(request, think)
    choice = request.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "none":
        request |= {"tools": []}
    elif isinstance(choice, Mapping) and kind == "tool":
        request |= {"tools": only(request.get("tools"), [choice.get("name")])}
    if request.get("stream"):
        return request, MessageStream(model.name)
    return request, Whole(lambda message: completed_message(message, model.name))


def _response_tokens(body: Mapping[str, Any], model: Asked) -> _Made:
    return _response(body, model)[0], Whole()


def _message_tokens(body: Mapping[str, Any], model: Asked) -> _Made:
    return _message(body, model)[0], Whole()


#: Path -> what makes a request for it.
_DOORS: dict[str, Callable[[Mapping[str, Any], Asked], _Made]] = {
    "/v1/responses": _response,
    "/v1/responses/input_tokens": _response_tokens,
    MESSAGES: _message,
    f"{MESSAGES}/count_tokens": _message_tokens,
}
