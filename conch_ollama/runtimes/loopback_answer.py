"""An answer of our own worker on loopback, as its connection brings it: read by httptools (llhttp), piece by piece.

As little work for each piece as can be: a token costs microseconds here.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from collections.abc import Callable

import httptools

from conch_ollama.runtimes.one_wake import wait_for_any, wait_for_more

#: Bytes that wait for a reader before no more are taken in.
_LIMIT = 1 << 20
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class BrokenAnswerError(Exception):
    """The connection ended, or what came is no HTTP. Callers translate it."""


class NotListeningError(BrokenAnswerError):
    """Nobody took the connection, so nothing was begun."""


class LoopbackAnswer(asyncio.Protocol):
    """`status`, then the body: `piece()` by piece, or `read()` whole. `close` at any time: the server then stops.

    It is the connection's protocol itself; methods that begin with `on_` are httptools' to call. `prepare` is called
    when it is closed, for the next one. `made`: its socket.
    """

    def __init__(self, made: socket.socket, prepare: Callable[[], None]) -> None:
        self.status = 0
        self._made = made
        wait_for_more(made)  # until the first has come
        self._prepare = prepare
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._ended = False
        self._fault: str | None = None
        #: Is offered each piece of what is no error, while nothing waits before it; what it takes is not among those of
        #: `piece`.
        self.take: Callable[[bytes], bool] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._ended or self._fault is not None:
            return
        first = not self.status
        if first:
            self._head += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as err:
            self._fault = str(err) or type(err).__name__
        if self._pieces or self._ended or self._fault is not None:
            self._wake()
        if first:  # when what has come is on its way
            wait_for_any(self._made)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.status and _FRAMING.search(self._head) is None:
            self._ended = True  # its end is the body's
        if not self._ended:
            self._fault = self._fault or str(exc or "the connection ended before the answer")
        self._parser = None  # they hold each other
        self._wake()

    def on_headers_complete(self) -> None:
        if self._parser is not None:
            self.status = self._parser.get_status_code()
            if self.status >= 400:
                self.take = None
            self._head = self._head[: self._head.find(b"\r\n\r\n")]

    def on_body(self, body: bytes) -> None:
        waiter = self._waiter
        # Only while nothing that came before is still on its way.
        idle = waiter is not None and not self._pieces and not waiter.done()
        if self.take is not None and idle and self.take(body):
            return
        self._pieces.append(body)
        self._waiting += len(body)
        if self._waiting > _LIMIT and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._ended = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        """Until something has come. Raises BrokenAnswerError where nothing will."""
        if self._fault is not None:
            raise BrokenAnswerError(self._fault)
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def send(self, data: bytes) -> None:
        """Have `data` on its way, if there is any."""
        if data and self._transport is not None:
            self._transport.write(data)

    async def begin(self) -> None:
        """Wait for the first of the body that is not taken, or its end."""
        while not self._pieces and not self._ended:
            await self._more()

    async def piece(self) -> bytes | None:
        """The body's next part as the server sent it, None at its end."""
        while not self._pieces:
            if self._ended:
                return None
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            await self._more()
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        return piece

    async def read(self) -> bytes:
        """The whole body."""
        pieces = []
        while (piece := await self.piece()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def drop(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection at once; the next one is opened."""
        self.drop()
        self._prepare()
