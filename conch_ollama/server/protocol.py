"""uvicorn, bettered: a deadline for the head of a request, the head of an answer sent together with what it begins
with, and a shim that knows at once when it is ending.

uvicorn by itself limits the time between requests only: a client that dribbles a head holds its connection for ever.
And it sends heads on their own, each of which wakes the client for nothing.
"""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from conch_ollama.server.shim import Shim

HEAD_S = 15.0


class PatientProtocol(H11Protocol):
    """H11Protocol that closes a connection whose first or next request's head is not whole after HEAD_S seconds."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WithHeads(transport, self.loop))  # type: ignore[arg-type]
        self._deadline = self.loop.call_later(HEAD_S, self._too_late)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
            self._deadline = self.loop.call_later(HEAD_S, self._too_late)
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._forget_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.transport.close()


class _WithHeads:
    """A transport that holds the head of an answer until the end of this turn of the loop, so that what is written
    next goes with it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held:
            self._held.append(data)
        elif data.startswith(b"HTTP/1.1 "):
            self._held.append(data)
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._held:
            data, self._held = b"".join(self._held), []
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()


class DrainingServer(uvicorn.Server):
    """Tells the shim of the signal that ends it, before connections are closed one by one."""

    def __init__(self, config: uvicorn.Config, shim: Shim) -> None:
        super().__init__(config)
        self._shim = shim

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._shim.draining = True
        super().handle_exit(sig, frame)
