"""HTTP/1.1 to our own worker on loopback: one POST or GET a connection, the answer's body as it arrives.

Only what llama.cpp's server speaks (status line, headers, `Content-Length` or chunks), with as little work for each
piece as can be: a token costs microseconds here. No TLS, no redirects, no pool: that server closes a connection at the
end of a stream. A new one can be opened ahead, which is a Line's business. For the world outside there is httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_LIMIT = 1 << 20
#: The server waits for five seconds.
_AHEAD_S = 4.0


class BrokenAnswerError(Exception):
    """The connection ended, or what came is no HTTP. Callers translate it."""


class NotListeningError(BrokenAnswerError):
    """Nobody took the connection, so nothing was begun."""


class LoopbackAnswer:
    """`status`, then the body: `pieces()` once, or `read()` whole. `close` at any time: the server then stops."""

    def __init__(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self._line = line
        self._reader = reader
        self._writer = writer
        self._length: int | None = None
        self._chunked = False

    async def begin(self) -> None:
        """Read the status line and the headers."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            self.status = int(first.split(b" ", 2)[1])
            headers = dict(line.lower().split(b":", 1) for line in lines)
            self._chunked = b"chunked" in headers.get(b"transfer-encoding", b"")
            self._length = int(headers[b"content-length"]) if b"content-length" in headers else None
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as err:
            raise BrokenAnswerError(str(err) or type(err).__name__) from err

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body's parts as the server sent them."""
        reader = self._reader
        try:
            if not self._chunked:
                yield await (reader.read() if self._length is None else reader.readexactly(self._length))
                return
            while size := int((await reader.readuntil(b"\r\n")).split(b";", 1)[0], 16):
                yield (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as err:
            raise BrokenAnswerError(str(err) or type(err).__name__) from err

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces()])

    def close(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()
        self._line.prepare()


async def ask(address: str, key: str, method: str, path: str, body: bytes = b"") -> LoopbackAnswer:
    """A single question, see Line.ask."""
    line = Line(address, key)
    line.close()
    return await line.ask(method, path, body)


class Line:
    """The way to one worker, with a connection opened ahead for the next question.

    That saves the handshake and the server's taking it up, while questions come at least every few seconds: it is
    opened when an answer has ended, and the server closes it when nothing has come for five seconds.
    """

    def __init__(self, address: str, key: str) -> None:
        place = urlsplit(address)
        self._at = (place.hostname or "", place.port or 80)
        self._head = f"Host: {place.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._ahead: socket.socket | None = None
        self._opened = 0.0
        self._closed = False

    async def ask(self, method: str, path: str, body: bytes = b"") -> LoopbackAnswer:
        """Send a request and return when its answer begins. Raises NotListeningError or BrokenAnswerError."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            reader, writer = await self._sent(head.encode() + body)
        except OSError as err:
            raise NotListeningError(str(err)) from err
        answer = LoopbackAnswer(self, reader, writer)
        try:
            await answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    async def _sent(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection over which `data` is on its way. It is sent before asyncio makes its streams of the socket,
        which takes longer than the connection itself: meanwhile the server works."""
        made = self._taken()
        try:
            if made is None:
                made = self._socket()
                await asyncio.get_running_loop().sock_connect(made, self._at)
            try:
                sent = made.send(data)
            except BlockingIOError:
                sent = 0
            reader, writer = await asyncio.open_connection(sock=made, limit=_LIMIT)
        except BaseException:
            if made is not None:
                made.close()
            raise
        if sent < len(data):
            writer.write(data[sent:])
        return reader, writer

    def _socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self._at[0] else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        return made

    def prepare(self) -> None:
        """Open the connection of the next question, unless there is one."""
        if self._closed or (self._ahead is not None and time.monotonic() - self._opened < _AHEAD_S):
            return
        self._drop()
        with contextlib.suppress(OSError):  # no descriptor is left
            self._ahead, self._opened = self._socket(), time.monotonic()
            # On loopback it is there at once, or it is not used.
            self._ahead.connect_ex(self._at)

    def _taken(self) -> socket.socket | None:
        """The connection opened ahead if it is open still."""
        made, self._ahead = self._ahead, None
        if made is None:
            return None
        try:
            if time.monotonic() - self._opened < _AHEAD_S:
                made.recv(1, socket.MSG_PEEK)  # nothing has been said, so this tells the end of it
        except BlockingIOError:
            return made
        except OSError:
            pass
        made.close()
        return None

    def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def close(self) -> None:
        """Open nothing ahead any more."""
        self._closed = True
        self._drop()
