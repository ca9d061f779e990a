"""Ollama's stream as OpenAI's chunks: a role first, pieces, a finish of its own, the usage last.

One `id` and one `created` throughout. Ollama's times come along under `timings`, in llama.cpp's words (milliseconds).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from conch_ollama.errors import NotSupportedError, RuntimeFailedError
from conch_ollama.runtimes.protocol import Chunk

_MS = 1e-6


class OllamaAnswer:
    """Turns the lines of one answer into chunks. `kind`: "chat" for /api/chat, "text" for /api/generate; `logprobs`:
    whether logarithms were asked for."""

    def __init__(self, model: str, kind: str, *, logprobs: bool = False) -> None:
        self._chat = kind == "chat"
        self._unproven = logprobs
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{secrets.token_urlsafe(18)}",
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._begun = False
        self._heard = False
        self._calls = 0
        self.ended = False

    def chunks(self, line: bytes) -> Iterator[Chunk]:
        """Chunks of one line. Raises RuntimeFailedError for an error in it, and for what is no JSON; NotSupportedError
        for an answer without the logarithms that were asked for: older versions leave them out without a word."""
        try:
            part = json.loads(line)
        except ValueError as err:
            raise RuntimeFailedError("Ollama sent a line that is no JSON") from err
        if "error" in part:
            raise RuntimeFailedError(f"Ollama broke off its answer: {part['error']}")
        self._heard = True
        seen = part.get("logprobs")
        said = (part.get("message") or {}).get("content") if self._chat else part.get("response")
        if self._unproven and said and not seen:
            raise NotSupportedError("this version of Ollama gives no logprobs; 0.12.11 and later ones do")
        self._unproven = self._unproven and not seen
        made = self._deltas(part["message"]) if self._chat else self._texts(part.get("response", ""))
        yield from self._with_logprobs(list(made), seen) if seen else made
        if part.get("done"):
            self.ended = True
            yield from self._end(part)

    def cut_off(self) -> Iterator[Chunk]:
        """The end of an answer that stopped without one: Ollama does so to a model that says the same token, or only
        blanks, more than 30 times over. Raises RuntimeFailedError where nothing came before."""
        if not self._heard:
            raise RuntimeFailedError("Ollama ended its answer before it began")
        yield self._finish("length")

    def _with_logprobs(self, chunks: list[Chunk], seen: list[Mapping[str, Any]]) -> Iterator[Chunk]:
        """The logarithms of a line in the last of its chunks."""
        *before, last = chunks or [self._choice({"delta": {}} if self._chat else {"text": ""})]
        yield from before
        (choice,) = last.data["choices"]
        yield Chunk.of({**last.data, "choices": [{**choice, "logprobs": {"content": seen}}]})

    def _deltas(self, message: Mapping[str, Any]) -> Iterator[Chunk]:
        if not self._begun:
            self._begun = True
            yield self._choice({"delta": {"role": "assistant", "content": ""}})
        if message.get("thinking"):
            yield self._choice({"delta": {"reasoning_content": message["thinking"]}})
        if message.get("content"):
            yield self._choice({"delta": {"content": message["content"]}})
        for call in message.get("tool_calls") or ():
            function = call["function"]
            made = {
                "index": self._calls,
                "id": call.get("id") or f"call_{secrets.token_hex(8)}",
                "type": "function",
                "function": {
                    "name": function["name"],
                    "arguments": json.dumps(function.get("arguments") or {}, ensure_ascii=False),
                },
            }
            self._calls += 1
            yield self._choice({"delta": {"tool_calls": [made]}})

    def _texts(self, text: str) -> Iterator[Chunk]:
        if text:
            yield self._choice({"text": text, "logprobs": None})

    def _choice(self, choice: Mapping[str, Any], finish: str | None = None) -> Chunk:
        return Chunk.of({**self._head, "choices": [{"index": 0, **choice, "finish_reason": finish}]})

    def _finish(self, reason: str) -> Chunk:
        empty: dict[str, Any] = {"delta": {}} if self._chat else {"text": "", "logprobs": None}
        return self._choice(empty, "tool_calls" if self._calls else reason)

    def _end(self, part: Mapping[str, Any]) -> Iterator[Chunk]:
        yield self._finish("length" if part.get("done_reason") == "length" else "stop")
        prompt, said = int(part.get("prompt_eval_count", 0)), int(part.get("eval_count", 0))
        yield Chunk.of(
            {
                **self._head,
                "choices": [],
                "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said},
                "timings": {
                    "prompt_n": prompt,
                    "prompt_ms": part.get("prompt_eval_duration", 0) * _MS,
                    "predicted_n": said,
                    "predicted_ms": part.get("eval_duration", 0) * _MS,
                    "load_ms": part.get("load_duration", 0) * _MS,
                },
            }
        )
