"""The doors of Ollama's dialect that ask a model: chat, generate, embed, and the loading and unloading by both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.runtimes.durations import keep_alive_seconds
from conch_ollama.runtimes.protocol import Chunk
from conch_ollama.server.answering import Job, Tally, answer, embed
from conch_ollama.server.bodies import read_body
from conch_ollama.server.dialects.ollama_answers import OllamaAnswer, line
from conch_ollama.server.dialects.ollama_requests import chat_body, generate_body
from conch_ollama.server.dialects.openai import Whole
from conch_ollama.server.errors import Refusal, ollama_error
from conch_ollama.server.jobs import find_model, job_for
from conch_ollama.server.responses import StreamedAnswer, WholeAnswer, Write
from conch_ollama.server.schemas.documents import answers, body_of, object_with
from conch_ollama.server.schemas.ollama import (
    OllamaChatRequest,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
)
from conch_ollama.server.shim import Shim, shim_of

router = APIRouter(tags=["Ollama"])
NDJSON = "application/x-ndjson"
_NS = 1_000_000_000


def _documented(**properties: str) -> dict[int | str, Any]:
    return answers(object_with(**properties), stream=NDJSON, errors="OllamaError")


@router.post(
    "/api/chat",
    openapi_extra=body_of(OllamaChatRequest),
    responses=_documented(model="string", created_at="string", message="object", done="boolean"),
)
async def chat(request: Request) -> Response:
    """Answer a conversation, as a stream unless `stream` is false."""
    shim = shim_of(request)
    given = await read_body(request, OllamaChatRequest, shim.settings.limits.json_depth)
    if not given.get("messages"):
        return await _load(request, given, chat=True)
    job = await job_for(request, "chat", chat_body(given), "api.chat")
    return _answer(shim, job, given, chat=True)


@router.post(
    "/api/generate",
    openapi_extra=body_of(OllamaGenerateRequest),
    responses=_documented(model="string", created_at="string", response="string", done="boolean"),
)
async def generate(request: Request) -> Response:
    """Answer one prompt, as a stream unless `stream` is false."""
    shim = shim_of(request)
    given = await read_body(request, OllamaGenerateRequest, shim.settings.limits.json_depth)
    if not given.get("prompt") and not given.get("suffix"):
        return await _load(request, given, chat=False)
    kind, body = generate_body(given)
    job = await job_for(request, kind, body, "api.generate")
    if body.get("suffix") and "insert" not in job.served.card.capabilities:
        raise Refusal(400, f"{given['model']} does not support insert")
    return _answer(shim, job, given, chat=False)


async def _load(request: Request, given: Mapping[str, Any], *, chat: bool) -> Response:
    """Nothing is asked: load the model, or unload it where `keep_alive` is 0."""
    served = await find_model(request, given["model"])
    leases = shim_of(request).leases
    keep_alive = keep_alive_seconds(given.get("keep_alive"))
    reason = "unload" if keep_alive == 0 else "load"

    async def produce() -> dict[str, Any]:
        with leases.held(served.runtime):
            if reason == "unload":
                await served.runtime.unload(served.model)
            else:
                await served.runtime.load(served.model, keep_alive)
        return OllamaAnswer(given["model"], time.time(), chat=chat, think=False).empty(time.time(), reason)

    return WholeAnswer(produce)


def _answer(shim: Shim, job: Job, given: Mapping[str, Any], *, chat: bool) -> Response:
    think = given.get("think")
    if think and "thinking" not in job.served.card.capabilities:
        raise Refusal(400, f'"{given["model"]}" does not support thinking')
    job.body["stream_options"] = {"include_usage": True}
    made = OllamaAnswer(given["model"], job.tally.begun, chat=chat, think=think is not False)
    if given.get("stream") is False:

        async def whole() -> dict[str, Any]:
            found = Whole()

            async def listen(chunk: Chunk) -> None:
                found.add(chunk)
                for _ in made.lines(chunk, 0):
                    pass

            await answer(shim, job, listen)
            choice = found.choice()
            thought = "".join(choice.thought) if think is not False else ""
            return made.final(time.time(), _figures(job.tally), "".join(choice.content or choice.text), thought)

        return WholeAnswer(whole)

    async def stream(write: Write) -> None:
        async def listen(chunk: Chunk) -> None:
            for piece in made.lines(chunk, time.time()):
                await write(line(piece))

        await answer(shim, job, listen)
        for piece in made.last(time.time(), _figures(job.tally)):
            await write(line(piece))

    return StreamedAnswer(
        stream,
        media_type=NDJSON,
        failure=lambda refusal: line(ollama_error(refusal)),
        stuck_s=shim.settings.limits.stuck_s,
    )


def _figures(tally: Tally) -> dict[str, float]:
    return {
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "first_s": tally.first_s or 0.0,
        "total_s": tally.total_s,
    }


@router.post(
    "/api/embed", openapi_extra=body_of(OllamaEmbedRequest), responses=_documented(model="string", embeddings="array")
)
async def embed_texts(request: Request) -> Response:
    """One vector for each input."""
    shim = shim_of(request)
    given = await read_body(request, OllamaEmbedRequest, shim.settings.limits.json_depth)
    job = await job_for(request, "embed", given, "api.embed")
    inputs = [given["input"]] if isinstance(given["input"], str) else given["input"]
    options = {key: given[key] for key in ("dimensions", "keep_alive") if given.get(key) is not None}
    options["truncate"] = given.get("truncate") is not False

    async def produce() -> dict[str, Any]:
        texts = [text for text in inputs if text]
        if len(texts) < len(inputs) and len(inputs) > 1:
            raise Refusal(400, "an input is empty")
        found = await embed(shim, job, texts, options) if texts else None
        return {
            "model": given["model"],
            "embeddings": [list(vector) for vector in found.vectors] if found else [],
            "total_duration": int(job.tally.total_s * _NS),
            "load_duration": 0,
            "prompt_eval_count": found.tokens if found else 0,
        }

    return WholeAnswer(produce)


@router.post(
    "/api/embeddings", openapi_extra=body_of(OllamaEmbeddingsRequest), responses=_documented(embedding="array")
)
async def embeddings(request: Request) -> Response:
    """The old door: one prompt, one vector."""
    shim = shim_of(request)
    given = await read_body(request, OllamaEmbeddingsRequest, shim.settings.limits.json_depth)
    job = await job_for(request, "embed", given, "api.embeddings")
    options = {"truncate": True, **({"keep_alive": given["keep_alive"]} if given.get("keep_alive") is not None else {})}

    async def produce() -> dict[str, Any]:
        if not given.get("prompt"):
            return {"embedding": []}
        found = await embed(shim, job, [given["prompt"]], options)
        return {"embedding": list(found.vectors[0])}

    return WholeAnswer(produce)
