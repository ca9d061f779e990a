"""The doors of Ollama's dialect that ask a model: chat, generate, embed, and the loading and unloading by both."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.server.answering import embed
from conch_ollama.server.as_text import AsText
from conch_ollama.server.bodies import read_body
from conch_ollama.server.dialects.ollama_requests import chat_body, generate_body
from conch_ollama.server.errors import Refusal
from conch_ollama.server.jobs import job_for
from conch_ollama.server.responses import WholeAnswer
from conch_ollama.server.routes.ollama_answering import NDJSON, answered, loaded
from conch_ollama.server.schemas.documents import answers, body_of, object_with
from conch_ollama.server.schemas.ollama import (
    OllamaChatRequest,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
)
from conch_ollama.server.shim import shim_of

router = APIRouter(tags=["Ollama"])
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
    given = read_body(request, OllamaChatRequest, shim.settings.limits.json_depth)
    if not given.get("messages"):
        return await loaded(request, given, chat=True)
    job = await job_for(request, "chat", chat_body(given), "api.chat")
    return answered(shim, job, given, chat=True)


@router.post(
    "/api/generate",
    openapi_extra=body_of(OllamaGenerateRequest),
    responses=_documented(model="string", created_at="string", response="string", done="boolean"),
)
async def generate(request: Request) -> Response:
    """Answer one prompt, as a stream unless `stream` is false."""
    shim = shim_of(request)
    given = read_body(request, OllamaGenerateRequest, shim.settings.limits.json_depth)
    if not given.get("prompt") and not given.get("suffix"):
        return await loaded(request, given, chat=False)
    kind, body = generate_body(given)
    job = await job_for(request, kind, body, "api.generate")
    if body.get("suffix") and "insert" not in job.served.card.capabilities:
        raise Refusal(400, f"{given['model']} does not support insert")
    if given.get("template") or given.get("context"):
        as_text = AsText(given.get("template") or "", given.get("context") or (), shim.render)
        as_text.check(job)
        job.prepare = as_text
    return answered(shim, job, given, chat=False, leaves_context=kind == "chat" and not given.get("images"))


@router.post(
    "/api/embed", openapi_extra=body_of(OllamaEmbedRequest), responses=_documented(model="string", embeddings="array")
)
async def embed_texts(request: Request) -> Response:
    """One vector for each input."""
    shim = shim_of(request)
    given = read_body(request, OllamaEmbedRequest, shim.settings.limits.json_depth)
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
    given = read_body(request, OllamaEmbeddingsRequest, shim.settings.limits.json_depth)
    job = await job_for(request, "embed", given, "api.embeddings")
    options = {"truncate": True, **({"keep_alive": given["keep_alive"]} if given.get("keep_alive") is not None else {})}

    async def produce() -> dict[str, Any]:
        if not given.get("prompt"):
            return {"embedding": []}
        found = await embed(shim, job, [given["prompt"]], options)
        return {"embedding": list(found.vectors[0])}

    return WholeAnswer(produce)
