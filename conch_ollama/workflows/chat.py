"""A conversation with a model, through Ollama or through the embedded llama.cpp, behind one small class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conch_ollama.errors import NotFoundError, OllamaUnreachableError
from conch_ollama.workflows.folders import open_export_folder

#: Modelfile parameter -> option of llama.cpp's chat endpoint.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "seed": "seed",
    "num_predict": "max_tokens",
    "stop": "stop",
}
Message = Mapping[str, str]
Answer = Callable[[list[Message]], Iterator[str]]


class Chat:
    """Keeps the conversation and asks. Use it as a context manager: the runtime may be a process of its own."""

    def __init__(self, description: str, answer: Answer, close: Callable[[], None], system: str | None) -> None:
        self.description = description
        self._answer = answer
        self._close = close
        self._system = system
        self._messages: list[Message] = []
        self.clear()

    def clear(self) -> None:
        """Forget the conversation."""
        self._messages = [{"role": "system", "content": self._system}] if self._system else []

    def say(self, text: str) -> Iterator[str]:
        """Say something; the answer comes in pieces. A broken-off answer is forgotten with its question."""
        messages = [*self._messages, {"role": "user", "content": text}]
        answer = ""
        for piece in self._answer(messages):
            answer += piece
            yield piece
        self._messages = [*messages, {"role": "assistant", "content": answer}]

    def ask(self, text: str) -> str:
        """The whole answer."""
        return "".join(self.say(text))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def open_chat(
    model: str | Path,
    *,
    host: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    num_ctx: int | None = None,
) -> Chat:
    """Open a chat with an exported folder or a GGUF (embedded llama.cpp), or with a model that Ollama has.

    temperature: 0 is greedy. Raises NotFoundError for what is neither, OllamaUnreachableError, RuntimeFailedError.
    """
    path = Path(model)
    if path.exists():
        return _embedded(path, system, temperature, num_ctx)
    if path.suffix == ".gguf" or len(path.parts) > 2:
        raise NotFoundError(f"no such file or folder: {path}")
    return _through_ollama(str(model), host, system, temperature, num_ctx)


def _embedded(path: Path, system: str | None, temperature: float | None, num_ctx: int | None) -> Chat:
    from conch_ollama.runtimes.llama_cpp import LlamaCppWorker

    parameters: dict[str, Any] = {}
    gguf, adapters = path, []
    if path.is_dir() or path.suffix != ".gguf":
        exported = open_export_folder(path)
        gguf, parameters = exported.gguf, dict(exported.modelfile.parameters)
        adapters = [(exported.adapter, 1.0)] if exported.adapter is not None else []
        system = system if system is not None else exported.modelfile.system
    if temperature is not None:
        parameters["temperature"] = temperature
    options = {_OPTIONS[key]: value for key, value in parameters.items() if key in _OPTIONS}
    worker = LlamaCppWorker(gguf, num_ctx=num_ctx or int(parameters.get("num_ctx", 4096)), adapters=adapters)
    return Chat(
        f"{gguf.name} in the embedded llama.cpp",
        lambda messages: worker.chat(messages, **options),
        worker.close,
        system,
    )


def _through_ollama(
    name: str, host: str | None, system: str | None, temperature: float | None, num_ctx: int | None
) -> Chat:
    from conch_ollama.ollama.client import OllamaClient

    client = OllamaClient(host)
    try:
        known = client.exists(name)
    except OllamaUnreachableError as err:
        raise NotFoundError(
            f"{name!r} is no file or folder here, and Ollama, which may know it, does not answer at {client.host}",
            hint="start Ollama, or give a folder that `conch export` wrote: `conch chat out/` needs no Ollama",
        ) from err
    if not known:
        raise NotFoundError(
            f"{name!r} is no file or folder here, and Ollama has no model of that name", hint="see `ollama list`"
        )
    options: dict[str, Any] = {}
    if temperature is not None:
        options["temperature"] = temperature
    if num_ctx is not None:
        options["num_ctx"] = num_ctx
    return Chat(
        f"{name} in Ollama at {client.host}",
        lambda messages: client.chat(name, messages, options=options),
        lambda: None,
        system,
    )
