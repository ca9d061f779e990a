"""Log probabilities of tokens: OpenAI's two shapes, that of chats and that of plain completions, and Ollama's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any


def ollama_logprobs(choice: Mapping[str, Any], top: int) -> list[dict[str, Any]]:
    """Those in a choice of a chunk, `top` others with each (0: none). A chat's shape (`content`) and the older one of
    plain completions (`tokens`, `token_logprobs`, `top_logprobs`) are known."""
    found = choice.get("logprobs")
    if not isinstance(found, Mapping):
        return []
    if isinstance(found.get("content"), list):
        return [
            _with_top(_token(one), [_token(other) for other in one.get("top_logprobs") or ()], top)
            for one in found["content"]
        ]
    made = []
    others = found.get("top_logprobs") or []
    for at, (token, value) in enumerate(
        zip(found.get("tokens") or (), found.get("token_logprobs") or (), strict=False)
    ):
        near = others[at] if at < len(others) and isinstance(others[at], Mapping) else {}
        ranked = sorted(near.items(), key=lambda item: -item[1])
        made.append(_with_top(_bare(token, value), [_bare(*other) for other in ranked], top))
    return made


def _with_top(made: dict[str, Any], others: list[dict[str, Any]], top: int) -> dict[str, Any]:
    return made | ({"top_logprobs": others[:top]} if top else {})


def _token(one: Mapping[str, Any]) -> dict[str, Any]:
    made = _bare(str(one.get("token", "")), one.get("logprob"))
    return made | ({"bytes": one["bytes"]} if one.get("bytes") else {})


def _bare(token: str, value: Any) -> dict[str, Any]:
    return {"token": token, "logprob": value or 0.0, "bytes": list(token.encode("utf-8", "replace"))}


def plain_logprobs(found: Mapping[str, Any] | None, offset: int = 0) -> dict[str, Any] | None:
    """Those of a plain completion, which llama.cpp tells in the shape of chats. `offset`: characters said before."""
    if found is None or not isinstance(found.get("content"), list):
        return None if found is None else dict(found)
    tokens = [str(one.get("token", "")) for one in found["content"]]
    return {
        "tokens": tokens,
        "token_logprobs": [one.get("logprob") for one in found["content"]],
        "top_logprobs": [
            {str(other.get("token", "")): other.get("logprob") for other in one.get("top_logprobs") or ()}
            for one in found["content"]
        ],
        "text_offset": list(accumulate(map(len, tokens[:-1]), initial=offset)) if tokens else [],
    }
