"""Servers somewhere else that speak OpenAI's dialect (vLLM, llama.cpp's, LM Studio, OpenAI, Azure) as a runtime.

Several for one model: the least busy first; another is tried only before the first byte of an answer. Tested against
llama.cpp's server, Ollama's /v1 and vLLM 0.32; not against OpenAI or Azure themselves, whose paths, keys and chunks are
after their documents.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from conch_ollama.errors import (
    ConchError,
    NotFoundError,
    NotSupportedError,
    RuntimeBusyError,
    RuntimeFailedError,
    RuntimeRefusedError,
    UsageError,
)
from conch_ollama.runtimes.http_door import handed_on
from conch_ollama.runtimes.messages import checked_messages
from conch_ollama.runtimes.openai_body import request_for
from conch_ollama.runtimes.openai_chunks import tidy_chunks
from conch_ollama.runtimes.protocol import Body, Chunk, Embeddings, Health, ModelCard, Take
from conch_ollama.runtimes.server_sent_events import events
from conch_ollama.runtimes.upstreams import Server, Servers, Upstream
from conch_ollama.runtimes.vectors import decode_base64

__all__ = ["OpenAIRuntime", "Upstream"]


class OpenAIRuntime:
    """`upstreams`: the servers; `check_every`: seconds until one that failed is asked again, then doubled."""

    kind = "openai"

    def __init__(self, upstreams: Sequence[Upstream], *, check_every: float = 2.0) -> None:
        if not upstreams:
            raise UsageError("no upstream", hint="give its address, such as http://127.0.0.1:8000/v1")
        self._servers = Servers(upstreams, check_every=check_every)

    def describe(self) -> list[str]:
        """Where they are and what of them is served, for the start; no keys."""
        return [
            f"{server.upstream.base()}: {', '.join(server.upstream.models) or 'all its models'}"
            for server in self._servers.all
        ]

    async def models(self) -> list[ModelCard]:
        cards: dict[str, ModelCard] = {}
        failures = []
        for server in self._servers.all:
            try:
                listed = await server.listed()
            except ConchError as err:
                failures.append(err)
                listed = None
            for ours, theirs in (server.upstream.models or {name: name for name in listed or ()}).items():
                cards.setdefault(ours, _card(ours, (listed or {}).get(theirs, {})))
        if failures and not cards:
            raise failures[0]
        return list(cards.values())

    async def chat(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        checked_messages(body.get("messages"))
        async with contextlib.aclosing(self._stream(model, body, "/chat/completions")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(self._stream(model, body, "/completions")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def embed(self, model: str, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
        """Asked for as floats: not every server knows base64."""
        request: dict[str, Any] = {"input": list(inputs), "encoding_format": "float"}
        if options.get("dimensions") is not None:
            request["dimensions"] = options["dimensions"]
        async with self._begun(model, lambda _, name: {**request, "model": name}, "/embeddings") as pieces:
            found = _json(b"".join([piece async for piece in pieces]))
        try:
            ordered = sorted(found["data"], key=lambda item: int(item["index"]))
            vectors = [_vector(item["embedding"]) for item in ordered]
            return Embeddings(vectors, int((found.get("usage") or {}).get("prompt_tokens", 0)))
        except (KeyError, TypeError, ValueError) as err:
            raise RuntimeFailedError("the upstream's answer to /embeddings is not of OpenAI's shape") from err

    async def forward(self, model: str, path: str, body: Body) -> AsyncGenerator[bytes, None]:
        route = path.removeprefix("/v1")
        await self._servers.having(model)
        try:
            return await handed_on(self._begun(model, lambda _, name: {**body, "model": name}, route))
        except NotFoundError as err:  # the model is there
            raise NotSupportedError(f"the upstream of {model} has no {path}") from err

    async def load(self, model: str, keep_alive: float | None = None) -> None:
        """Only sees that some upstream has it: what it keeps loaded is its own business."""
        await self._servers.having(model)

    async def unload(self, model: str) -> None:
        await self._servers.having(model)

    async def health(self) -> Health:
        down = [server.upstream.base() for server in self._servers.all if server.down]
        return Health(ok=len(down) < len(self._servers.all), detail=f"down: {', '.join(down)}" if down else "")

    async def close(self) -> None:
        await self._servers.close()

    async def _stream(self, model: str, body: Body, route: str) -> AsyncGenerator[Chunk, None]:
        def request(server: Server, name: str) -> Mapping[str, Any]:
            return request_for(name, body, strict=server.upstream.takes_openai_only)

        async with self._begun(model, request, route) as pieces:
            async for chunk in tidy_chunks(events(pieces), model):
                yield chunk

    @contextlib.asynccontextmanager
    async def _begun(self, model: str, request: Any, route: str) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """An answer that has begun, from the first server that begins one.

        `request(server, its name of the model)`: the body. What a server refuses, no other is asked for.
        """
        failure: ConchError | None = None
        for server, name in await self._servers.having(model):
            async with contextlib.AsyncExitStack() as stack:
                server.running += 1
                stack.callback(_done, server)
                post = server.door.post(server.upstream.path(route, name), request(server, name))
                try:
                    pieces = await stack.enter_async_context(post)
                    first = await anext(pieces, b"")
                except RuntimeRefusedError:
                    raise
                except RuntimeBusyError as err:
                    failure = failure or err
                    continue
                except NotFoundError as err:
                    failure = err
                    continue
                except RuntimeFailedError as err:
                    self._servers.set_aside(server)
                    failure = err
                    continue
                server.down = 0.0
                yield _after(first, pieces)
                return
        raise failure or NotFoundError(f"no model {model} at any upstream")


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def _done(server: Server) -> None:
    server.running -= 1


def _card(name: str, listed: Mapping[str, Any]) -> ModelCard:
    """`meta` is llama.cpp's, `max_model_len` vLLM's."""
    meta = listed.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    return ModelCard(
        name=name,
        parameters=_int(meta.get("n_params")),
        context_length=_int(meta.get("n_ctx") or listed.get("max_model_len") or meta.get("n_ctx_train")),
        embedding_length=_int(meta.get("n_embd")),
        quantization=str(meta.get("ftype") or ""),
        size=_int(meta.get("size")),
        modified=float(_int(listed.get("created"))),
    )


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _vector(embedding: Any) -> list[float]:
    return decode_base64(embedding) if isinstance(embedding, str) else [float(x) for x in embedding]


def _json(text: bytes) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text)
    except ValueError as err:
        raise RuntimeFailedError("the upstream did not answer in JSON") from err
    if not isinstance(found, dict):
        raise RuntimeFailedError("the upstream did not answer with an object")
    return found
