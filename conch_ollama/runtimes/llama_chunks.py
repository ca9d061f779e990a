"""llama.cpp's stream, put right without parsing it: the model's name, one time of creation throughout, and one usage at
the end, where of several answers at once each has its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from conch_ollama.runtimes.llama_texts import Texts
from conch_ollama.runtimes.one_time import OneTime
from conch_ollama.runtimes.protocol import Chunk

_USAGE = b'"usage":{'


class Chunks(Protocol):
    """What the events of one answer become: `feed` the data of each, then `end`."""

    def feed(self, data: bytes) -> Sequence[Chunk]:
        """The chunks of one event."""
        ...

    def text(self, piece: bytes) -> Chunk | None:
        """The chunk for a piece of the stream that is one event, of text and nothing besides, like the last one."""
        ...

    def end(self) -> Sequence[Chunk]:
        """What could only be said now."""
        ...


class ChatChunks:
    """Chunks of a chat. The usage comes last: the prompt is read once, the answers' tokens are added up."""

    def __init__(self, alias: str, name: str) -> None:
        self._before, self._after = (f'"model":{json.dumps(text)}'.encode() for text in (alias, name))
        self._time = OneTime()
        self._texts = Texts()
        self._last: Chunk | None = None

    def feed(self, data: bytes) -> Sequence[Chunk]:
        chunk = Chunk(self._time.into(data).replace(self._before, self._after, 1))
        if _USAGE not in data:
            self._texts.learn(data, chunk.raw)
            return (chunk,)
        return [one for one in self._apart(chunk) if not self._kept(one)]

    def text(self, piece: bytes) -> Chunk | None:
        made = self._texts.like(piece)
        return None if made is None else Chunk(made)

    def end(self) -> Sequence[Chunk]:
        return () if self._last is None else (self._last,)

    def _apart(self, chunk: Chunk) -> Sequence[Chunk]:
        return (chunk,)

    def _kept(self, chunk: Chunk) -> bool:
        """Whether it is a usage, which is kept for the end."""
        if _USAGE not in chunk.raw or chunk.data.get("choices"):
            return False
        if self._last is not None:
            before, usage = self._last.data["usage"], chunk.data["usage"]
            said = before["completion_tokens"] + usage["completion_tokens"]
            added = {"completion_tokens": said, "total_tokens": usage["prompt_tokens"] + said}
            chunk = Chunk.of({**chunk.data, "usage": {**usage, **added}})
        self._last = chunk
        return True


class CompletionChunks(ChatChunks):
    """Chunks of a plain completion; the usage, which llama.cpp puts into the last one, in one of its own."""

    def _apart(self, chunk: Chunk) -> Sequence[Chunk]:
        if not chunk.data.get("choices"):
            return (chunk,)
        last = dict(chunk.data)
        rest: dict[str, object] = {key: last.pop(key) for key in ("usage", "timings") if key in last}
        return (Chunk.of(last), Chunk.of({**last, "choices": [], **rest}))
