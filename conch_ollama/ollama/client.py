"""Talks to an Ollama server (version, list, show, create, copy, delete, chat) through the `ollama` package.

Through httpx where that does not carry all: its `show` leaves out system and messages, its `create` RENDERER, PARSER
and REQUIRES. Errors of both are translated here. Blobs are uploaded by blobs.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from conch_ollama.errors import NotFoundError, OllamaRefusedError, OllamaUnreachableError
from conch_ollama.ollama.address import is_loopback, resolve_host
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
            raise _not_ollama(self.host)
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
            raise _not_ollama(self.host)
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
                    raise _refused(self.host, f"create {body['model']}", part["error"], int(part.get("status", 500)))
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


@contextlib.contextmanager
def translated(host: str, doing: str) -> Iterator[None]:
    """Turns what the `ollama` package and httpx raise into errors that name the server and what it was asked."""
    import httpx
    import ollama

    try:
        yield
    except ollama.ResponseError as err:
        raise _refused(host, doing, err.error, err.status_code) from err
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as err:
        raise _unreachable(host) from err
    except httpx.TransportError as err:
        raise OllamaUnreachableError(
            f"Ollama at {host} stopped answering in the middle of {doing}: {err or type(err).__name__}",
            hint="its log tells why; `ollama serve` in a terminal shows it",
        ) from err
    except ValueError as err:  # JSON that is none, or of another shape than Ollama's
        raise _not_ollama(host) from err


def refused_by(host: str, doing: str, response: httpx.Response) -> OllamaRefusedError:
    """The error for an HTTP answer that has been read and is no success."""
    if response.is_redirect:
        return OllamaRefusedError(
            f"what answers at {host} sends elsewhere (HTTP {response.status_code})",
            hint=f"give the address it names: {response.headers.get('location', 'none')}",
        )
    text = response.text.strip()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    message = body.get("error") if isinstance(body, dict) else re.sub(r"\s+", " ", text)[:200]
    return _refused(host, doing, str(message or response.reason_phrase), response.status_code)


def _refused(host: str, doing: str, text: str, status: int) -> OllamaRefusedError:
    shown = f" (HTTP {status})" if status > 0 else ""
    hint = None
    if status in {502, 503, 504}:
        hint = "a proxy or gateway on the way may have answered (HTTP_PROXY, NO_PROXY), or Ollama is overloaded"
    elif status >= 500 or status < 0:
        hint = "the server's log says more; a full disk where it keeps its models (OLLAMA_MODELS) is a common cause"
    elif status in {401, 403, 407}:
        hint = "something in front of Ollama wants credentials"
    return OllamaRefusedError(f"Ollama at {host} refused {doing}: {text}{shown}", hint=hint)


def _unreachable(host: str) -> OllamaUnreachableError:
    if is_loopback(host):
        hint = "start it with `ollama serve` (or the Ollama app); it is installed from https://ollama.com/download"
    else:
        hint = "is it running there, listening for others (OLLAMA_HOST=0.0.0.0), and does a firewall let it through?"
    return OllamaUnreachableError(f"no Ollama answers at {host}", hint=hint)


def _not_ollama(host: str) -> OllamaRefusedError:
    return OllamaRefusedError(f"what answers at {host} is not Ollama", hint="OLLAMA_HOST or --host names the server")
