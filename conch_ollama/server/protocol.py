"""uvicorn on httptools, bettered: a deadline and a size for the head of a request, the head of an answer sent together
with what it begins with, and a shim that knows at once when it is ending.

uvicorn by itself limits the time between requests only: a client that dribbles a head holds its connection for ever,
and one may be of any size. And it sends heads on their own, each of which wakes the client for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import chain
from types import FrameType
from typing import TYPE_CHECKING, Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from conch_ollama.server.responses import SERVER

if TYPE_CHECKING:
    from conch_ollama.server.shim import Shim

HEAD_S = 15.0
#: Bytes of a request's head.
HEAD_BYTES = 32 * 1024
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class PatientProtocol(HttpToolsProtocol):
    """HttpToolsProtocol that closes a connection whose first or next request's head is not whole after HEAD_S seconds
    or HEAD_BYTES bytes, and takes no trailer for a header."""

    _deadline: asyncio.TimerHandle | None = None
    #: Bytes since the parser had anything to tell: of a head, a trailer, a chunk's extension.
    _unheard = 0
    #: Those, what is being read, and what was read when the parser last told something: no head is longer.
    _come = 0
    _heard = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WithHeads(transport, self.loop))  # type: ignore[arg-type]
        self._deadline = self.loop.call_later(HEAD_S, self._too_late)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
            self._deadline = self.loop.call_later(HEAD_S, self._too_late)
        self._heard = False
        self._unset_keepalive_if_required()
        self._come += len(data)
        left = data
        while True:
            try:
                self.parser.feed_data(left)
            except httptools.HttpParserUpgrade as offered:
                left = self._reframed(left[offered.args[0] :])
                continue
            except httptools.HttpParserError:
                self._refuse("Invalid HTTP request received.")
            break
        if self._heard:
            self._unheard, self._come = 0, len(data)
        else:
            self._unheard += len(data)
        if self._unheard > HEAD_BYTES and not self.transport.is_closing():
            self._refuse("The request's head is too large.")

    def _reframed(self, rest: bytes) -> bytes:
        """What is to be fed to a new parser after an upgrade was offered, as Java's HttpClient offers h2c with each
        request. None is taken, but httptools takes the body for what comes after it: the new one reads on, behind a
        head that says how long the body is."""
        self.parser = httptools.HttpRequestParser(_WithoutFirstHead(self))
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        framing = b"".join(b"%s: %s\r\n" % header for header in self.scope["headers"] if header[0] in _FRAMING)
        return b"POST / HTTP/1.1\r\n" + framing + b"\r\n" + rest

    def on_headers_complete(self) -> None:
        self._heard = True
        self._forget_deadline()
        if self._come > HEAD_BYTES and len(self.url) + sum(map(len, chain.from_iterable(self.headers))) > HEAD_BYTES:
            raise ValueError("the head is too large")  # uvicorn answers 400 and closes
        super().on_headers_complete()
        # Before the application's first step: that is a later turn of the loop.
        self.scope["extensions"] = {SERVER: {"push": partial(_push, self.cycle), "came": partial(_came, self.cycle)}}
        # Of no trailer: else whoever may write one through a trusted proxy could say where a request is from.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._heard = True
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _refuse(self, why: str) -> None:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.send_400_response(why)
        else:  # not into an answer
            self.transport.close()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.transport.close()


class _WithoutFirstHead:
    """Tells a protocol what a parser finds, but for the head of the first request: that one we made."""

    def __init__(self, protocol: PatientProtocol) -> None:
        self._protocol = protocol
        self._in_ours = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._in_ours:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._in_ours:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_ours:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._in_ours:
            self._protocol.on_headers_complete()
        self._in_ours = False


def _push(cycle: RequestResponseCycle, make: Callable[[Any], bytes], given: Any, start: Callable[[], None]) -> bool:
    """Send `make(given)` as a piece of an answer's body now, unless it has to wait or is not to be sent in this way."""
    transport = cycle.transport
    ready = cycle.chunked_encoding or (not cycle.response_started and cycle.scope["method"] != "HEAD")
    if not ready or cycle.response_complete or cycle.disconnected or cycle.flow.write_paused or transport.is_closing():
        return False
    data = make(given)
    if data:  # without any it would be the end
        if not cycle.response_started:
            start()
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True


def _came(cycle: RequestResponseCycle) -> bytes | None:
    if cycle.more_body or cycle.disconnected:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


class _WithHeads:
    """A transport that holds the head of an answer until the next writing, which it goes with, but not longer than to
    the end of this turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.is_closing = transport.is_closing  # asked for each token

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif data.startswith(b"HTTP/1.1 "):
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

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
