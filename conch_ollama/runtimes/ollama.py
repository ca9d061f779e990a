"""A running Ollama as a runtime, through its own API: options, thoughts, keep_alive and formats as it means them.

Makes OpenAI's chunks of its lines. Creates and pulls nothing: the room `ollama` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any

from conch_ollama.errors import (
    ConchError,
    NotFoundError,
    NotSupportedError,
    RuntimeBusyError,
    RuntimeFailedError,
    RuntimeRefusedError,
)
from conch_ollama.runtimes.http_door import HttpDoor, handed_on, lines
from conch_ollama.runtimes.ollama_body import chat_request, generate_request, texts_only
from conch_ollama.runtimes.ollama_body import options as ollama_options
from conch_ollama.runtimes.ollama_cards import card_from, seconds
from conch_ollama.runtimes.ollama_chunks import OllamaAnswer
from conch_ollama.runtimes.protocol import Body, Chunk, Embeddings, Health, ModelCard, Take
from conch_ollama.runtimes.vectors import shortened

_LISTING_S = 10.0
_LATEST = ":latest"


class OllamaRuntime:
    """The server at `host` (a URL, as `conch_ollama.ollama.address.resolve_host` makes one).

    `models`: our name -> Ollama's; without it all that Ollama has, by its own names. `key`: for a proxy that wants one.
    """

    kind = "ollama"

    def __init__(self, host: str, *, models: Mapping[str, str] | None = None, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.host = host
        self._names = dict(models) if models is not None else None
        self._door = HttpDoor(host, "Ollama", _refusal, headers=headers)
        self._shown: dict[tuple[str, str], ModelCard] = {}

    def describe(self) -> list[str]:
        """Where it is and what of it is served, for the start."""
        return [f"Ollama at {self.host}: {'all its models' if self._names is None else ', '.join(self._names)}"]

    async def models(self) -> list[ModelCard]:
        listed = {str(one["name"]): one for one in await self._listed()}
        if self._names is None:
            wanted = {name: name for name in listed}
        else:
            wanted = {ours: found for ours, theirs in self._names.items() if (found := _among(theirs, listed))}
        enough = asyncio.Semaphore(4)
        cards = await asyncio.gather(
            *(self._card(ours, theirs, listed[theirs], enough) for ours, theirs in wanted.items())
        )
        return [card for card in cards if card is not None]

    async def chat(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        name = self._name(model)
        can = await self._capabilities(name) if _wants_thought(body) else None
        request = chat_request(name, body, thinks="thinking" in (can or ()))
        if any("images" in message for message in request["messages"]):
            can = await self._capabilities(name) if can is None else can
            if "vision" not in can:
                raise RuntimeRefusedError(f"{model} takes text only, not image_url")  # Ollama would leave them out
        async with contextlib.aclosing(self._answer("/api/chat", request, _made(model, "chat", request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        request = generate_request(self._name(model), body)
        async with contextlib.aclosing(self._answer("/api/generate", request, _made(model, "text", request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def embed(self, model: str, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
        request: dict[str, Any] = {
            "model": self._name(model),
            "input": texts_only(inputs),
            "truncate": bool(options.get("truncate")),
            "options": ollama_options(options),
        }
        if options.get("keep_alive") is not None:
            request["keep_alive"] = options["keep_alive"]
        answer = await self._door.ask("POST", "/api/embed", request)
        vectors: list[list[float]] = answer.get("embeddings") or []
        if len(vectors) != len(inputs):
            raise RuntimeFailedError(f"Ollama made {len(vectors)} vectors of {len(inputs)} texts")
        dimensions = options.get("dimensions")
        if isinstance(dimensions, int) and dimensions > 0:
            vectors = [shortened(vector, dimensions) for vector in vectors]
        return Embeddings(vectors, int(answer.get("prompt_eval_count") or 0))

    async def forward(self, model: str, path: str, body: Body) -> AsyncGenerator[bytes, None]:
        """Newer versions of Ollama have /v1/responses and /v1/messages."""
        return await handed_on(self._door.post(path, {**body, "model": self._name(model)}))

    async def load(self, model: str, keep_alive: float | None = None) -> None:
        request: dict[str, Any] = {"model": self._name(model), "stream": False}
        if keep_alive is not None:
            request["keep_alive"] = keep_alive
        await self._door.ask("POST", "/api/generate", request)

    async def unload(self, model: str) -> None:
        request = {"model": self._name(model), "keep_alive": 0, "stream": False}
        await self._door.ask("POST", "/api/generate", request)

    async def health(self) -> Health:
        try:
            running = await self._door.ask("GET", "/api/ps", timeout=_LISTING_S)
        except ConchError as err:
            return Health(ok=False, detail=err.message)
        ours = {theirs: name for name, theirs in (self._names or {}).items()}
        return Health(
            ok=True,
            loaded={
                ours.get(str(one["name"]), ours.get(str(one["name"]).removesuffix(_LATEST), str(one["name"]))): seconds(
                    one.get("expires_at")
                )
                for one in running.get("models") or ()
            },
        )

    async def close(self) -> None:
        await self._door.close()

    def _name(self, model: str) -> str:
        if self._names is None:
            return model
        found = self._names.get(model)
        if found is None:
            raise NotFoundError(f"no model {model}", hint=f"there is: {', '.join(self._names)}")
        return found

    async def _listed(self) -> list[dict[str, Any]]:
        answer = await self._door.ask("GET", "/api/tags", timeout=_LISTING_S)
        return list(answer.get("models") or ())

    async def _card(
        self, ours: str, theirs: str, listed: Mapping[str, Any], enough: asyncio.Semaphore
    ) -> ModelCard | None:
        key = (ours, str(listed.get("digest")))
        if key not in self._shown:
            async with enough:
                try:
                    shown = await self._door.ask("POST", "/api/show", {"model": theirs}, timeout=_LISTING_S)
                except NotFoundError:  # deleted since it was listed
                    return None
            self._shown[key] = card_from(ours, listed, shown)
        return self._shown[key]

    async def _capabilities(self, name: str) -> Collection[str]:
        shown = await self._door.ask("POST", "/api/show", {"model": name}, timeout=_LISTING_S)
        return frozenset(shown.get("capabilities") or ())

    async def _answer(self, path: str, request: Mapping[str, Any], answer: OllamaAnswer) -> AsyncGenerator[Chunk, None]:
        async with self._door.post(path, request) as pieces:
            told = lines(pieces)
            async for line in told:
                try:
                    for chunk in answer.chunks(line):
                        yield chunk
                except NotSupportedError:
                    async for _ in told:  # Ollama may lose the place of who hangs up, for whoever comes next
                        pass
                    raise
        if not answer.ended:  # a connection that broke has raised already
            for chunk in answer.cut_off():
                yield chunk


def _made(model: str, kind: str, request: Mapping[str, Any]) -> OllamaAnswer:
    return OllamaAnswer(model, kind, logprobs=bool(request.get("logprobs")))


def _wants_thought(body: Body) -> bool:
    return body.get("think") is None and (bool(body.get("reasoning_effort")) or bool(body.get("chat_template_kwargs")))


def _among(name: str, listed: Mapping[str, Any]) -> str | None:
    return next((candidate for candidate in (name, name + _LATEST) if candidate in listed), None)


def _refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ConchError:
    """Ollama's `{"error": text}` in ours; a route that it does not have answers in plain text."""
    try:
        error = json.loads(body)["error"]
        # Its /v1 has OpenAI's shape.
        text = str(error["message"]) if isinstance(error, Mapping) else str(error)
    except (ValueError, KeyError, TypeError):
        if status in {404, 405}:
            return NotSupportedError("this version of Ollama has no such door")
        return RuntimeFailedError(f"what answers as Ollama is none (HTTP {status})", hint="is the address right?")
    if status == 404:
        return NotFoundError(text, hint="`ollama list` shows what Ollama has")
    if status in {429, 503}:
        return RuntimeBusyError(f"Ollama: {text}", retry_after=2.0)
    if 400 <= status < 500 and status not in {401, 403}:
        return RuntimeRefusedError(text, status=status)
    return RuntimeFailedError(f"Ollama: {text}")
