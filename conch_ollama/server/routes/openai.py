"""The doors of OpenAI's dialect: chat, completions, embeddings, models; each also without `/v1`."""

from __future__ import annotations

import base64
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from conch_ollama.runtimes.protocol import Chunk, compact
from conch_ollama.server.answering import Job, answer, embed
from conch_ollama.server.bodies import read_body
from conch_ollama.server.dialects.openai import DONE, Rewriter, event
from conch_ollama.server.errors import openai_error
from conch_ollama.server.jobs import find_model, job_for, only_one
from conch_ollama.server.responses import JSONAnswer, StreamedAnswer, WholeAnswer
from conch_ollama.server.schemas.documents import answers, body_of, object_with, parameters
from conch_ollama.server.schemas.openai import ChatRequest, CompletionRequest, EmbeddingRequest
from conch_ollama.server.shim import Shim, shim_of
from conch_ollama.server.visitors import visitor_of
from conch_ollama.server.whole import whole

if TYPE_CHECKING:
    from conch_ollama.server.registry import Served

router = APIRouter(tags=["OpenAI"])
SSE = "text/event-stream; charset=utf-8"
COMMENT = b": still reading\n\n"
_ANSWER = object_with(id="string", object="string", created="integer", model="string", choices="array")
_LIST = object_with(object="string", data="array")


@router.post("/chat/completions", include_in_schema=False)
@router.post(
    "/v1/chat/completions",
    openapi_extra=body_of(ChatRequest),
    responses=answers(_ANSWER, stream="text/event-stream"),
)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as a stream."""
    shim = shim_of(request)
    body = read_body(request, ChatRequest, shim.settings.limits.json_depth)
    return _answer(shim, await job_for(request, "chat", body, "chat.completions"), body)


@router.post("/completions", include_in_schema=False)
@router.post(
    "/v1/completions",
    openapi_extra=body_of(CompletionRequest),
    responses=answers(_ANSWER, stream="text/event-stream"),
)
async def completions(request: Request) -> Response:
    """Go on with a text, whole or as a stream."""
    shim = shim_of(request)
    body = read_body(request, CompletionRequest, shim.settings.limits.json_depth)
    prompts = _prompts(body["prompt"])
    if body.get("stream") or len(prompts) == 1:
        job = await job_for(request, "complete", {**body, "prompt": only_one(prompts)}, "completions")
        return _answer(shim, job, body)
    jobs = [await job_for(request, "complete", {**body, "prompt": text}, "completions") for text in prompts]

    async def produce() -> dict[str, Any]:
        done = [await whole(shim, job) for job in jobs]
        return _side_by_side([one.text(jobs[0].served.name) for one in done])

    return WholeAnswer(produce)


def _prompts(prompt: Any) -> list[Any]:
    if isinstance(prompt, list) and isinstance(prompt[0], str):
        return prompt
    return [prompt]


def _side_by_side(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer out of several: choices numbered through, usage added up."""
    choices = [choice for one in answers for choice in one["choices"]]
    usages = [one["usage"] for one in answers if "usage" in one]
    keys = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {
        **answers[0],
        "choices": [{**choice, "index": index} for index, choice in enumerate(choices)],
        **({"usage": {key: sum(usage.get(key, 0) for usage in usages) for key in keys}} if usages else {}),
    }


def _answer(shim: Shim, job: Job, body: dict[str, Any]) -> Response:
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    # Always asked for: the figures need it. The client sees it if it asked.
    job.body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    name, field = job.served.name, shim.settings.reasoning_field
    if not body.get("stream"):

        async def produce() -> dict[str, Any]:
            done = await whole(shim, job)
            return done.chat(name, field) if job.kind == "chat" else done.text(name)

        return WholeAnswer(produce)

    async def stream(out: StreamedAnswer) -> None:
        rewriter = Rewriter(name, usage=asked, reasoning_field=field)

        async def listen(chunk: Chunk) -> None:
            if events := rewriter.events((chunk,)):
                await out.write(events)

        await answer(shim, job, listen, partial(out.push, rewriter.events))
        await out.write(DONE)

    return StreamedAnswer(
        stream,
        media_type=SSE,
        failure=lambda refusal: event(compact(openai_error(refusal))),
        comment=COMMENT,
        quiet_s=shim.settings.limits.keep_alive_s,
        stuck_s=shim.settings.limits.stuck_s,
    )


@router.post("/embeddings", include_in_schema=False)
@router.post("/v1/embeddings", openapi_extra=body_of(EmbeddingRequest), responses=answers(_LIST))
async def embeddings(request: Request) -> Response:
    """One vector for each input, as numbers or as base64 of little-endian float32."""
    shim = shim_of(request)
    body = read_body(request, EmbeddingRequest, shim.settings.limits.json_depth)
    job = await job_for(request, "embed", body, "embeddings")
    given = body["input"]
    several = isinstance(given, list) and not isinstance(given[0], int)
    as_base64 = body.get("encoding_format") == "base64"

    async def produce() -> dict[str, Any]:
        found = await embed(shim, job, given if several else [given], _known(body, "dimensions"))
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else list(vector)}
            for index, vector in enumerate(found.vectors)
        ]
        usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
        return {"object": "list", "data": data, "model": job.served.name, "usage": usage}

    return WholeAnswer(produce)


def _packed(vector: Any) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _known(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names if body.get(name) is not None}


@router.head("/v1/models", include_in_schema=False)
@router.get("/models", include_in_schema=False)
@router.get("/models/", include_in_schema=False)
@router.get("/v1/models/", include_in_schema=False)
@router.get("/v1/models", responses=answers(_LIST))
async def models(request: Request) -> Response:
    """The models that the caller may use."""
    visitor = visitor_of(request)
    found = await shim_of(request).registry.listed(visitor.caller, visitor.address)
    return JSONAnswer({"object": "list", "data": [_listed(served) for served in found]})


@router.get("/models/{name:path}", include_in_schema=False)
@router.get(
    "/v1/models/{name:path}",
    openapi_extra=parameters("path", name={"type": "string"}),
    responses=answers(object_with(id="string", object="string")),
)
async def model(request: Request) -> Response:
    """One of them."""
    return JSONAnswer(_listed(await find_model(request, request.path_params["name"])))


def _listed(served: Served) -> dict[str, Any]:
    length = served.card.options.get("num_ctx") or served.card.context_length  # what it reads here, not what it could
    return {
        "id": served.name,
        "object": "model",
        "created": int(served.card.modified),
        "owned_by": "conch",
        # Not in OpenAI's answer; clients that know vLLM or llama.cpp look for it.
        **({"max_model_len": length} if length else {}),
    }
