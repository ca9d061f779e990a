"""Requests in OpenAI's dialect as llama.cpp's server wants them: defaults of the model, Ollama's names, its own extras.

Pure. What is wrong in a request is left for llama.cpp to refuse, but for what it would call its own fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes.messages import checked_messages
from conch_ollama.runtimes.tool_choice import only

#: Modelfile parameter -> field of a request to llama.cpp.
_OPTIONS = {
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
    "seed": "seed",
    "stop": "stop",
}
#: Kinds of a message's parts: OpenAI's, those of its newer dialect, Anthropic's.
_MEDIA = frozenset(
    {"image_url", "input_audio", "input_video", "file", "input_image", "input_file", "image", "document"}
)
#: Ours or Ollama's, never llama.cpp's; `lora` is chosen by the model's name, not by the client.
_OURS = frozenset({"think", "keep_alive", "options", "lora", "model", "stream", "stream_options"})


def chat_request(
    body: Mapping[str, Any],
    *,
    options: Mapping[str, Any],
    system: str = "",
    lora: Sequence[Mapping[str, Any]] | None = None,
) -> bytes:
    """Body of /v1/chat/completions. `options`: the model's Modelfile parameters, for what the request leaves open."""
    request = request_fields(body, options, lora)
    messages = checked_messages(request.get("messages"))
    refuse_media(messages)
    if system and messages[0]["role"] != "system":
        request["messages"] = [{"role": "system", "content": system}, *messages]
    if body.get("think") is not None:
        request |= thinking(request, body["think"])
    choice = request.get("tool_choice")
    if isinstance(choice, dict):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, dict) else None
        request |= {"tools": only(request.get("tools"), [named]), "tool_choice": "required"}
    if request.get("logprobs"):
        # Of none besides llama.cpp would not even tell the token's own.
        request["top_logprobs"] = request.get("top_logprobs") or 1
    if "max_completion_tokens" in request:
        request["max_tokens"] = request.pop("max_completion_tokens")
    return encode(request)


def thinking(request: Mapping[str, Any], think: Any) -> dict[str, Any]:
    """The field that tells a template whether to think, and how hard where `think` is a word; what `request` tells it
    itself stands."""
    kwargs: dict[str, Any] = {"enable_thinking": think is not False}
    if isinstance(think, str):
        kwargs |= {"reasoning_effort": think}
    given = request.get("chat_template_kwargs")
    return {"chat_template_kwargs": {**kwargs, **(given if isinstance(given, dict) else {})}}


def completion_request(
    body: Mapping[str, Any], *, options: Mapping[str, Any], lora: Sequence[Mapping[str, Any]] | None = None
) -> bytes:
    """Body of /v1/completions."""
    return encode(completion_fields(body, options, lora))


def completion_fields(
    body: Mapping[str, Any], options: Mapping[str, Any], lora: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """What a plain completion is asked with. `response_format`, which llama.cpp reads in chats only, as a schema.

    Raises RuntimeRefusedError for what llama.cpp would leave out without a word.
    """
    request = request_fields(body, options, lora)
    if request.get("echo") or request.get("best_of") not in {None, 1}:
        raise RuntimeRefusedError("llama.cpp knows neither echo nor best_of")
    if request.get("logprobs") == 0:
        request["logprobs"] = 1  # as in chats
    wanted = request.pop("response_format", None)
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if isinstance(wanted, dict) and kind in {"json_object", "json_schema"}:
        given = wanted if kind == "json_object" else wanted.get("json_schema")
        schema = given.get("schema") if isinstance(given, dict) else None
        request.setdefault("json_schema", schema or {"type": "object"})
    return request


def encode(request: Mapping[str, Any]) -> bytes:
    """The request as JSON. In ASCII where it holds half a surrogate pair, which then is llama.cpp's to refuse."""
    try:
        return to_json(request)
    except ValueError:
        return json.dumps(request).encode("ascii")


def request_fields(
    body: Mapping[str, Any], options: Mapping[str, Any], lora: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """What is asked in any dialect but Anthropic's, where the request is silent with the model's own parameters."""
    # OpenAI's clients send null for what they leave open.
    own = {key: value for key, value in body.items() if key not in _OURS and value is not None}
    ollama = body.get("options")
    request = {**_mapped(options), **(_mapped(ollama) if isinstance(ollama, dict) else {}), **own}
    request |= {"stream": True, "stream_options": {"include_usage": True}}
    if lora is not None:
        request["lora"] = list(lora)
    return request


def _mapped(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _OPTIONS[key]: list(value) if isinstance(value, tuple) else value
        for key, value in options.items()
        if key in _OPTIONS and value is not None
    }


def refuse_media(messages: Any) -> None:
    """llama.cpp without a projector calls an image its own fault (HTTP 500). `messages` of any of its dialects."""
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind in _MEDIA:
                raise RuntimeRefusedError(f"this model takes text only, not {kind}")
