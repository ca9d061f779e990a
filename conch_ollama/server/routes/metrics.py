"""Figures for Prometheus. With keys, only for callers that may use every model: the names of all stand in them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.server.errors import Refusal
from conch_ollama.server.metrics import CONTENT_TYPE
from conch_ollama.server.schemas.documents import answers
from conch_ollama.server.shim import shim_of
from conch_ollama.server.visitors import visitor_of

router = APIRouter(tags=["watching"])
_TEXT: dict[int | str, Any] = {
    **answers({}),
    200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
}


@router.get("/metrics", responses=_TEXT)
async def metrics(request: Request) -> Response:
    """In Prometheus' text format."""
    if "*" not in visitor_of(request).caller.models:
        raise Refusal(403, "The metrics are for callers that may use all models.", "not_allowed")
    shim = shim_of(request)
    await shim.ask_health()
    return Response(shim.metrics.text(), media_type=CONTENT_TYPE)
