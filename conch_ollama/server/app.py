"""The FastAPI app of the shim: door, routes and errors put together. Opens no socket (that is `listen`)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.protocol import Runtime
from conch_ollama.server.as_text import Render
from conch_ollama.server.door import Door, Endpoint
from conch_ollama.server.errors import Refusal
from conch_ollama.server.responses import failed, refused
from conch_ollama.server.schemas.documents import document
from conch_ollama.server.settings import Settings
from conch_ollama.server.shim import Shim
from conch_ollama.version import __version__

_LISTING_S = 0.5
#: Modules of conch_ollama.server.routes, each with a `router`.
ROUTES = ("openai", "ollama", "ollama_models", "generate", "forward", "feedback", "health", "metrics", "docs")


def make_app(settings: Settings, runtimes: Mapping[str, Runtime], *, render: Render | None = None) -> FastAPI:
    """The shim in front of `runtimes` (by the names that `settings.models` uses). `render`: how a TEMPLATE that a
    request brings is rendered; without it such requests are refused.

    Closes them when it ends. `app.state.shim` is its state, `app.state.door` what a server is to call. Raises
    UsageError, BadConfigError, NotWritableError.
    """
    shim = Shim(settings, runtimes, render)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # An upstream that is slow to answer must not keep the others from being served.
        listing = asyncio.create_task(shim.registry.refresh(0))
        await asyncio.wait({listing}, timeout=_LISTING_S)
        try:
            yield
        finally:
            listing.cancel()
            await shim.close()

    app = FastAPI(
        title="conch",
        description="One door for every client: OpenAI's and Ollama's dialects, and /generate.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own takes its script from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.shim = shim
    routers = [importlib.import_module(f"conch_ollama.server.routes.{name}").router for name in ROUTES]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _refuse_http)
    for kind in (Refusal, ConchError, Exception):
        app.add_exception_handler(kind, _fail)
    # Before all of the framework's own layers: most requests never get to them.
    app.middleware_stack = app.state.door = Door(app, shim, _straight(routers))
    app.openapi = _documented(app)  # type: ignore[method-assign]
    return app


def _straight(routers: Iterable[APIRouter]) -> dict[tuple[str, str], Endpoint]:
    """The endpoints of paths without parameters: each takes the request and makes the response itself."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {
        (method, route.path): route.endpoint
        for route in routes
        if "{" not in route.path
        for method in route.methods or ()
    }


def _documented(app: FastAPI) -> Any:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    return openapi


async def _refuse_http(request: Request, err: Exception) -> Response:
    """What the framework refuses: paths and methods that are none."""
    assert isinstance(err, HTTPException)  # noqa: S101 - registered for it
    message = "There is no such path." if err.status_code == 404 else err.detail
    return refused(request.scope, Refusal(err.status_code, message, headers=err.headers or {}))


async def _fail(request: Request, err: Exception) -> Response:
    return failed(request.scope, err)[1]
