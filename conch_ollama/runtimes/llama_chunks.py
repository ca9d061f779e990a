"""llama.cpp's stream, put right without parsing it: the model's name, one time of creation throughout, and one usage at
the end, where of several answers at once each has its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator

from conch_ollama.runtimes.one_time import OneTime
from conch_ollama.runtimes.protocol import Chunk

_USAGE = b'"usage":{'


def with_name(raw: bytes, alias: str, name: str) -> bytes:
    """An answer of another dialect with the model's own name in it."""
    return raw.replace(f'"model":{json.dumps(alias)}'.encode(), f'"model":{json.dumps(name)}'.encode())


async def chat_chunks(data: AsyncIterator[bytes], alias: str, name: str) -> AsyncGenerator[Chunk, None]:
    """Chunks of a chat."""
    async for chunk in _usage_last(_named(data, alias, name)):
        yield chunk


async def completion_chunks(data: AsyncIterator[bytes], alias: str, name: str) -> AsyncGenerator[Chunk, None]:
    """Chunks of a plain completion; the usage, which llama.cpp puts into the last one, in one of its own."""
    async for chunk in _usage_last(_usage_apart(_named(data, alias, name))):
        yield chunk


async def _named(data: AsyncIterator[bytes], alias: str, name: str) -> AsyncGenerator[Chunk, None]:
    before, after = (f'"model":{json.dumps(text)}'.encode() for text in (alias, name))
    time = OneTime()
    async for raw in data:
        yield Chunk(time.into(raw).replace(before, after, 1))


async def _usage_last(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    """The prompt is read once, the answers' tokens are added up."""
    last: Chunk | None = None
    async for chunk in chunks:
        if _USAGE not in chunk.raw or chunk.data.get("choices"):
            yield chunk
        elif last is None:
            last = chunk
        else:
            before, usage = last.data["usage"], chunk.data["usage"]
            said = before["completion_tokens"] + usage["completion_tokens"]
            added = {"completion_tokens": said, "total_tokens": usage["prompt_tokens"] + said}
            last = Chunk.of({**chunk.data, "usage": {**usage, **added}})
    if last is not None:
        yield last


async def _usage_apart(chunks: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    async for chunk in chunks:
        if _USAGE not in chunk.raw or not chunk.data.get("choices"):
            yield chunk
            continue
        last = dict(chunk.data)
        rest: dict[str, object] = {key: last.pop(key) for key in ("usage", "timings") if key in last}
        yield Chunk.of(last)
        yield Chunk.of({**last, "choices": [], **rest})
