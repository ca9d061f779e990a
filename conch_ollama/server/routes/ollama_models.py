"""The doors of Ollama's dialect that tell about models: tags, show, ps, version; and those that can't be here."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from conch_ollama.server.bodies import parse_object, read_body
from conch_ollama.server.dialects.ollama_cards import listed, running, shown
from conch_ollama.server.errors import Refusal
from conch_ollama.server.jobs import find_model
from conch_ollama.server.responses import JSONAnswer
from conch_ollama.server.schemas.documents import answers, body_of, object_with
from conch_ollama.server.schemas.ollama import OllamaShowRequest
from conch_ollama.server.shim import shim_of
from conch_ollama.server.visitors import raw_body, visitor_of

router = APIRouter(tags=["Ollama"])
#: The version whose dialect is spoken; clients read features from it.
OLLAMA_VERSION = "0.9.3"
_MODELS = answers(object_with(models="array"), errors="OllamaError")


@router.get("/", include_in_schema=False)
@router.head("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """What Ollama's clients ask first."""
    return Response("Ollama is running", media_type="text/plain; charset=utf-8")


@router.head("/api/version", include_in_schema=False)
@router.get("/api/version", responses=answers(object_with(version="string"), errors="OllamaError"))
async def version(request: Request) -> Response:
    """Ollama's version, not conch's."""
    return JSONAnswer({"version": OLLAMA_VERSION})


@router.head("/api/tags", include_in_schema=False)
@router.get("/api/tags", responses=_MODELS)
async def tags(request: Request) -> Response:
    """The models that the caller may use."""
    visitor = visitor_of(request)
    found = await shim_of(request).registry.listed(visitor.caller, visitor.address)
    return JSONAnswer({"models": [listed(served.name, served.card) for served in found]})


@router.get("/api/ps", responses=_MODELS)
async def ps(request: Request) -> Response:
    """Those of them that are loaded."""
    shim, visitor = shim_of(request), visitor_of(request)
    healths = await shim.ask_health()
    found = await shim.registry.listed(visitor.caller, visitor.address)
    loaded = {id(shim.registry.runtimes[name]): health.loaded for name, health in healths.items()}
    return JSONAnswer(
        {
            "models": [
                running(served.name, served.card, loaded[id(served.runtime)][served.model])
                for served in found
                if served.name == served.target and served.model in loaded.get(id(served.runtime), {})
            ]
        }
    )


@router.post(
    "/api/show",
    openapi_extra=body_of(OllamaShowRequest),
    responses=answers(object_with(details="object", model_info="object", capabilities="array"), errors="OllamaError"),
)
async def show(request: Request) -> Response:
    """What is known of one model."""
    given = read_body(request, OllamaShowRequest, shim_of(request).settings.limits.json_depth)
    name = given.get("model") or given.get("name")
    if not name:
        raise Refusal(400, "model is required")
    served = await find_model(request, name)
    return JSONAnswer(shown(served.name, served.card, go_template=served.runtime.kind == "ollama"))


async def _not_here(request: Request) -> Response:
    what = request.url.path.removeprefix("/api/").partition("/")[0]
    try:
        given = parse_object(raw_body(request), shim_of(request).settings.limits.json_depth)
    except Refusal:  # a blob, or nothing
        given = {}
    model = given.get("model") or given.get("name") or given.get("source") or ""
    raise Refusal(
        501,
        f"{what} {model}".strip() + ": this is conch, which serves models and does not manage them; "
        "use `conch export`, `conch register` or Ollama itself",
    )


for _method, _path in (
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("HEAD", "/api/blobs/{digest}"),
    ("POST", "/api/blobs/{digest}"),
):
    _refused: dict[int | str, Any] = {501: {"description": "conch does not manage models."}}
    router.add_api_route(_path, _not_here, methods=[_method], include_in_schema=False, responses=_refused)
