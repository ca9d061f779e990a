"""Servers that speak OpenAI's dialect, and the choice among them: least busy first, those that fail set aside.

A server that could not be reached is asked for its models now and then until it answers; meanwhile the others come
first. Sends no chats: openai_url.py does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from conch_ollama.errors import (
    ConchError,
    NotFoundError,
    NotSupportedError,
    RuntimeBusyError,
    RuntimeFailedError,
    RuntimeRefusedError,
    RuntimeUnreachableError,
)
from conch_ollama.runtimes.http_door import HttpDoor

_ASK_S = 10.0
_FRESH_S = 30.0


@dataclass(frozen=True)
class Upstream:
    """A server: `url` with its path (`…/v1`; none: /v1), `key`: sent as Bearer, to Azure as `api-key`.

    `models`: our name -> its name; empty: all that it lists, by its own names. `api_version` makes it Azure's, where a
    model's name is a deployment's. `strict`: it refuses fields that OpenAI does not have; None: known by its address.
    """

    url: str
    key: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    api_version: str | None = None
    strict: bool | None = None

    @property
    def azure(self) -> bool:
        return self.api_version is not None

    @property
    def takes_openai_only(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        return self.strict if self.strict is not None else self.azure or host == "api.openai.com"

    def base(self) -> str:
        url = self.url.rstrip("/") if urlsplit(self.url).hostname else self.url
        return url if self.azure or urlsplit(url).path else f"{url}/v1"

    def path(self, route: str, model: str) -> str:
        """Where to POST for a route such as /chat/completions."""
        if not self.azure:
            return route
        return f"/openai/deployments/{quote(model, safe='')}{route}?{urlencode({'api-version': self.api_version})}"


class Server:
    """An upstream with how it fares: `running` answers, `down` since when (0: it is up), what it listed last."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        secret = {"api-key" if upstream.azure else "Authorization": ""}
        if upstream.key:
            secret = {"api-key": upstream.key} if upstream.azure else {"Authorization": f"Bearer {upstream.key}"}
        headers = {**{name: value for name, value in secret.items() if value}, **upstream.headers}
        self.door = HttpDoor(upstream.base(), "the upstream", refusal, headers=headers)
        self.running = 0
        self.down = 0.0
        self._listed: dict[str, dict[str, Any]] | None = None
        self._listed_at = float("-inf")

    async def listed(self, fresh_s: float = _FRESH_S) -> dict[str, dict[str, Any]] | None:
        """Its models by its names; None where it does not list them (Azure) or never answered."""
        if self.upstream.azure:
            return None
        if time.monotonic() - self._listed_at > fresh_s:
            answer = await self.door.ask("GET", "/models", timeout=_ASK_S)
            data = answer.get("data") if isinstance(answer, dict) else answer
            found = data if isinstance(data, list) else []
            self._listed = {str(one["id"]): one for one in found if isinstance(one, dict) and "id" in one}
            self._listed_at = time.monotonic()
        return self._listed

    async def name_of(self, model: str) -> str | None:
        """Its name of our model, None where it has no such model."""
        if self.upstream.models:
            return self.upstream.models.get(model)
        listed = self._listed
        if listed is None or model not in listed:
            listed = await self.listed(fresh_s=1.0)
        return model if listed is None or model in listed else None


class Servers:
    """All upstreams of a runtime."""

    def __init__(self, upstreams: Sequence[Upstream], *, check_every: float) -> None:
        self.all = [Server(upstream) for upstream in upstreams]
        self._check_every = check_every
        self._checks: dict[Server, asyncio.Task[None]] = {}
        self._turn = 0

    async def having(self, model: str) -> list[tuple[Server, str]]:
        """Servers with the model and their name of it: those that are up first, the least busy of them before others.

        Raises NotFoundError, or what those said that could not be asked.
        """
        found, failures = [], []
        for server in self._in_order():
            try:
                name = await server.name_of(model)
            except RuntimeFailedError as err:
                self.set_aside(server)
                failures.append(err)
                continue
            if name is not None:
                found.append((server, name))
        if not found:
            raise failures[0] if failures else NotFoundError(f"no model {model} at any upstream")
        return sorted(found, key=lambda one: (one[0].down > 0, one[0].running))

    def _in_order(self) -> Iterator[Server]:
        """Another one first each time, so that equals share the work."""
        self._turn += 1
        at = self._turn % len(self.all)
        yield from self.all[at:] + self.all[:at]

    def set_aside(self, server: Server) -> None:
        """It did not answer: others come first until it does."""
        server.down = server.down or time.time()
        if server not in self._checks:
            self._checks[server] = asyncio.get_running_loop().create_task(self._check(server))

    async def _check(self, server: Server) -> None:
        pause = self._check_every
        try:
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 30.0)
                try:
                    await server.door.ask("GET", "/models", timeout=_ASK_S)
                except RuntimeUnreachableError:
                    continue
                except ConchError as err:
                    if isinstance(err, RuntimeBusyError) or type(err) is RuntimeFailedError:
                        continue  # it answers, with 5xx
                server.down = 0.0
                return
        finally:
            del self._checks[server]

    async def close(self) -> None:
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        await asyncio.gather(*(server.door.close() for server in self.all))


def refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ConchError:
    """OpenAI's error in ours. Its key is our business, not our client's: 401 is no refusal of the request."""
    try:
        error = json.loads(body)["error"]
        text = str(error["message"]) if isinstance(error, dict) else str(error)
        code = error.get("code") if isinstance(error, dict) else None
        kind = error.get("type") if isinstance(error, dict) else None
        param = error.get("param") if isinstance(error, dict) else None
    except (ValueError, KeyError, TypeError):
        if status in {404, 405}:
            return NotSupportedError("the upstream has no such door")
        text, code, kind, param = body[:200].decode("utf-8", "replace").strip() or f"HTTP {status}", None, None, None
    # llama.cpp's type, vLLM's parameter
    if kind == "exceed_context_size_error" or param == "input_tokens":
        code = "context_length_exceeded"
    return _error(status, text, code if isinstance(code, str) else kind, headers)


def _error(status: int, text: str, kind: Any, headers: Mapping[str, str]) -> ConchError:
    if status in {401, 403}:
        return RuntimeFailedError(f"the upstream refuses our key: {text}")
    if status in {429, 503}:
        wait = headers.get("retry-after", "")
        return RuntimeBusyError(f"the upstream: {text}", retry_after=float(wait) if wait.isdigit() else 2.0)
    if status in {404, 501}:
        return {404: NotFoundError, 501: NotSupportedError}[status](f"the upstream: {text}")
    if 400 <= status < 500:
        # OpenAI's kinds are lower case; others put the names of classes there.
        named = isinstance(kind, str) and kind.replace("_", "").islower()
        return RuntimeRefusedError(text, status=status, kind=kind if named else "invalid_request_error")
    return RuntimeFailedError(f"the upstream: {text} (HTTP {status})")
