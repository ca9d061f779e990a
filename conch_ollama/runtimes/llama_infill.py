"""A gap between two texts, filled in by llama.cpp's /infill, whose own dialect becomes OpenAI's text completion.

Which models can is said by the tokens of their vocabulary: llama.cpp knows them by their texts.
"""

from __future__ import annotations

import json
import secrets
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.runtimes.llama_body import completion_fields, encode
from conch_ollama.runtimes.protocol import Chunk

#: Prefix, suffix and middle, by family. Source: llama.cpp's src/llama-vocab.cpp.
_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
)


def has_gap_tokens(header: bytes) -> bool:
    """Whether a GGUF's header holds, as strings of their own, the three tokens of one family."""
    return any(all(_as_string(token) in header for token in tokens) for tokens in _TOKENS)


def _as_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def infill_request(
    body: Mapping[str, Any], *, options: Mapping[str, Any], lora: Sequence[Mapping[str, Any]] | None = None
) -> bytes:
    """Body of /infill for a text completion with a `suffix`."""
    request = completion_fields(body, options, lora)
    request |= {"input_prefix": request.pop("prompt"), "input_suffix": request.pop("suffix")}
    logprobs = request.pop("logprobs", None)
    return encode(request | ({"n_probs": logprobs} if logprobs else {}))


class InfillChunks:
    """Chunks of a text completion; the usage in one of its own."""

    def __init__(self, name: str) -> None:
        self._head = {
            "id": f"cmpl-{secrets.token_urlsafe(18)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": name,
        }

    def feed(self, data: bytes) -> Sequence[Chunk]:
        part = json.loads(data)
        finish = None
        if part.get("stop"):
            finish = "length" if part.get("stop_type") == "limit" else "stop"
        seen = part.get("completion_probabilities")
        choice = {"text": part.get("content", ""), "index": 0, "logprobs": {"content": seen} if seen else None}
        found = []
        if finish is None or choice["text"]:
            found.append(self._chunk(choice | {"finish_reason": None}))
        if finish is not None:
            read, said = int(part.get("tokens_evaluated", 0)), int(part.get("tokens_predicted", 0))
            usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
            found.append(self._chunk({"text": "", "index": 0, "logprobs": None, "finish_reason": finish}))
            found.append(Chunk.of({**self._head, "choices": [], "usage": usage, "timings": part.get("timings") or {}}))
        return found

    def text(self, piece: bytes) -> Chunk | None:
        return None

    def end(self) -> Sequence[Chunk]:
        return ()

    def _chunk(self, choice: Mapping[str, Any]) -> Chunk:
        return Chunk.of({**self._head, "choices": [choice]})
