"""The OpenAPI document: request models as components, the documented responses of every door. Checks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from conch_ollama.server.schemas import ollama, openai

if TYPE_CHECKING:
    from fastapi import FastAPI

    from conch_ollama.server.schemas.base import Edge

_REF = "#/components/schemas/{model}"
_OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_OLLAMA_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_ERRORS = {
    400: "The request is wrong.",
    401: "No key, token or address that is known.",
    403: "Not from here, or not for this caller.",
    404: "No such model, for this caller.",
    408: "The body took too long to come.",
    413: "The body is too large.",
    429: "Too many requests; see Retry-After.",
    500: "The shim has a fault.",
    501: "The runtime can't do this.",
    502: "The runtime failed.",
    503: "No place came free, or the shim is ending; see Retry-After.",
    504: "The model took too long.",
}


def body_of(model: type[Edge]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body is `model`."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def parameters(where: str, **schemas: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route with parameters in its "path" or "query"; the first one is required."""
    first = next(iter(schemas))
    listed = [{"name": n, "in": where, "required": n == first, "schema": one} for n, one in schemas.items()]
    return {"parameters": listed}


def answers(
    schema: dict[str, Any],
    *,
    stream: str | None = None,
    errors: str = "OpenAIError",
    faults: Mapping[int, str] = MappingProxyType({}),
) -> dict[int | str, Any]:
    """`responses` of a route: its JSON, its stream's media type if it has one, and every documented error; `faults`:
    those of its own, by status."""
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if stream:
        # An event or a line at a time: what a schema of the whole would mean, no two tools agree on.
        content[stream] = {"schema": {"description": "The answer in pieces, if a stream is asked for."}}
    found: dict[int | str, Any] = {200: {"description": "The answer.", "content": content}}
    problem = {"schema": {"$ref": _REF.format(model=errors)}}
    for status, text in sorted({**_ERRORS, **faults}.items()):
        found[status] = {"description": text, "content": {"application/json": problem}}
    return found


def object_with(**properties: str) -> dict[str, Any]:
    """The schema of an object that has these properties, of these types."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": {name: {"type": kind} for name, kind in properties.items()},
    }


def document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with the components that its routes refer to."""
    from fastapi.openapi.utils import get_openapi

    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # the framework's own; ours is 400
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(_definitions())
    schemas.update({"OpenAIError": _OPENAI_ERROR, "OllamaError": _OLLAMA_ERROR})
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{}, {"bearer": []}]  # whether a key is asked for is the shim's settings' business
    return found


@cache
def _definitions() -> dict[str, Any]:
    models = [model for module in (openai, ollama) for model in vars(module).values() if is_typeddict(model)]
    adapters = {model: TypeAdapter(model) for model in models}
    asked: list[tuple[Any, Literal["validation"], Any]] = [(m, "validation", one) for m, one in adapters.items()]
    _, document = TypeAdapter.json_schemas(asked, ref_template=_REF)
    definitions: dict[str, Any] = document["$defs"]
    return definitions
