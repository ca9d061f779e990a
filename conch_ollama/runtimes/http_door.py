"""One HTTP server of the world outside, through httpx: connections kept, bodies as they come, failures in our errors.

Used by the runtimes that are somebody else's (Ollama, an OpenAI-compatible URL). What an error's body means is for the
caller to say.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conch_ollama.addresses import is_loopback
from conch_ollama.errors import ConchError, RuntimeFailedError, RuntimeUnreachableError, UsageError

if TYPE_CHECKING:
    import httpx

_CONNECT_S = 10.0
#: (status, body, headers) -> the error that it is
Refuses = Callable[[int, bytes, Mapping[str, str]], ConchError]


class HttpDoor:
    """The server at `url`; `name` is what messages call it. `refuses` makes an error of an answer that is none."""

    def __init__(self, url: str, name: str, refuses: Refuses, *, headers: Mapping[str, str] | None = None) -> None:
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise UsageError(f"not an address of a server: {url}", hint="such as http://127.0.0.1:8000/v1")
        self.url = url.rstrip("/")
        self.name = name
        self._refuses = refuses
        # A proxy for the world outside must not catch loopback.
        self._settings: dict[str, Any] = {"headers": dict(headers or {}), "trust_env": not is_loopback(url)}
        self._client = self._made(kept=32)
        self._anew: httpx.AsyncClient | None = None

    def _made(self, kept: int) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            # A long prompt may take minutes to read; whoever asks has limits of his own.
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=4.0),
            **self._settings,
        )

    @contextlib.asynccontextmanager
    async def post(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """An answer's bytes as they come, from the moment it begins. Leaving drops the connection.

        Raises RuntimeUnreachableError, what `refuses` makes of a status that is no success, and in mid-answer
        RuntimeFailedError.
        """
        async with self._send("POST", path, body) as response:
            yield self._pieces(response)

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any:
        """A whole answer's JSON. Raises as `post`."""
        async with self._send(method, path, body, timeout) as response:
            text = b"".join([piece async for piece in self._pieces(response)])
        try:
            return json.loads(text)
        except ValueError as err:
            raise RuntimeFailedError(f"{self.name} at {self.url} did not answer in JSON to {path}") from err

    @contextlib.asynccontextmanager
    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        import httpx

        content = None if body is None else json.dumps(body, separators=(",", ":")).encode("ascii")
        request = self._client.build_request(
            method,
            self.url + path,
            content=content,
            headers={"Content-Type": "application/json"},
            timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
        )
        try:
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # Some servers (llama.cpp's) drop a kept connection without a word: once more, on a new one.
                self._anew = self._anew or self._made(kept=0)
                response = await self._anew.send(request, stream=True)
        except httpx.TransportError as err:
            said = str(err) or type(err).__name__
            raise RuntimeUnreachableError(f"{self.name} at {self.url} does not answer: {said}") from err
        try:
            if response.status_code >= 300:
                text = b"".join([piece async for piece in self._pieces(response)])
                raise self._refuses(response.status_code, text, response.headers)
            yield response
        finally:
            await response.aclose()

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        import httpx

        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.TransportError as err:
            said = str(err) or type(err).__name__
            raise RuntimeFailedError(f"{self.name} at {self.url} broke off its answer: {said}") from err

    async def close(self) -> None:
        await self._client.aclose()
        if self._anew is not None:
            await self._anew.aclose()


async def handed_on(
    begun: contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]],
) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer, for another to read: what goes wrong before it begins is raised here, and the connection
    goes when the reading ends."""
    stack = contextlib.AsyncExitStack()
    pieces = await stack.enter_async_context(begun)

    async def answer() -> AsyncGenerator[bytes, None]:
        async with stack:
            async for piece in pieces:
                yield piece

    return answer()


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream of bytes that are not empty, without their ends."""
    pending: list[bytes] = []
    async for piece in pieces:
        first, *more = piece.split(b"\n")
        pending.append(first)
        for after in more:
            line = b"".join(pending).strip()
            pending = [after]
            if line:
                yield line
    line = b"".join(pending).strip()
    if line:
        yield line
