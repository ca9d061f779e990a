"""Requests in Ollama's dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from conch_ollama.server.schemas.base import Count, Edge, Int32, Int64, Name

Keep = str | float | int
Think = bool | Literal["low", "medium", "high"]
Format = Literal["", "json"] | dict[str, Any]
Real = Annotated[float, Field(ge=-1e6, le=1e6)]


class Options(Edge):
    """Sampling and loading; others than these go through to the runtime."""

    num_predict: Int32 | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Int32 | None = None
    min_p: Real | None = None
    seed: Int64 | None = None
    stop: str | Annotated[list[str], Field(max_length=64)] | None = None
    repeat_penalty: Real | None = None
    presence_penalty: Real | None = None
    frequency_penalty: Real | None = None
    num_ctx: Count | None = None


class OllamaFunction(Edge):
    """`arguments` is an object, not a string."""

    name: str
    arguments: dict[str, Any] | None = None


class OllamaToolCall(Edge):
    """One call that an assistant made."""

    function: OllamaFunction


class OllamaMessage(Edge):
    """One message; `images` are base64."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None


class OllamaRequest(Edge):
    """What every request to a model holds."""

    model: Name
    options: Options | None = None
    keep_alive: Keep | None = None


class OllamaAnswered(OllamaRequest):
    """What is asked of an answer. `top_logprobs`: of how many tokens each place's logarithms are told."""

    format: Format | None = None
    think: Think | None = None
    stream: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class OllamaChatRequest(OllamaAnswered):
    """POST /api/chat. Without messages it loads the model, or unloads it with `keep_alive` 0."""

    messages: list[OllamaMessage] | None = None
    tools: list[dict[str, Any]] | None = None


class OllamaGenerateRequest(OllamaAnswered):
    """POST /api/generate. Without a prompt it loads the model, or unloads it with `keep_alive` 0.

    `raw`: the prompt as it is; `suffix`: what stands after the gap that is to be filled in; `template`: a Go template
    instead of the model's own; `context`: of an earlier answer, which is gone on with.
    """

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[Count] | None = None
    images: list[str] | None = None
    raw: bool | None = None


class OllamaShowRequest(Edge):
    """POST /api/show; `name` is the old name of `model`."""

    model: Name | None = None
    name: Name | None = None
    verbose: bool | None = None


class OllamaEmbedRequest(OllamaRequest):
    """POST /api/embed."""

    input: str | Annotated[list[str], Field(max_length=2048)]
    truncate: bool | None = None
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None = None


class OllamaEmbeddingsRequest(OllamaRequest):
    """POST /api/embeddings, the old one: one prompt, one embedding."""

    prompt: str | None = None
