"""HTTP/1.1 to our own worker on loopback: one POST or GET a connection.

No TLS, no redirects, no pool: llama.cpp's server closes a connection at the end of a stream. A new one can be opened
ahead, which is a Line's business. For the world outside there is httpx.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from conch_ollama.runtimes.loopback_answer import LoopbackAnswer, NotListeningError

#: The server waits for five seconds.
_AHEAD_S = 4.0


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

    async def ask(
        self, method: str, path: str, body: bytes = b"", offer: Callable[[], Callable[[bytes], bool]] | None = None
    ) -> LoopbackAnswer:
        """Send a request and return when the first piece of its answer's body has come that is not taken by what
        `offer` makes; see LoopbackAnswer.take. Raises NotListeningError or BrokenAnswerError."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            answer = await self._sent(head.encode() + body)
        except OSError as err:
            raise NotListeningError(str(err)) from err
        try:
            if offer is not None:
                answer.take = offer()
            await answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    async def _sent(self, data: bytes) -> LoopbackAnswer:
        """A connection over which `data` is on its way."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.take(data):
                return ahead.answer
            ahead.close()
        return (await self._connected(data)).answer

    async def _connected(self, data: bytes = b"") -> _Connection:
        """A new connection, which on loopback is there at once or not at all. `data` is sent before the loop makes its
        transport of the socket, which takes longer than the sending: meanwhile the server works."""
        made = socket.socket(socket.AF_INET6 if ":" in self._at[0] else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.connect_ex(self._at)
            sent = _sent_now(made, data) if data else 0
            loop = asyncio.get_running_loop()
            _, answer = await loop.create_connection(lambda: LoopbackAnswer(made, self.prepare), sock=made)
        except BaseException:
            made.close()
            raise
        answer.send(data[sent:])
        return _Connection(made, answer, time.monotonic())

    def prepare(self) -> None:
        """Open the connection of the next question, unless there is one."""
        ahead = self._ahead
        if self._closed or self._opening is not None or (ahead is not None and ahead.young() and ahead.open()):
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


def _sent_now(made: socket.socket, data: bytes) -> int:
    """How much of `data` is on its way at once. A transport may begin at the end of the loop's turn only, as uvloop's
    does, after all that is done while the server works."""
    try:
        return made.send(data)
    except BlockingIOError:
        return 0


@dataclass(frozen=True)
class _Connection:
    """A connection and when it was opened."""

    made: socket.socket
    answer: LoopbackAnswer
    opened: float

    def take(self, data: bytes) -> bool:
        """Have `data` on its way; False where the server has closed it before that."""
        if not self.young():
            return False
        try:
            sent = _sent_now(self.made, data)
        except OSError:
            return False
        # Looked at when it has been sent, which comes to the same: a server that has closed it by now, within
        # microseconds, has not begun with the question.
        if not self.open():
            return False
        self.answer.send(data[sent:])
        return True

    def young(self) -> bool:
        """Whether the server still waits for a question."""
        return time.monotonic() - self.opened < _AHEAD_S

    def open(self) -> bool:
        """Whether it still is while nothing has been answered, also where the loop has not come to see its end."""
        try:
            return self.made.recv(1, socket.MSG_PEEK) != b""  # which tells the end of it
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        self.answer.drop()
