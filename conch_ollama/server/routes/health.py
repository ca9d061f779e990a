"""Whether the shim lives, and whether it can answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.server.responses import JSONAnswer
from conch_ollama.server.schemas.documents import object_with
from conch_ollama.server.shim import shim_of

router = APIRouter(tags=["watching"])
_STATUS: dict[int | str, Any] = {
    200: {
        "description": "It is well.",
        "content": {"application/json": {"schema": object_with(status="string")}},
    },
    421: {"description": "Not under this name."},
    403: {"description": "Not for pages from this origin."},
}
_BUSY: dict[int | str, Any] = {
    503: {
        "description": "Not now.",
        "content": {"application/json": {"schema": object_with(status="string")}},
    }
}


@router.head("/health", include_in_schema=False)
@router.get("/health", responses=_STATUS)
async def health(request: Request) -> Response:
    """The shim itself: true while it runs."""
    return JSONAnswer({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses=_STATUS | _BUSY)
async def ready(request: Request) -> Response:
    """Its runtimes too: false while it ends, and while no runtime is well."""
    shim = shim_of(request)
    healths = await shim.ask_health()
    well = not shim.draining and any(health.ok for health in healths.values())
    status = "ending" if shim.draining else "ok" if well else "no runtime is well"
    return JSONAnswer({"status": status}, 200 if well else 503, None if well else {"retry-after": "5"})
