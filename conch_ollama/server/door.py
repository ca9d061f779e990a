"""The first thing a request meets, before any route: Host, Origin, CORS, who it is, how often, how large.

A plain ASGI layer. It reads the whole body, so that nothing behind it waits on a slow client.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from conch_ollama.server.access import ANYONE
from conch_ollama.server.audit import refused_record
from conch_ollama.server.credentials import client_address
from conch_ollama.server.errors import Refusal
from conch_ollama.server.origins import (
    cors_headers,
    host_allowed,
    host_not_rebound,
    origin_allowed,
    preflight_headers,
)
from conch_ollama.server.rates import Rates
from conch_ollama.server.responses import failed
from conch_ollama.server.routes import docs
from conch_ollama.server.shim import SHIM, Shim
from conch_ollama.server.visitors import BODY, KEY, Visitor
from conch_ollama.server.whole_body import HungUp, whole_body

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]
_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")
#: What tells nothing about models or callers, and so needs no key.
_OPEN = frozenset({"/", "/health", "/ready", "/openapi.json"}) | docs.PATHS
#: Characters of a path that the audit keeps.
_PATH = 200


class Door:
    """Lets requests in to `app` or refuses them. `straight`: (method, path) -> endpoint, for those that need no
    framework on the way, which costs more than all that the door does."""

    def __init__(self, app: FastAPI, shim: Shim, straight: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app = app
        self._rest = app.build_middleware_stack()
        self._straight = straight
        self._shim = shim
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"], scope[SHIM] = self._app, self._shim
        if scope["type"] == "lifespan":
            await self._rest(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        await _Visit(self, scope, receive, send).run()


class _Visit:
    """One request at the door."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self._door = door
        self._shim = door._shim
        self._scope = scope
        self._receive = receive
        self._raw_send = send
        self._headers = dict(scope["headers"])
        given = self._headers.get(b"x-request-id")
        self._id = given if given and _ID.fullmatch(given) else os.urandom(8).hex().encode()
        self._extra: list[tuple[bytes, bytes]] = [(b"x-request-id", self._id)]
        self._begun = time.perf_counter()
        self._status = 0

    async def run(self) -> None:
        scope = self._scope
        peer = scope["client"][0] if scope.get("client") else None
        proxies = self._shim.settings.security.proxies
        address = client_address(peer, self._all(b"x-forwarded-for") if proxies else (), proxies)
        # Until it is known better: what refuses a request early needs somebody to refuse.
        scope[KEY] = Visitor(ANYONE, address, self._id.decode())
        try:
            if await self._answered_preflight():
                return
            await self._let_in()
            scope[BODY] = await whole_body(scope, self._receive, self._headers, self._shim.settings.limits, self._close)
            endpoint = self._door._straight.get((scope["method"], scope["path"]))
            if endpoint is None:
                await self._door._rest(scope, self._receive, self._send)
            else:
                response = await endpoint(Request(scope))
                await response(scope, self._receive, self._send)
        except HungUp:
            pass
        except Exception as err:  # the border: ours are translated, others logged
            if self._status:
                raise
            _, response = failed(scope, err)
            await response(scope, self._receive, self._send)
        finally:
            self._shim.metrics.responses.labels(str(self._status)).inc()
            self._log()
            self._account()

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._extra]
        await self._raw_send(message)

    def _close(self) -> None:
        """The connection ends with the answer."""
        self._extra.append((b"connection", b"close"))

    def _all(self, name: bytes) -> Sequence[bytes]:
        """What each header of this name says."""
        one = self._headers.get(name)
        if one is None or len(self._headers) == len(self._scope["headers"]):  # none comes twice
            return () if one is None else (one,)
        return [line for known, line in self._scope["headers"] if known == name]

    def _text(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def _answered_preflight(self) -> bool:
        """Checks Host and Origin; answers OPTIONS."""
        security = self._shim.settings.security
        host, origin = self._text(b"host"), self._text(b"origin")
        # With keys a rebound name gains nothing, unless the names are listed.
        told = bool(security.hosts) or not (security.closed or security.insecure)
        if told and not (len(self._all(b"host")) == 1 and host_allowed(host, security.hosts)):
            raise Refusal(421, "This name is not served here; list it under `hosts`.", "host_not_allowed")
        if origin is None:
            # A picture or a link of a stranger's page sends no Origin, but browsers say where it comes from.
            foreign = self._headers.get(b"sec-fetch-site") == b"cross-site"
            if foreign and self._scope["path"] not in _OPEN:
                raise Refusal(403, "Pages of other sites may not call.", "origin_not_allowed")
            if self._scope["method"] != "OPTIONS":
                return False
            raise Refusal(400, "OPTIONS is for preflights, which have an Origin.", "invalid_request")
        if not origin_allowed(origin, host, security.origins, security.hosts):
            raise Refusal(403, "Pages from this origin may not call; list it under `origins`.", "origin_not_allowed")
        self._extra += cors_headers(origin)
        if self._scope["method"] != "OPTIONS":
            return False
        asked = self._text(b"access-control-request-headers") or ""
        private = self._text(b"access-control-request-private-network") == "true"
        await self._send({"type": "http.response.start", "status": 204, "headers": preflight_headers(asked, private)})
        await self._send({"type": "http.response.body", "body": b""})
        return True

    async def _let_in(self) -> None:
        scope, security = self._scope, self._shim.settings.security
        if scope["path"] in _OPEN:
            return
        visitor: Visitor = scope[KEY]
        caller = await self._shim.credentials.identify(self._headers, visitor.address)
        if caller is not visitor.caller:
            scope[KEY] = replace(visitor, caller=caller)
        if caller.how == "network" and not host_not_rebound(self._text(b"host"), security.hosts):
            # Else a page with a rebound name would use the network of whoever looks at it.
            raise Refusal(421, "This name is not served here; list it under `hosts`.", "host_not_allowed")
        if caller.rate is not None:
            self._door._rates.take(f"{caller.how} {caller.name}", caller.rate)

    def _account(self) -> None:
        """What ended without an answer, which has its own line, leaves one in the audit."""
        visitor: Visitor = self._scope[KEY]
        course = visitor.course
        if course.answered or (course.refusal is None and self._status):
            return
        closed = self._shim.settings.security.closed
        line = refused_record(visitor, course.refusal, recognised=visitor.caller is not ANYONE or not closed)
        line |= {
            "method": self._scope["method"],
            "path": self._scope["path"][:_PATH],
            "status": self._status or None,
            "total_s": round(time.perf_counter() - self._begun, 4),
        }
        self._shim.audit.refused(line)

    def _log(self) -> None:
        visitor: Visitor = self._scope[KEY]
        log.info(
            "request",
            extra={
                "request": visitor.request_id,
                "caller": visitor.caller.name,
                "address": visitor.address_text,
                "method": self._scope["method"],
                "path": self._scope["path"],
                "status": self._status,
                "seconds": round(time.perf_counter() - self._begun, 4),
            },
        )
