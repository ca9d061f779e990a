"""/v1/responses and Anthropic's /v1/messages, handed to the runtimes that have them: nothing is translated.

Beside each is the door that counts the tokens of such a request and answers nothing.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.runtimes.protocol import compact
from conch_ollama.server.answering import Job, forward
from conch_ollama.server.bodies import read_body
from conch_ollama.server.dialects.openai import event
from conch_ollama.server.errors import Refusal, openai_error
from conch_ollama.server.jobs import job_for
from conch_ollama.server.responses import JSON, StreamedAnswer
from conch_ollama.server.schemas.base import Edge
from conch_ollama.server.schemas.documents import answers, body_of, object_with
from conch_ollama.server.schemas.openai import MessagesRequest, ResponsesRequest
from conch_ollama.server.shim import shim_of

router = APIRouter(tags=["passed on"])
_ANSWER = answers({"type": "object"}, stream="text/event-stream")
_COUNT = answers(object_with(input_tokens="integer"))
#: Path -> its name of the longest answer.
_LIMITS = {"/v1/responses": "max_output_tokens", "/v1/messages": "max_tokens"}
#: Beginning of a path -> its name of the system prompt.
_SYSTEM = {"/v1/responses": "instructions", "/v1/messages": "system"}


@router.post("/v1/responses", openapi_extra=body_of(ResponsesRequest), responses=_ANSWER)
async def responses(request: Request) -> Response:
    """OpenAI's newer dialect, as the runtime answers it."""
    return await _passed_on(request, ResponsesRequest)


@router.post("/v1/messages", openapi_extra=body_of(MessagesRequest), responses=_ANSWER)
async def messages(request: Request) -> Response:
    """Anthropic's dialect, as the runtime answers it."""
    return await _passed_on(request, MessagesRequest)


@router.post("/v1/responses/input_tokens", openapi_extra=body_of(ResponsesRequest), responses=_COUNT)
async def input_tokens(request: Request) -> Response:
    """How many tokens the runtime would read for such a response."""
    return await _passed_on(request, ResponsesRequest)


@router.post("/v1/messages/count_tokens", openapi_extra=body_of(MessagesRequest), responses=_COUNT)
async def count_tokens(request: Request) -> Response:
    """How many tokens the runtime would read for such a message."""
    return await _passed_on(request, MessagesRequest)


async def _passed_on(request: Request, model: type[Edge]) -> Response:
    shim = shim_of(request)
    body = read_body(request, model, shim.settings.limits.json_depth)
    path = request.url.path
    cap, limit = shim.settings.limits.max_tokens, _LIMITS.get(path)
    if cap is not None and limit is not None:
        given = body.get(limit)
        body[limit] = min(given, cap) if isinstance(given, int) else cap
    job = await job_for(request, "count" if limit is None else "forward", body, path.rpartition("/")[2])
    _with_system(job, path)

    async def produce(out: StreamedAnswer) -> None:
        await forward(shim, job, path, out.write)

    streamed = limit is not None and bool(body.get("stream"))
    return StreamedAnswer(
        produce,
        media_type="text/event-stream; charset=utf-8" if streamed else JSON,
        failure=_failed_event if streamed else _failed,
        comment=b": still reading\n\n" if streamed else None,
        quiet_s=shim.settings.limits.keep_alive_s,
        stuck_s=shim.settings.limits.stuck_s,
    )


def _with_system(job: Job, path: str) -> None:
    """The model's own system prompt, where the request has none."""
    name = next(name for start, name in _SYSTEM.items() if path.startswith(start))
    given = job.body.get("input")
    own = isinstance(given, list) and any(item.get("role") in ("system", "developer") for item in given)
    if job.served.settings.system and not job.body.get(name) and not own:
        job.body[name] = job.served.settings.system


def _failed_event(refusal: Refusal) -> bytes:
    error: dict[str, Any] = {"type": "error", **openai_error(refusal)}
    return b"event: error\n" + event(compact(error))


def _failed(refusal: Refusal) -> bytes:
    return b""  # half a JSON text can't be mended: the client sees that it is cut off
