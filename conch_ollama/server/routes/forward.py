"""/v1/responses and Anthropic's /v1/messages, handed to the runtimes that have them: nothing is translated."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from conch_ollama.server.answering import forward
from conch_ollama.server.bodies import read_body
from conch_ollama.server.dialects.openai import compact, event
from conch_ollama.server.errors import Refusal, openai_error
from conch_ollama.server.jobs import job_for
from conch_ollama.server.responses import JSON, StreamedAnswer, Write
from conch_ollama.server.schemas.documents import answers, body_of
from conch_ollama.server.schemas.openai import MessagesRequest, ResponsesRequest
from conch_ollama.server.shim import shim_of

router = APIRouter(tags=["passed on"])
_ANSWER = answers({"type": "object"}, stream="text/event-stream")
#: Path -> its name of the longest answer.
_LIMITS = {"/v1/responses": "max_output_tokens", "/v1/messages": "max_tokens"}


@router.post("/v1/responses", openapi_extra=body_of(ResponsesRequest), responses=_ANSWER)
async def responses(request: Request) -> Response:
    """OpenAI's newer dialect, as the runtime answers it."""
    return await _passed_on(request, ResponsesRequest)


@router.post("/v1/messages", openapi_extra=body_of(MessagesRequest), responses=_ANSWER)
async def messages(request: Request) -> Response:
    """Anthropic's dialect, as the runtime answers it."""
    return await _passed_on(request, MessagesRequest)


async def _passed_on(request: Request, model: type[BaseModel]) -> Response:
    shim = shim_of(request)
    body = await read_body(request, model, shim.settings.limits.json_depth)
    path = request.url.path
    cap = shim.settings.limits.max_tokens
    if cap is not None:
        given = body.get(_LIMITS[path])
        body[_LIMITS[path]] = min(given, cap) if isinstance(given, int) else cap
    job = await job_for(request, "forward", body, path.rpartition("/")[2])

    async def produce(write: Write) -> None:
        await forward(shim, job, path, write)

    streamed = bool(body.get("stream"))
    return StreamedAnswer(
        produce,
        media_type="text/event-stream; charset=utf-8" if streamed else JSON,
        failure=_failed_event if streamed else _failed,
        comment=b": still reading\n\n" if streamed else None,
        quiet_s=shim.settings.limits.keep_alive_s,
        stuck_s=shim.settings.limits.stuck_s,
    )


def _failed_event(refusal: Refusal) -> bytes:
    error: dict[str, Any] = {"type": "error", **openai_error(refusal)}
    return b"event: error\n" + event(compact(error))


def _failed(refusal: Refusal) -> bytes:
    return b""  # half a JSON text can't be mended: the client sees that it is cut off
