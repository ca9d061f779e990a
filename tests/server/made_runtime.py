"""A runtime of the protocol that says what it is told to: for what a real model can't be made to do on purpose."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from conch_ollama.errors import NotFoundError, NotSupportedError
from conch_ollama.runtimes.protocol import Body, Chunk, Embeddings, Health, ModelCard, Take

USAGE = {"input_tokens": 5, "output_tokens": 3}
Script = Callable[[str, Body], AsyncGenerator[Chunk, None]]


class MadeRuntime:
    """Answers `words`, one chunk each, `pause_s` apart; notes what it was asked and whether it was stopped.

    While `go_on` is clear, an answer waits before its last word: for what must happen while it runs.
    """

    kind = "made"

    def __init__(self, *names: str, words: Sequence[str] = ("Hello", " you"), pause_s: float = 0.0) -> None:
        self.cards = [
            ModelCard(
                name,
                architecture="llama",
                parameters=1000,
                context_length=2048,
                embedding_length=3,
                digest="ab" * 32,
                capabilities=frozenset({"completion", "tools", "embedding"}),
            )
            for name in names or ("made",)
        ]
        self.words = words
        self.pause_s = pause_s
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.forwarded: list[tuple[str, dict[str, Any]]] = []
        self.running = 0
        self.most = 0
        self.stopped = 0
        self.taken = 0
        self.closed = False
        self.loaded: dict[str, float] = {}
        self.script: Script | None = None

    async def models(self) -> list[ModelCard]:
        return self.cards

    async def chat(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        self.asked.append((model, dict(body)))
        if model not in {card.name for card in self.cards}:
            raise NotFoundError(f"no model {model}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async for chunk in (self.script or self._say)(model, body):
                if take is not None and _to_offer(chunk) and take((chunk,)):
                    self.taken += 1
                else:
                    yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
        finally:
            self.running -= 1

    async def _say(self, model: str, body: Body) -> AsyncGenerator[Chunk, None]:
        identity = f"chatcmpl-{len(self.asked)}"
        for number, word in enumerate(self.words):
            await asyncio.sleep(self.pause_s)
            while number == len(self.words) - 1 and not self.go_on.is_set():
                await asyncio.sleep(0.01)
            role = {"role": "assistant"} if number == 0 else {}
            yield chunk(model, role | {"content": word}, identity=identity)
        yield chunk(model, {}, finish="stop", identity=identity)
        count = len(self.words)
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
        yield Chunk.of({**_head(model, identity), "choices": [], "usage": usage})

    async def complete(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        as_texts = None if take is None else lambda some: take([_as_text(one) for one in some])
        async for made in self.chat(model, body, as_texts):
            yield _as_text(made)

    async def embed(self, model: str, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
        return Embeddings([[float(len(text)), 0.5, -1.25] for text in inputs], sum(len(text) for text in inputs))

    async def forward(self, model: str, path: str, body: Body) -> AsyncGenerator[bytes, None]:
        self.forwarded.append((path, dict(body)))
        if path != "/v1/responses":
            raise NotSupportedError(f"no {path} here")

        async def passed_on() -> AsyncGenerator[bytes, None]:
            yield json.dumps({"id": "resp-made", "model": model, "output": [], "usage": USAGE}).encode()

        return passed_on()

    async def load(self, model: str, keep_alive: float | None = None) -> None:
        self.loaded[model] = time.time() + (keep_alive or 300)

    async def unload(self, model: str) -> None:
        self.loaded.pop(model, None)

    async def health(self) -> Health:
        return Health(not self.closed, loaded=self.loaded)

    async def close(self) -> None:
        self.closed = True


def _as_text(chunk: Chunk) -> Chunk:
    """The chunk of a plain completion for one of a chat."""
    choices = [
        {"index": 0, "text": choice["delta"].get("content", ""), "finish_reason": choice["finish_reason"]}
        for choice in chunk.data["choices"]
    ]
    return Chunk.of({**chunk.data, "object": "text_completion", "choices": choices})


def _to_offer(chunk: Chunk) -> bool:
    """Whether it ends nothing."""
    return "usage" not in chunk.data and not any(choice.get("finish_reason") for choice in chunk.data["choices"])


def _head(model: str, identity: str = "chatcmpl-made") -> dict[str, Any]:
    return {"id": identity, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}


def chunk(
    model: str, delta: dict[str, Any], *, finish: str | None = None, identity: str = "chatcmpl-made", **more: Any
) -> Chunk:
    """A chunk with one choice."""
    return Chunk.of(
        {**_head(model, identity), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    )
