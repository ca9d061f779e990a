"""Requests in OpenAI's dialect as Ollama's own API wants them: options, format, think, messages with images and tools.

Pure. Source: Ollama's docs/api.md, and its server at v0.9.3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes.messages import checked_messages

#: Field of OpenAI's (or llama.cpp's) request -> Ollama's option.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
_INTEGERS = frozenset({"top_k", "seed", "num_predict", "repeat_last_n", "num_ctx", "num_keep", "num_thread", "num_gpu"})
_FLOATS = frozenset(_OPTIONS.values()) - _INTEGERS


def chat_request(model: str, body: Mapping[str, Any], *, thinks: bool) -> dict[str, Any]:
    """Body of /api/chat. `thinks`: whether the model can; without it a wish that has no meaning is left out."""
    _refuse_what_it_leaves_out(body)
    request: dict[str, Any] = {
        "model": model,
        "messages": _messages(body.get("messages")),
        "stream": True,
        "options": options(body),
    }
    tools = body.get("tools")
    if tools and body.get("tool_choice") != "none":
        request["tools"] = tools
    request |= _common(body) | _logprobs(body.get("logprobs"), body.get("top_logprobs"))
    think = _think(body, thinks)
    if think is not None:
        request["think"] = think
    return request


def generate_request(model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Body of /api/generate: the prompt as it is (`raw`); with a `suffix` through the model's TEMPLATE, which alone
    knows how a gap is written."""
    _refuse_what_it_leaves_out(body)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise RuntimeRefusedError("Ollama takes a prompt as text, not as token ids")
    suffix = body.get("suffix")
    request = {"model": model, "prompt": prompt, "stream": True, "options": options(body), **_common(body)}
    logprobs = body.get("logprobs")
    request |= _logprobs(logprobs is not None, logprobs)
    return {**request, "suffix": suffix} if suffix else {**request, "raw": True}


def _refuse_what_it_leaves_out(body: Mapping[str, Any]) -> None:
    if any(body.get(name) not in {None, 1} for name in ("n", "best_of")):
        raise RuntimeRefusedError("Ollama gives one answer to a request: n and best_of must be 1")
    for name in ("logit_bias", "echo"):
        if body.get(name):
            raise RuntimeRefusedError(f"Ollama has no {name}")


def _logprobs(wanted: Any, top: Any) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": top or 0} if wanted else {}


def options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Ollama's `options`: those given as such, and OpenAI's fields, which win."""
    given = body.get("options")
    found = dict(given) if isinstance(given, Mapping) else {}
    for field, option in _OPTIONS.items():
        value = body.get(field)
        if value is not None:
            found[option] = [value] if option == "stop" and isinstance(value, str) else value
    for option, value in found.items():
        _check_option(option, value)
    if found.get("num_predict") == 0:
        found["num_predict"] = 1  # as llama.cpp takes it; Ollama 0.9.3 takes it for no limit at all, not even its own
    return found


def _check_option(option: str, value: Any) -> None:
    """Ollama calls a wrong type a fault of its own (HTTP 500)."""
    if option == "stop":
        fits = isinstance(value, list) and all(isinstance(text, str) for text in value)
    elif option in _INTEGERS:
        fits = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    elif option in _FLOATS:
        fits = isinstance(value, int | float)
    else:
        return
    if not fits or isinstance(value, bool):
        raise RuntimeRefusedError(f"{option} has a value of the wrong type: {str(value)[:40]}")


def _common(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = body.get("response_format")
    wanted = given if isinstance(given, Mapping) else {}
    kind = wanted.get("type")
    if kind == "json_object":
        found["format"] = wanted.get("schema") or "json"
    elif kind == "json_schema":
        schema = wanted.get("json_schema")
        found["format"] = schema.get("schema", "json") if isinstance(schema, Mapping) else "json"
    if body.get("keep_alive") is not None:
        found["keep_alive"] = body["keep_alive"]
    return found


def _think(body: Mapping[str, Any], thinks: bool) -> Any:
    if body.get("think") is not None:
        return body["think"]
    if not thinks:
        return None
    kwargs = body.get("chat_template_kwargs")
    if isinstance(kwargs, Mapping) and isinstance(kwargs.get("enable_thinking"), bool):
        return kwargs["enable_thinking"]
    effort = body.get("reasoning_effort")
    return None if effort is None else effort != "none"


def _messages(messages: Any) -> list[dict[str, Any]]:
    called: dict[str, str] = {}
    return [_message(message, called) for message in checked_messages(messages)]


def _message(message: Mapping[str, Any], called: dict[str, str]) -> dict[str, Any]:
    """One message; `called`: id of a tool call -> name of the tool, from the messages before."""
    role = "system" if message["role"] == "developer" else message["role"]
    text, images = _content(message.get("content"))
    found: dict[str, Any] = {"role": role, "content": text}
    if images:
        found["images"] = images
    thought = message.get("reasoning_content")
    if isinstance(thought, str) and thought:
        found["thinking"] = thought
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        found["tool_calls"] = [_call(call, called) for call in calls]
    if role == "tool":
        name = message.get("name") or called.get(str(message.get("tool_call_id")))
        if name:
            found["tool_name"] = name
    return found


def _content(content: Any) -> tuple[str, list[str]]:
    """Text and images (base64) of a message. Parts of text are joined by line feeds, as llama.cpp does it."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    texts, images = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url":
            images.append(_image(part.get("image_url")))
        else:
            raise RuntimeRefusedError(f"Ollama takes parts of text and images, not {kind}")
    return "\n".join(texts), images


def _image(image: Any) -> str:
    url = image.get("url") if isinstance(image, Mapping) else image
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise RuntimeRefusedError("Ollama takes images as data URLs in base64; it fetches none")
    return data


def _call(call: Any, called: dict[str, str]) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RuntimeRefusedError("each tool call must have a function with a name")
    called[str(call.get("id"))] = function["name"]
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as err:
            raise RuntimeRefusedError(f"the arguments of the call of {function['name']} are no JSON") from err
    if not isinstance(arguments, Mapping | None):
        raise RuntimeRefusedError(f"the arguments of the call of {function['name']} are no JSON object")
    return {"function": {"name": function["name"], "arguments": dict(arguments or {})}}


def texts_only(inputs: Sequence[str | Sequence[int]]) -> list[str]:
    """Inputs of an embedding, which Ollama takes as texts."""
    texts = [text for text in inputs if isinstance(text, str)]
    if len(texts) != len(inputs):
        raise RuntimeRefusedError("Ollama takes texts to embed, not token ids")
    return texts
