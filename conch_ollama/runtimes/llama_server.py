"""The default runtime: llama.cpp's own server in supervised child processes, one for each base model with its adapters.

Its dialect is OpenAI's, so chunks are handed through; only the model's name and one time of creation are written into
them. Loading, unloading and crashes are worker_pool.py's business, requests llama_body.py's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any

from conch_ollama.errors import NotFoundError, NotSupportedError, RuntimeRefusedError
from conch_ollama.runtimes.bounds import USUAL, Bounds
from conch_ollama.runtimes.durations import keep_alive_seconds
from conch_ollama.runtimes.llama_ask import CHAT, Offer, cut, piece, whole
from conch_ollama.runtimes.llama_body import chat_request, completion_request, encode
from conch_ollama.runtimes.llama_chunks import ChatChunks, Chunks, CompletionChunks
from conch_ollama.runtimes.llama_exchange import Exchange
from conch_ollama.runtimes.llama_forward import MESSAGES, Asked, forwarded
from conch_ollama.runtimes.llama_infill import InfillChunks, infill_request
from conch_ollama.runtimes.llama_models import ALIAS, LlamaCppModel, Planned, card_of, describe, plan_all, refuse_tools
from conch_ollama.runtimes.llama_reading import Reading
from conch_ollama.runtimes.machine_fit import Machine, look_at_machine
from conch_ollama.runtimes.protocol import Body, Chunk, Embeddings, Health, ModelCard, Take
from conch_ollama.runtimes.vectors import decode_base64, shortened
from conch_ollama.runtimes.worker_lease import Lease
from conch_ollama.runtimes.worker_pool import WorkerPool
from conch_ollama.runtimes.worker_room import Room
from conch_ollama.runtimes.worker_seats import Worker, WorkerPlan

#: Of what is free, for all workers.
_SHARE = 0.9


class LlamaCppRuntime:
    """Serves GGUF files by names; see protocol.py. Must be used in one event loop.

    Raises NotFoundError and BadFileError for files that are not there or no GGUF.
    """

    kind = "llama.cpp"

    def __init__(
        self, models: Sequence[LlamaCppModel], bounds: Bounds = USUAL, *, machine: Machine | None = None
    ) -> None:
        self._here = machine or look_at_machine()
        self._pool = WorkerPool()
        self._keep_alive: dict[str, float] = {}
        self._entries: dict[str, Planned] = {}
        self.update(models, bounds)

    def update(self, models: Sequence[LlamaCppModel], bounds: Bounds = USUAL) -> None:
        """Serve these instead. Running answers end as they began; workers that nobody needs go after them."""
        machine = self._here.within(bounds.memory)
        entries = plan_all(models, machine)
        kept = {plan for entry in entries.values() for plan in entry.plans}
        for plan in {plan for entry in self._entries.values() for plan in entry.plans} - kept:
            self._pool.forget(plan)
        self._entries = entries
        memory = bounds.memory or int(machine.memory * _SHARE)
        self._pool.hung_s = bounds.hung_s
        self._pool.resize(Room(bounds.max_loaded, memory, strict=bounds.memory is not None))

    def describe(self) -> list[str]:
        """What was chosen, line by line, for the start."""
        return describe(self._entries.values(), self._here.gpus, self._pool.room.memory or 0)

    async def models(self) -> list[ModelCard]:
        return [card_of(entry) for entry in self._entries.values()]

    def chat(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        entry = self._entry(model)
        refuse_tools(entry, body)
        request = chat_request(body, options=entry.model.options, system=entry.model.system, lora=entry.lora)
        return self._stream(entry, body, CHAT, request, partial(ChatChunks, ALIAS, model), take)

    def complete(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        entry = self._entry(model)
        options = entry.model.options
        if not body.get("suffix"):
            request = completion_request(body, options=options, lora=entry.lora)
            return self._stream(entry, body, "/v1/completions", request, partial(CompletionChunks, ALIAS, model), take)
        if "insert" not in entry.facts.card.capabilities or entry.model.binding != "xllamacpp":
            raise RuntimeRefusedError(f"{model} does not support insert: it has no tokens for a gap in a text")
        request = infill_request(body, options=options, lora=entry.lora)
        return self._stream(entry, body, "/infill", request, partial(InfillChunks, model), take)

    async def rendered(self, model: str, body: Body) -> str:
        entry = self._entry(model)
        request = chat_request(body, options=entry.model.options, system=entry.model.system, lora=entry.lora)
        return str((await self._asked(entry, "/apply-template", request))["prompt"])

    async def tokenize(self, model: str, text: str) -> list[int]:
        request = encode({"content": text, "add_special": False, "parse_special": True})
        return [int(token) for token in (await self._asked(self._entry(model), "/tokenize", request))["tokens"]]

    async def detokenize(self, model: str, tokens: Sequence[int]) -> str:
        entry = self._entry(model)
        if any(not 0 <= token < entry.facts.vocabulary for token in tokens):  # llama.cpp calls it a fault of its own
            raise RuntimeRefusedError(f"{model} has no such tokens: its ids go from 0 to {entry.facts.vocabulary - 1}")
        return str((await self._asked(entry, "/detokenize", encode({"tokens": list(tokens)})))["content"])

    async def _asked(self, entry: Planned, path: str, request: bytes) -> Any:
        if entry.model.binding != "xllamacpp":
            raise NotSupportedError(f"the {entry.model.binding} binding does not show its tokens")
        async with self._lease(entry, {}) as worker:
            return json.loads(await whole(worker, path, request))

    async def embed(self, model: str, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
        """Of a file that does not say how its texts become vectors, the last token's state is taken, as Ollama does.
        `truncate`: cut what is too long instead of refusing it; `dimensions`: the first of them, made unit length."""
        entry = self._entry(model)
        async with self._lease(entry, options, entry.vectors) as worker:
            texts = [text if isinstance(text, str) else list(text) for text in inputs]
            if options.get("truncate"):
                texts = await cut(worker, texts, entry.fit.num_ctx - 1)
            request: dict[str, Any] = {"input": texts, "encoding_format": "base64"}
            found = json.loads(await whole(worker, "/v1/embeddings", encode(request)))
        ordered = sorted(found["data"], key=lambda item: int(item["index"]))
        vectors = [decode_base64(item["embedding"]) for item in ordered]
        dimensions = options.get("dimensions")
        if isinstance(dimensions, int) and dimensions > 0:
            vectors = [shortened(vector, dimensions) for vector in vectors]
        return Embeddings(vectors, int(found["usage"]["prompt_tokens"]))

    async def forward(self, model: str, path: str, body: Body) -> AsyncGenerator[bytes, None]:
        entry = self._entry(model)
        own = entry.model
        asked = Asked(model, entry.fit.num_ctx, own.options, own.system, entry.lora)
        request, made = forwarded(path, body, asked)
        refuse_tools(entry, body)
        # At that door no adapter can be chosen: it is asked of a worker where it is on from the start.
        plan = entry.vectors if path == MESSAGES and own.adapters else entry.plan
        parts = self._pieces(entry, body, path, request, plan)
        first = made.feed(await anext(parts, b""))  # so that a refusal is raised here, before anything is sent

        async def answer() -> AsyncGenerator[bytes, None]:
            async with contextlib.aclosing(parts):
                if first:
                    yield first
                async for part in parts:
                    if told := made.feed(part):
                        yield told
                if told := made.end():
                    yield told

        return answer()

    async def load(self, model: str, keep_alive: float | None = None) -> None:
        entry = self._entry(model)
        async with self._lease(entry, {} if keep_alive is None else {"keep_alive": keep_alive}):
            pass

    async def unload(self, model: str) -> None:
        for plan in self._entry(model).plans:
            self._pool.retire(plan)

    async def health(self) -> Health:
        loaded = self._pool.loaded()
        names = {name: loaded[entry.plan] for name, entry in self._entries.items() if entry.plan in loaded}
        troubles = self._pool.troubles()
        ill = [
            f"{name}: {troubles[plan]}"
            for name, entry in self._entries.items()
            for plan in entry.plans & troubles.keys()
        ]
        well = not ill or any(not entry.plans & troubles.keys() for entry in self._entries.values())
        return Health(ok=well, detail="; ".join(ill), loaded=names, restarts=self._pool.restarts)

    async def close(self) -> None:
        await self._pool.close()

    def _entry(self, name: str) -> Planned:
        try:
            return self._entries[name]
        except KeyError:
            raise NotFoundError(
                f"no model {name}",
                hint=f"there is: {', '.join(self._entries)}",
            ) from None

    def _keeps(self, entry: Planned, body: Body) -> float:
        """How long its worker is kept after this request, in seconds."""
        wanted = keep_alive_seconds(body.get("keep_alive"))
        if wanted is not None:
            self._keep_alive[entry.model.name] = wanted
        return self._keep_alive.get(entry.model.name, entry.model.keep_alive)

    def _lease(self, entry: Planned, body: Body, plan: WorkerPlan | None = None) -> Lease:
        return self._pool.lease(plan or entry.plan, self._keeps(entry, body))

    def _exchange(
        self, entry: Planned, body: Body, path: str, request: bytes, plan: WorkerPlan, offer: Offer | None = None
    ) -> Exchange:
        if not entry.facts.answers:
            raise RuntimeRefusedError(f"{entry.model.name} makes embeddings only, it answers nothing")
        return Exchange(self._pool, plan, self._keeps(entry, body), path, request, offer)

    async def _stream(
        self, entry: Planned, body: Body, path: str, request: bytes, chunks: Callable[[], Chunks], take: Take | None
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of an answer."""
        reading: Reading

        def offer(worker: Worker) -> Callable[[bytes], bool]:
            nonlocal reading
            reading = Reading(worker, chunks(), take)
            return reading.offered

        async with self._exchange(entry, body, path, request, entry.plan, offer) as (worker, answer):
            while (found := await piece(worker, answer)) is not None:
                for chunk in reading.read(found):
                    yield chunk
        for chunk in reading.end():
            yield chunk

    async def _pieces(
        self, entry: Planned, body: Body, path: str, request: bytes, plan: WorkerPlan
    ) -> AsyncGenerator[bytes, None]:
        """An answer's bytes as they come."""
        async with self._exchange(entry, body, path, request, plan) as (worker, answer):
            while (found := await piece(worker, answer)) is not None:
                yield found
