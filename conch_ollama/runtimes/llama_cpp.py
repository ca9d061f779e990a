"""The embedded runtime: llama.cpp's server in a child process on loopback, spoken to over HTTP.

Starts, asks and stops one worker for one GGUF file. Does not supervise: a worker that dies raises `RuntimeFailedError`
with the last lines of its log.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from conch_ollama.errors import BadTemplateError, NotFoundError, RuntimeFailedError
from conch_ollama.runtimes.worker_process import WorkerProcess

if TYPE_CHECKING:
    import httpx

#: Seconds: a long prompt on a slow machine.
_TIMEOUT = 600.0
_NO_ANSWER = (OSError, http.client.HTTPException)


class LlamaCppWorker:
    """A running llama.cpp with one model.

    `num_ctx`: context in tokens (0: the model's own maximum); `threads`: 0 for one per core; `slots`: answers at once;
    `gpu_layers`: -1 lets llama.cpp decide; `continue_answers`: a conversation's last answer stays open, to be gone on
    with; `memory_limit`: bytes of address space that the child may take, 0 for no limit; `adapters`: GGUF adapters with
    their scales. Raises `RuntimeFailedError` if the model does not load, with what llama.cpp said last.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        num_ctx: int = 4096,
        threads: int = 0,
        slots: int = 1,
        gpu_layers: int = -1,
        load_timeout: float = 600.0,
        continue_answers: bool = True,
        memory_limit: int = 0,
        http_threads: int = -1,
        adapters: Sequence[tuple[Path, float]] = (),
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise NotFoundError(f"no such file: {self.path}", hint="give the GGUF that `conch export` wrote")
        self._worker = WorkerProcess(
            {
                "path": str(self.path),
                "name": self.path.stem,
                "num_ctx": num_ctx,
                "threads": threads or os.cpu_count() or 1,
                "slots": slots,
                "gpu_layers": gpu_layers,
                "continue_answers": continue_answers,
                "memory_limit": memory_limit,
                "http_threads": http_threads,
                "adapters": [(str(adapter), scale) for adapter, scale in adapters],
            }
        )
        self._process = self._worker.process
        #: Connections that nobody asks through; any thread takes one and puts it back.
        self._doors: list[http.client.HTTPConnection] = []
        try:
            self._worker.wait_ready(load_timeout)
        except BaseException:
            self.close()
            raise
        self.address: str = self._worker.address
        self.key = self._worker.key

    @cached_property
    def _client(self) -> httpx.Client:
        """For streams."""
        import httpx

        return httpx.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=httpx.Timeout(_TIMEOUT, connect=10.0),
            # The server drops idle connections when it likes; on loopback a new one costs nothing.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,  # a proxy for the world outside must not catch loopback
        )

    def log_tail(self) -> list[str]:
        """The last lines that llama.cpp logged."""
        return self._worker.log_tail()

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float = _TIMEOUT
    ) -> tuple[int, bytes]:
        """Status and body of an answer. By the standard library: a proof asks hundreds of short questions, and httpx
        works longer on each than llama.cpp. Raises OSError and http.client.HTTPException."""
        data = None if body is None else json.dumps(body).encode("ascii")
        try:
            kept = self._doors.pop()
        except IndexError:
            pass
        else:
            with contextlib.suppress(ConnectionError):  # the server drops one that is idle for long
                return self._through(kept, method, path, data, timeout)
        door = http.client.HTTPConnection(urlsplit(self.address).netloc)
        return self._through(door, method, path, data, timeout)

    def _through(
        self, door: http.client.HTTPConnection, method: str, path: str, data: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        """Asks, and keeps the connection for the next question, which then costs half."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        door.timeout = timeout
        if door.sock is not None:
            door.sock.settimeout(timeout)
        try:
            door.request(method, path, data, headers)
            answer = door.getresponse()
            found = answer.status, answer.read()
        except BaseException:
            door.close()
            raise
        if door.sock is not None:  # else the server said that it closes
            self._doors.append(door)
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            status, answer = self._send(method, path, body)
        except _NO_ANSWER as err:
            raise self._worker.failure(f"llama.cpp stopped answering {path} for", _cause(err)) from err
        if status >= 400:
            raise RuntimeFailedError(f"llama.cpp refused {path} for {self.path}: {_error_text(_text(answer))}")
        return json.loads(answer)

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Token ids of a text. `add_special`: with the BOS and EOS that the vocabulary asks for."""
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return [int(token) for token in self._ask("POST", "/tokenize", body)["tokens"]]

    def apply_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        timeout: float = 60.0,
        **options: Any,
    ) -> str:
        """The prompt that llama.cpp makes of a conversation by the file's own chat template, BOS left to the server.

        `options` reach the template as variables (`enable_thinking` …). With `continue_final_message` a last answer
        never reaches the template: it is put behind the generation prompt as it is; so it is in any case unless the
        worker was started with `continue_answers=False`. Raises BadTemplateError where the template refuses the
        conversation or fails, RuntimeFailedError where the worker dies or is silent for `timeout` seconds.
        """
        body: dict[str, Any] = {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        if continue_final_message:
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        if tools is not None:
            body["tools"] = list(tools)
        if options:
            body["chat_template_kwargs"] = options
        try:
            status, answer = self._send("POST", "/apply-template", body, timeout)
        except _NO_ANSWER as err:
            raise self._worker.failure("llama.cpp does not come to an end with the template of", _cause(err)) from err
        if status >= 400:
            raise BadTemplateError(f"chat template (Jinja) in llama.cpp: {_error_text(_text(answer))}")
        return str(json.loads(answer)["prompt"])

    def complete(self, prompt: str | Sequence[int], *, max_tokens: int = 32, **options: Any) -> dict[str, Any]:
        """Greedy continuation of a prompt: llama.cpp's own answer (`content`, `tokens`, `stop_type` …)."""
        body = {"prompt": prompt, "n_predict": max_tokens, "temperature": 0.0, "return_tokens": True, **options}
        answer: dict[str, Any] = self._ask("POST", "/completion", body)
        return answer

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Iterator[str]:
        """The answer to a conversation, piece by piece as it comes, through the file's own chat template.

        `options` are those of the OpenAI chat endpoint (`max_tokens`, `temperature`, `stop` …).
        """
        import httpx

        body = {"messages": list(messages), "stream": True, **options}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code >= 400:
                    response.read()
                    raise RuntimeFailedError(f"llama.cpp refused to answer: {_error_text(response.text)}")
                for line in response.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield from _pieces(json.loads(line[6:]))
        except httpx.HTTPError as err:
            raise self._worker.failure("llama.cpp broke off its answer from", _cause(err)) from err

    def properties(self) -> dict[str, Any]:
        """llama.cpp's `/props`: context, chat template, build."""
        answer: dict[str, Any] = self._ask("GET", "/props")
        return answer

    def close(self, patience: float = 10.0) -> None:
        """End the worker, after `patience` seconds by force; safe to call twice."""
        if "_client" in self.__dict__:
            self._client.close()
        while self._doors:
            self._doors.pop().close()
        self._worker.close(patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pieces(chunk: Mapping[str, Any]) -> Iterator[str]:
    if "error" in chunk:
        raise RuntimeFailedError(f"llama.cpp broke off its answer: {chunk['error'].get('message', chunk['error'])}")
    for choice in chunk.get("choices", []):
        text = choice.get("delta", {}).get("content")
        if text:
            yield text


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _cause(err: Exception) -> str:
    return str(err) or type(err).__name__


def _error_text(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300]
