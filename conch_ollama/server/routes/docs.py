"""/docs: Swagger UI over the shim's own OpenAPI document. All that the page takes comes from here, nothing from a CDN.

The script and the style are those that the package `fastapi-swagger` carries; its code is not run.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)
_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
#: The page and what it refers to.
PATHS = frozenset({"/docs", "/docs/start.js", *(f"/docs/{name}" for name in _ASSETS)})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
# Addresses are relative, for proxies that serve the shim below a path.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>conch</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<noscript>This page needs its script; the document itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without a validator: it would send the document's address to a server outside.
_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""


@router.get("/docs")
async def page(request: Request) -> Response:
    """The page, for a browser."""
    return Response(_PAGE, media_type="text/html; charset=utf-8", headers=_SAFE)


@router.get("/docs/start.js")
async def start(request: Request) -> Response:
    """Starts it: a file, as the policy allows no script in the page."""
    return Response(_START, media_type="text/javascript; charset=utf-8", headers=_SAFE)


def _asset(name: str, media_type: str) -> None:
    async def asset(request: Request) -> Response:
        return Response(await asyncio.to_thread((_folder() / name).read_bytes), media_type=media_type, headers=_SAFE)

    router.add_api_route(f"/docs/{name}", asset, methods=["GET"])


for _name, _media_type in _ASSETS.items():
    _asset(_name, _media_type)


def _folder() -> Path:
    found = find_spec("fastapi_swagger")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package fastapi-swagger is not installed")
    return Path(found.origin).parent / "resources"
