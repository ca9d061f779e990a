"""A request's body, read to its end: bounded in size and time, so that nothing behind it waits on a slow client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import Receive, Scope

from conch_ollama.server.errors import Refusal
from conch_ollama.server.responses import of_server
from conch_ollama.server.settings import Limits

#: Refused bodies up to this many times the limit are read to their end, so that the client gets to read why.
_DRAIN = 8


class HungUp(Exception):  # noqa: N818 - nobody's error
    """The client went before it had said all; nobody is left to answer."""


async def whole_body(
    scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], limits: Limits, close: Callable[[], None]
) -> bytes:
    """`close` is called where the connection has to end with the answer, since some of the body may still come.

    Raises Refusal for one that is too large (413) or too slow (408), HungUp for half of one.
    """
    length = headers.get(b"content-length")
    if length is None and b"transfer-encoding" not in headers:
        return b""
    if length is not None and length.isdigit() and int(length) > limits.body_bytes:
        await _drain(receive, limits, close)
        raise _too_large(limits)
    came = of_server(scope, "came")
    body: bytes | None = None if came is None else came()
    if body is not None:
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
        return body
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read(receive, limits, close)
    except TimeoutError as err:
        close()
        raise Refusal(408, f"The body did not come within {limits.body_s:g} s.", "timeout") from err


async def _read(receive: Receive, limits: Limits, close: Callable[[], None]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limits.body_bytes:
            pieces.clear()
            await _drain(receive, limits, close)
            raise _too_large(limits)
        if not message.get("more_body"):
            return b"".join(pieces)
    raise HungUp


async def _drain(receive: Receive, limits: Limits, close: Callable[[], None]) -> None:
    """Read on and forget: a client that can't send its body often doesn't read the answer."""
    close()
    left = _DRAIN * limits.body_bytes
    try:
        async with asyncio.timeout(limits.body_s):
            while left > 0 and (message := await receive())["type"] == "http.request":
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"The body is larger than {limits.body_bytes} bytes.", "body_too_large")
