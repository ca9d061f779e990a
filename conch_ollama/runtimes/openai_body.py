"""Requests for a server that speaks OpenAI's dialect: what is not of it is mapped into it or left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Ollama's options -> OpenAI's fields; the second set only for servers that take more than OpenAI does.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "num_predict": "max_tokens",
}
_MORE_OPTIONS = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}
_OURS = frozenset({"think", "keep_alive", "options", "lora", "model", "stream", "stream_options"})
_EFFORTS = frozenset({"low", "medium", "high"})


def request_for(model: str, body: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Body of a stream with its usage. `strict`: the server refuses fields that OpenAI does not have."""
    own = {key: value for key, value in body.items() if key not in _OURS and value is not None}
    options = body.get("options")
    names = _OPTIONS if strict else {**_OPTIONS, **_MORE_OPTIONS}
    mapped = {
        names[key]: value
        for key, value in (options.items() if isinstance(options, Mapping) else ())
        if key in names and value is not None and not (key == "num_predict" and (not _positive(value)))
    }
    if "max_completion_tokens" in own:
        mapped.pop("max_tokens", None)
    request = {**mapped, **own, "model": model, "stream": True, "stream_options": {"include_usage": True}}
    think = body.get("think")
    if think is not None and strict:
        if think in _EFFORTS:
            request.setdefault("reasoning_effort", think)
    elif think is not None:
        kwargs = own.get("chat_template_kwargs")
        request["chat_template_kwargs"] = {
            "enable_thinking": think is not False,
            **({"reasoning_effort": think} if think in _EFFORTS else {}),
            **(kwargs if isinstance(kwargs, Mapping) else {}),
        }
    return request


def _positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0
