"""Requests in Ollama's dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import Field

from conch_ollama.server.schemas.base import Count, Edge, Int32, Int64, Name

Keep = str | float | int
Think = bool | Literal["low", "medium", "high"]
Format = Literal["", "json"] | dict[str, Any]
Real = Annotated[float, Field(ge=-1e6, le=1e6)]


class Options(Edge, total=False):
    """Sampling and loading; others than these go through to the runtime."""

    num_predict: Int32 | None
    temperature: Annotated[float, Field(ge=0, le=100)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    top_k: Int32 | None
    min_p: Real | None
    seed: Int64 | None
    stop: str | Annotated[list[str], Field(max_length=64)] | None
    repeat_penalty: Real | None
    presence_penalty: Real | None
    frequency_penalty: Real | None
    num_ctx: Count | None


class OllamaFunction(Edge, total=False):
    """`arguments` is an object, not a string."""

    name: Required[str]
    arguments: dict[str, Any] | None


class OllamaToolCall(Edge, total=False):
    """One call that an assistant made."""

    function: Required[OllamaFunction]


class OllamaMessage(Edge, total=False):
    """One message; `images` are base64."""

    role: Required[Literal["system", "user", "assistant", "tool"]]
    content: str | None
    thinking: str | None
    images: list[str] | None
    tool_calls: list[OllamaToolCall] | None
    tool_name: str | None


class OllamaRequest(Edge, total=False):
    """What every request to a model holds."""

    model: Required[Name]
    options: Options | None
    keep_alive: Keep | None


class OllamaAnswered(OllamaRequest, total=False):
    """What is asked of an answer. `top_logprobs`: of how many tokens each place's logarithms are told."""

    format: Format | None
    think: Think | None
    stream: bool | None
    logprobs: bool | None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None


class OllamaChatRequest(OllamaAnswered, total=False):
    """POST /api/chat. Without messages it loads the model, or unloads it with `keep_alive` 0."""

    messages: list[OllamaMessage] | None
    tools: list[dict[str, Any]] | None


class OllamaGenerateRequest(OllamaAnswered, total=False):
    """POST /api/generate. Without a prompt it loads the model, or unloads it with `keep_alive` 0.

    `raw`: the prompt as it is; `suffix`: what stands after the gap that is to be filled in; `template`: a Go template
    instead of the model's own; `context`: of an earlier answer, which is gone on with.
    """

    prompt: str | None
    suffix: str | None
    system: str | None
    template: str | None
    context: list[Count] | None
    images: list[str] | None
    raw: bool | None


class OllamaShowRequest(Edge, total=False):
    """POST /api/show; `name` is the old name of `model`."""

    model: Name | None
    name: Name | None
    verbose: bool | None


class OllamaEmbedRequest(OllamaRequest, total=False):
    """POST /api/embed."""

    input: Required[str | Annotated[list[str], Field(max_length=2048)]]
    truncate: bool | None
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None


class OllamaEmbeddingsRequest(OllamaRequest, total=False):
    """POST /api/embeddings, the old one: one prompt, one embedding."""

    prompt: str | None
