"""Talks to an Ollama server (version, list, show, create, copy, delete, chat) through the `ollama` package.

Through httpx where that does not carry all: its `show` leaves out system and messages, its `create` RENDERER, PARSER
and REQUIRES. Errors of both are translated here. Blobs are uploaded by blobs.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from conch_ollama.addresses import is_loopback
from conch_ollama.errors import NotFoundError
from conch_ollama.ollama.address import resolve_host
from conch_ollama.ollama.failures import not_ollama, refused, refused_by, translated
from conch_ollama.ollama.names import parse_name
from conch_ollama.ollama.show import ModelInfo, info_from_show

if TYPE_CHECKING:
    import httpx
    import ollama

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ListedModel:
    """A line of `ollama list`: `size` in bytes, `digest` of the manifest."""

    name: str
    size: int
    digest: str


class OllamaClient:
    """A connection to the server at `host` (default: OLLAMA_HOST), `.host` its URL. A context manager."""

    def __init__(self, host: str | None = None) -> None:
        import httpx

        self.host = resolve_host(host)
        # A proxy in the environment must not catch what goes to this machine.
        self._settings: dict[str, Any] = {
            "trust_env": not is_loopback(self.host),
            "timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        }
        key = os.environ.get("OLLAMA_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=self.host, headers=headers, **self._settings)

    @cached_property
    def _package(self) -> ollama.Client:
        import ollama

        return ollama.Client(host=self.host, **self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()
        package = self.__dict__.get("_package")
        if package is not None and hasattr(package, "close"):
            package.close()

    def version(self) -> str:
        """Ollama's version, e.g. `0.9.3`. The way to ask whether a server is there."""
        with translated(self.host, "version"):
            answer = self._answer(self.http.get("/api/version", timeout=CONNECT_TIMEOUT_S), "version")
        version = answer.get("version") if isinstance(answer, dict) else None
        if not isinstance(version, str):
            raise not_ollama(self.host)
        return version

    def list_models(self) -> list[ListedModel]:
        with translated(self.host, "list"):
            listed = self._package.list().models
        return [ListedModel(m.model or "", int(m.size or 0), m.digest or "") for m in listed]

    def show(self, name: str) -> ModelInfo:
        """What Ollama holds under `name`. Raises NotFoundError."""
        with translated(self.host, f"show {name}"):
            response = self.http.post("/api/show", json={"model": name})
            if response.status_code == 404:
                raise NotFoundError(
                    f"Ollama at {self.host} has no model {name}", hint="`ollama list` shows what it has"
                )
            return info_from_show(name, self._answer(response, f"show {name}"))

    def metadata(self, name: str) -> Mapping[str, Any]:
        """The GGUF's metadata with its arrays, plain; without its name and its chat template, which Ollama keeps back.

        Raises NotFoundError. A vocabulary of 150,000 tokens makes it some megabytes.
        """
        answer = self.post("/api/show", {"model": name, "verbose": True}, f"show {name}")
        found: Mapping[str, Any] = answer.get("model_info") or {}
        return found

    def post(self, path: str, body: Mapping[str, Any], doing: str) -> Mapping[str, Any]:
        """The JSON object that the server answers. `doing` is for the error."""
        with translated(self.host, doing):
            answer = self._answer(self.http.post(path, json=body), doing)
        if not isinstance(answer, dict):
            raise not_ollama(self.host)
        return answer

    def exists(self, name: str) -> bool:
        wanted = parse_name(name)
        return any(wanted.same(parse_name(listed.name)) for listed in self.list_models())

    def create(self, name: str, **request: Any) -> Iterator[str]:
        """Creates `name`; yields what the server says it does. `request`: fields of /api/create (`from_`: `from`)."""
        with translated(self.host, f"create {name}"):
            if {"renderer", "parser", "requires"} & request.keys():
                yield from self._create_by_http({"model": name, **request})
            else:
                for part in self._package.create(name, stream=True, **request):
                    yield part.status or ""

    def _create_by_http(self, body: Mapping[str, Any]) -> Iterator[str]:
        with self.http.stream("POST", "/api/create", json=body) as response:
            if not response.is_success:
                response.read()
                raise refused_by(self.host, f"create {body['model']}", response)
            for line in response.iter_lines():
                part = json.loads(line)
                if "error" in part:
                    raise refused(self.host, f"create {body['model']}", part["error"], int(part.get("status", 500)))
                yield part.get("status", "")

    def copy(self, source: str, destination: str) -> None:
        with translated(self.host, f"copy {source} to {destination}"):
            self._package.copy(source, destination)

    def delete(self, name: str) -> None:
        with translated(self.host, f"delete {name}"):
            self._package.delete(name)

    def chat(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        options: Mapping[str, Any] | None = None,
        think: bool | None = None,
        stream: bool = True,
    ) -> Iterator[str]:
        """The answer's text in pieces, whole with `stream=False`. `think` only where the model can (else HTTP 400)."""
        wanted: dict[str, Any] = {} if think is None else {"think": think}
        with translated(self.host, f"chat with {name}"):
            if not stream:
                answer = self._package.chat(name, messages=list(messages), options=options, **wanted)
                yield answer.message.content or ""
                return
            for part in self._package.chat(name, messages=list(messages), options=options, stream=True, **wanted):
                if part.message.content:
                    yield part.message.content

    def _answer(self, response: httpx.Response, doing: str) -> Any:
        if not response.is_success:
            raise refused_by(self.host, doing, response)
        return response.json()


def list_models(host: str | None = None) -> list[ListedModel]:
    """The models that the server has."""
    with OllamaClient(host) as server:
        return server.list_models()


def exists(name: str, host: str | None = None) -> bool:
    """Whether the server has a model of that name."""
    with OllamaClient(host) as server:
        return server.exists(name)


def model_info(name: str, host: str | None = None) -> ModelInfo:
    """What the server holds under `name`. Raises NotFoundError."""
    with OllamaClient(host) as server:
        return server.show(name)


def chat(
    host: str | None, name: str, messages: Sequence[Mapping[str, Any]], stream: bool = True, **settings: Any
) -> Iterator[str]:
    """One answer of the model `name`, piece by piece; `settings` as in `OllamaClient.chat`."""
    with OllamaClient(host) as server:
        yield from server.chat(name, messages, stream=stream, **settings)
