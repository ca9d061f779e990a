"""HTTP/1.1 to our own worker on loopback: one POST or GET a connection, the answer's body as it arrives.

Read by httptools (llhttp), with as little work for each piece as can be: a token costs microseconds here. No TLS, no
redirects, no pool: llama.cpp's server closes a connection at the end of a stream. A new one can be opened ahead, which
is a Line's business. For the world outside there is httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

#: Bytes that wait for a reader before no more are taken in.
_LIMIT = 1 << 20
#: The server waits for five seconds.
_AHEAD_S = 4.0
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


class BrokenAnswerError(Exception):
    """The connection ended, or what came is no HTTP. Callers translate it."""


class NotListeningError(BrokenAnswerError):
    """Nobody took the connection, so nothing was begun."""


class LoopbackAnswer(asyncio.Protocol):
    """`status`, then the body: `piece()` by piece, or `read()` whole. `close` at any time: the server then stops.

    It is the connection's protocol itself; methods that begin with `on_` are httptools' to call.
    """

    def __init__(self, line: Line) -> None:
        self.status = 0
        self._line = line
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._framed = False
        self._ended = False
        self._fault: str | None = None
        self._news = False
        #: Is offered each piece that comes while it is waited for; what it takes is not among those of `piece`.
        self.take: Callable[[bytes], bool] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._ended or self._fault is not None:
            return
        if not self.status:
            self._head += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as err:
            self._fault = str(err) or type(err).__name__
            self._news = True
        if self._news:
            self._news = False
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.status and not self._framed:
            self._ended = True  # its end is the body's
        if not self._ended:
            self._fault = self._fault or str(exc or "the connection ended before the answer")
        self._parser = None  # they hold each other
        self._wake()

    def on_headers_complete(self) -> None:
        if self._parser is not None:
            self.status = self._parser.get_status_code()
            # One look instead of a call for each header, while llama.cpp reads the prompt on every core.
            head, _, _ = self._head.partition(b"\r\n\r\n")
            self._framed = _FRAMING.search(head) is not None
            self._head = b""

    def on_body(self, body: bytes) -> None:
        waiter = self._waiter
        # Only while nothing that came before is still on its way.
        idle = waiter is not None and not self._pieces and not waiter.done()
        if self.take is not None and idle and self.take(body):
            return
        self._news = True
        self._pieces.append(body)
        self._waiting += len(body)
        if self._waiting > _LIMIT and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._news = True
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
        """Have `data` on its way."""
        if self._transport is not None:
            self._transport.write(data)

    async def begin(self) -> None:
        """Wait for the first of the body, or its end."""
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
        self._line.prepare()


async def ask(address: str, key: str, method: str, path: str, body: bytes = b"") -> LoopbackAnswer:
    """A single question, see Line.ask."""
    line = Line(address, key)
    line.close()
    return await line.ask(method, path, body)


class Line:
    """The way to one worker, with a connection opened ahead for the next question.

    That saves the handshake, the making of a transport and the server's taking it up, while questions come at least
    every few seconds: it is opened when an answer has ended, and the server closes it when nothing has come for five
    seconds.
    """

    def __init__(self, address: str, key: str) -> None:
        place = urlsplit(address)
        self._at = (place.hostname or "", place.port or 80)
        self._head = f"Host: {place.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._ahead: _Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False

    async def ask(self, method: str, path: str, body: bytes = b"") -> LoopbackAnswer:
        """Send a request and return when its answer's body begins. Raises NotListeningError or BrokenAnswerError."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            answer = await self._sent(head.encode() + body)
        except OSError as err:
            raise NotListeningError(str(err)) from err
        try:
            await answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    async def _sent(self, data: bytes) -> LoopbackAnswer:
        """A connection over which `data` is on its way."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.open():
                ahead.answer.send(data)
                return ahead.answer
            ahead.close()
        return (await self._connected(data)).answer

    async def _connected(self, data: bytes = b"") -> _Connection:
        """A new connection, which on loopback is there at once or not at all. `data` is sent before the loop makes its
        transport of the socket, which takes longer than the sending: meanwhile the server works."""
        made = socket.socket(socket.AF_INET6 if ":" in self._at[0] else socket.AF_INET, socket.SOCK_STREAM)
        sent = 0
        try:
            made.setblocking(False)
            made.connect_ex(self._at)
            if data:
                with contextlib.suppress(BlockingIOError):
                    sent = made.send(data)
            loop = asyncio.get_running_loop()
            _, answer = await loop.create_connection(lambda: LoopbackAnswer(self), sock=made)
        except BaseException:
            made.close()
            raise
        if sent < len(data):
            answer.send(data[sent:])
        return _Connection(made, answer, time.monotonic())

    def prepare(self) -> None:
        """Open the connection of the next question, unless there is one."""
        if self._closed or self._opening is not None or (self._ahead is not None and self._ahead.open()):
            return
        self._drop()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            self._ahead = await self._connected()
        except OSError:  # nobody is there, or no descriptor is left
            pass
        finally:
            self._opening = None
        if self._closed:
            self._drop()

    def _drop(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def close(self) -> None:
        """Open nothing ahead any more."""
        self._closed = True
        self._drop()


@dataclass(frozen=True)
class _Connection:
    """A connection and when it was opened."""

    made: socket.socket
    answer: LoopbackAnswer
    opened: float

    def open(self) -> bool:
        """Whether it still is while nothing has been asked, also where the loop has not come to see its end."""
        if time.monotonic() - self.opened >= _AHEAD_S:
            return False
        try:
            self.made.recv(1, socket.MSG_PEEK)  # nothing has been said, so this tells the end of it
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        self.answer.drop()
