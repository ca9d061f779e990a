"""Answers of llama.cpp's other dialects on their way to the client: cut into events, or kept until they are whole.

Pure. What becomes of an event or a whole answer is the dialect's own business: llama_responses.py, llama_messages.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from conch_ollama.runtimes.protocol import compact


class Answer(Protocol):
    """What the pieces of one answer become: `feed` each, then `end`. Raise what llama.cpp says went wrong."""

    def feed(self, piece: bytes) -> bytes:
        """What can be handed on now; nothing, where a piece ends too early."""
        ...

    def end(self) -> bytes:
        """What could only be said now."""
        ...


class Stream:
    """A stream of events. `event`: one of them, without its blank line, as it is handed on, with it."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, piece: bytes) -> bytes:
        *events, self._pending = (self._pending + piece).split(b"\n\n")
        return b"".join([self.event(event) for event in events])

    def end(self) -> bytes:
        return self.event(self._pending) if self._pending else b""

    def event(self, event: bytes) -> bytes:
        raise NotImplementedError


class Whole:
    """One JSON object. `change`: what is made of it, None: nothing."""

    def __init__(self, change: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None) -> None:
        self._change = change
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> bytes:
        if self._change is None:
            return piece
        self._pieces.append(piece)
        return b""

    def end(self) -> bytes:
        return b"" if self._change is None else compact(self._change(json.loads(b"".join(self._pieces))))
