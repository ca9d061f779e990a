"""/generate: a prompt in, `{"generated_text", "generate_text"}` out, whole. For clients that know no dialect.

Both names hold the same text: there are clients of either.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from conch_ollama.server.bodies import parse_object, with_texts
from conch_ollama.server.jobs import job_for
from conch_ollama.server.responses import WholeAnswer
from conch_ollama.server.schemas.documents import answers, body_of, object_with, parameters
from conch_ollama.server.schemas.openai import GenerateRequest
from conch_ollama.server.shim import shim_of
from conch_ollama.server.visitors import raw_body
from conch_ollama.server.whole import whole

router = APIRouter(tags=["generate"])
_TEXTS = answers(object_with(generated_text="string", generate_text="string"))
_FORM = "application/x-www-form-urlencoded"
# Not as arguments of the function: FastAPI would load pydantic's older half for them.
_QUERY = parameters(
    "query",
    prompt={"type": "string", "minLength": 1},
    system={"type": "string"},
    model={"type": "string", "maxLength": 512},
    max_tokens={"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    think={"type": "boolean", "default": False},
)
_THOUGHT = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
#: A model that was started inside its thought closes what it never opened.
_END_OF_THOUGHT = "</think>"


@router.get("/generate", openapi_extra=_QUERY, responses=_TEXTS)
async def generate_get(request: Request) -> Response:
    """Answer a prompt that stands in the address. Long ones, and those with `&` or `#` in them, are better sent by
    POST. `think`: with the model's thought."""
    return await _generate(request, with_texts({}, request.query_params, GenerateRequest))


@router.post("/generate", openapi_extra=body_of(GenerateRequest), responses=_TEXTS)
async def generate_post(request: Request) -> Response:
    """Answer a prompt: as JSON, or as a form or plain text where the Content-Type says so. What stands in the address
    counts where the body does not say it."""
    body: dict[str, Any] = {}
    texts = dict(request.query_params)
    raw = raw_body(request)
    kind = request.headers.get("content-type", "")
    if kind.startswith("text/plain"):
        body["prompt"] = raw.decode("utf-8", "replace")
    elif kind.startswith(_FORM) and not raw.lstrip().startswith(b"{"):  # curl calls everything a form
        texts |= parse_qsl(raw.decode("utf-8", "replace"))
    elif raw or not texts:
        body = parse_object(raw, shim_of(request).settings.limits.json_depth)
    return await _generate(request, with_texts(body, texts, GenerateRequest))


async def _generate(request: Request, given: dict[str, Any]) -> Response:
    shim = shim_of(request)
    system = [{"role": "system", "content": given["system"]}] if given.get("system") else []
    body: dict[str, Any] = {
        "model": given.get("model"),
        "messages": [*system, {"role": "user", "content": given["prompt"]}],
        "max_tokens": given.get("max_tokens"),
        "stream_options": {"include_usage": True},
    }
    job = await job_for(request, "chat", body, "generate")
    wants_thought = bool(given.get("think"))

    async def produce() -> dict[str, Any]:
        choice = (await whole(shim, job)).choice()
        text = "".join(choice.content)
        if wants_thought and choice.thought:
            text = f"<think>\n{''.join(choice.thought).strip()}\n</think>\n\n{text}"
        elif not wants_thought:
            text = without_thought(text)
        return {"generated_text": text, "generate_text": text}

    return WholeAnswer(produce)


def without_thought(text: str) -> str:
    """The answer alone, where a runtime left the thought in it."""
    found = _THOUGHT.sub("", text, count=1)
    if found == text and _END_OF_THOUGHT in text and "<think>" not in text:
        return text.partition(_END_OF_THOUGHT)[2].lstrip()
    return found
