"""What the shim needs of whatever runs a model: llama.cpp worker, Ollama, a URL that speaks OpenAI's dialect.

Plain values and one protocol. The dialect inside is OpenAI's, always as a stream, so that a runtime that speaks it
hands its chunks through as they came; other dialects are the server's business.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

Body = Mapping[str, Any]
#: The words for what a model can do, in the order in which Ollama tells them.
CAPABILITIES = ("completion", "tools", "insert", "vision", "embedding", "thinking")


#: json.dumps would make one each time.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def compact(value: Any) -> bytes:
    """JSON as it goes over the wire. Raises UnicodeError for half a surrogate pair, which no parsed request holds."""
    return _ENCODER.encode(value).encode()


@dataclass(frozen=True)
class Chunk:
    """One event of a stream: the JSON object of a `chat.completion.chunk` or `text_completion`, as UTF-8 text.

    `raw` never holds a line feed, so it can be sent on as it is. `data` is parsed when it is asked for.
    """

    raw: bytes

    @classmethod
    def of(cls, data: Body) -> Chunk:
        """A chunk that a runtime makes itself."""
        return cls(compact(data))

    @cached_property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


#: Is offered chunks that came together, and tells whether it has taken them: all, or none.
Take = Callable[[Sequence[Chunk]], bool]


@dataclass(frozen=True)
class Embeddings:
    """One vector for each input, in their order; `tokens`: how many the inputs were."""

    vectors: Sequence[Sequence[float]]
    tokens: int


@dataclass(frozen=True)
class ModelCard:
    """A model that a runtime can serve. Sizes in bytes, `modified` in seconds since 1970; what is unknown is empty.

    `capabilities`: words of CAPABILITIES. `digest`: sha256 in hex. `version`: of the adapter, where the model is one
    (`name@version`). `slots`: answers at once.
    """

    name: str
    architecture: str = ""
    parameters: int = 0
    context_length: int = 0
    embedding_length: int = 0
    quantization: str = ""
    size: int = 0
    digest: str = ""
    modified: float = 0.0
    template: str = ""
    system: str = ""
    license: str = ""
    version: str = ""
    slots: int = 0
    capabilities: frozenset[str] = frozenset({"completion"})
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """`loaded`: name -> when it would be unloaded (seconds since 1970, 0: never). `restarts`: since the start."""

    ok: bool
    detail: str = ""
    loaded: Mapping[str, float] = field(default_factory=dict)
    restarts: int = 0


@runtime_checkable
class ShowsTokens(Protocol):
    """A runtime that also tells what a model reads, for Ollama's `context`. Raises as Runtime does, NotSupportedError
    for a model of which it can't tell."""

    async def rendered(self, model: str, body: Body) -> str:
        """The text that `chat` would have the model read for this body."""
        ...

    async def tokenize(self, model: str, text: str) -> list[int]:
        """Token ids, the special ones where they stand in the text, and none besides."""
        ...

    async def detokenize(self, model: str, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        ...


@runtime_checkable
class Runtime(Protocol):
    """One kind of runtime with its models.

    Every call may raise NotFoundError (no such model), RuntimeRefusedError (the request is wrong: status and text are
    the client's to see), RuntimeBusyError (try again later), RuntimeFailedError (it broke; also in mid-stream).
    Closing the generator of a stream stops the generation.
    """

    kind: str

    async def models(self) -> list[ModelCard]:
        """What it can serve now."""
        ...

    def chat(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        """`body`: OpenAI's /v1/chat/completions (also llama.cpp's extras, and `think`, `keep_alive`, `options` of
        Ollama, which a runtime maps or leaves out). `stream` is ignored: chunks come, the last ones with
        `finish_reason` and `usage`; `[DONE]` is not among them.

        A runtime may offer chunks to `take` the moment that they come, while the stream is waited on, if they end
        nothing, with neither a `finish_reason` nor `usage`: taken ones do not come from the stream. That saves a turn
        of the event loop, and waking whoever waits, for each token."""
        ...

    def complete(self, model: str, body: Body, take: Take | None = None) -> AsyncGenerator[Chunk, None]:
        """`body`: OpenAI's /v1/completions, with one prompt (text or token ids). `take`: as in `chat`."""
        ...

    async def embed(self, model: str, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
        """`options`: `dimensions`, `truncate`, `keep_alive`, where the runtime knows them."""
        ...

    async def forward(self, model: str, path: str, body: Body) -> AsyncGenerator[bytes, None]:
        """POST as it is to the runtime's own `path` (/v1/responses, /v1/messages, and the doors below them that count
        tokens): the answer's bytes. Raises NotSupportedError where the runtime has no such door."""
        ...

    async def load(self, model: str, keep_alive: float | None = None) -> None:
        """Have it ready; `keep_alive` in seconds after its last answer, negative: for ever."""
        ...

    async def unload(self, model: str) -> None:
        """Let it go when its running answers have ended."""
        ...

    async def health(self) -> Health:
        """Quick: asks nothing that generates."""
        ...

    async def close(self) -> None:
        """Ends it, running answers too; safe to call twice."""
        ...
