"""HTTP/1.1 to our own worker on loopback: one POST or GET a connection, the answer's body as it arrives.

Only what llama.cpp's server speaks (status line, headers, `Content-Length` or chunks), with as little work for each
piece as can be: a token costs microseconds here. No TLS, no redirects, no pool: that server drops connections when it
likes, and a new one on loopback costs next to nothing. For the world outside there is httpx.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_LIMIT = 1 << 20


class BrokenAnswerError(Exception):
    """The connection ended, or what came is no HTTP. Callers translate it."""


class NotListeningError(BrokenAnswerError):
    """Nobody took the connection, so nothing was begun."""


class LoopbackAnswer:
    """`status`, then the body: `pieces()` once, or `read()` whole. `close` at any time: the server then stops."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
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


async def ask(address: str, key: str, method: str, path: str, body: bytes = b"") -> LoopbackAnswer:
    """Send a request and return when its answer begins. Raises NotListeningError or BrokenAnswerError."""
    place = urlsplit(address)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await _sent(place.hostname or "", place.port or 80, head.encode() + body)
    except OSError as err:
        raise NotListeningError(str(err)) from err
    answer = LoopbackAnswer(reader, writer)
    try:
        await answer.begin()
    except BaseException:
        answer.close()
        raise
    return answer


async def _sent(host: str, port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which `data` is on its way. It is sent before asyncio makes its streams of the socket, which
    takes longer than the connection itself: meanwhile the server works."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (host, port))
        try:
            sent = made.send(data)
        except BlockingIOError:
            sent = 0
        reader, writer = await asyncio.open_connection(sock=made, limit=_LIMIT)
    except BaseException:
        made.close()
        raise
    if sent < len(data):
        writer.write(data[sent:])
    return reader, writer
