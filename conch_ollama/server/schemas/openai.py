"""Requests in OpenAI's dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import Field

from conch_ollama.server.schemas.base import Count, Edge, Int64, JSONSchema, Name, StreamOptions, TokenIds

Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = str | Annotated[list[str], Field(max_length=64)]


class ImageURL(Edge, total=False):
    """A data: URI, or a URL where the runtime fetches such."""

    url: Required[str]


class Part(Edge, total=False):
    """A part of a message's content."""

    type: Required[Literal["text", "image_url", "input_audio", "file", "refusal"]]
    text: str | None
    image_url: ImageURL | None


class FunctionCall(Edge, total=False):
    """`arguments` is JSON in a string."""

    name: Required[str]
    arguments: str


class ToolCall(Edge, total=False):
    """One call that an assistant made."""

    id: str | None
    type: Literal["function"]
    function: Required[FunctionCall]


class Message(Edge, total=False):
    """One message of a conversation."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool", "function"]]
    content: str | list[Part] | None
    name: str | None
    tool_calls: list[ToolCall] | None
    tool_call_id: str | None


class Function(Edge, total=False):
    """A function that the model may call."""

    name: Required[Annotated[str, Field(min_length=1, max_length=256)]]
    description: str | None
    parameters: dict[str, Any] | None


class Tool(Edge, total=False):
    """A tool; functions are the only kind."""

    type: Required[Literal["function"]]
    function: Required[Function]


class NamedFunction(Edge, total=False):
    """A function by its name."""

    name: Required[str]


class ToolChoice(Edge, total=False):
    """The one tool to call."""

    type: Required[Literal["function"]]
    function: Required[NamedFunction]


class ResponseFormat(Edge, total=False):
    """`json_schema` holds the schema where the type is that."""

    type: Required[Literal["text", "json_object", "json_schema"]]
    json_schema: JSONSchema | None


class Sampling(Edge, total=False):
    """What both kinds of completion take."""

    model: Name | None
    stream: bool | None
    stream_options: StreamOptions | None
    max_tokens: Count | None
    temperature: Annotated[float, Field(ge=0, le=100)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    n: Annotated[int, Field(ge=1, le=16)] | None
    stop: Stop | None
    seed: Int64 | None
    presence_penalty: Penalty | None
    frequency_penalty: Penalty | None
    logit_bias: dict[str, float] | None
    user: str | None


class ChatRequest(Sampling, total=False):
    """POST /v1/chat/completions."""

    messages: Required[Annotated[list[Message], Field(min_length=1)]]
    max_completion_tokens: Count | None
    logprobs: bool | None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None
    tools: list[Tool] | None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | None
    reasoning_effort: str | None


class CompletionRequest(Sampling, total=False):
    """POST /v1/completions. Several prompts are answered one after another, not streamed."""

    prompt: Required[str | TokenIds | Annotated[list[str], Field(min_length=1, max_length=64)]]
    suffix: str | None
    echo: bool | None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None


class EmbeddingRequest(Edge, total=False):
    """POST /v1/embeddings."""

    model: Name | None
    input: Required[str | TokenIds | Annotated[list[str | TokenIds], Field(min_length=1, max_length=2048)]]
    encoding_format: Literal["float", "base64"] | None
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None
    user: str | None


class ResponsesRequest(Edge, total=False):
    """POST /v1/responses: the rest is the runtime's to check."""

    model: Name | None
    input: Required[str | Annotated[list[dict[str, Any]], Field(min_length=1)]]
    max_output_tokens: Count | None
    stream: bool | None


class AnthropicMessage(Edge, total=False):
    """One message in Anthropic's dialect."""

    role: Required[Literal["user", "assistant"]]
    content: Required[str | list[dict[str, Any]]]


class MessagesRequest(Edge, total=False):
    """POST /v1/messages, in Anthropic's dialect: the rest is the runtime's to check."""

    model: Name | None
    messages: Required[Annotated[list[AnthropicMessage], Field(min_length=1)]]
    max_tokens: Count | None
    stream: bool | None


class FeedbackRequest(Edge, total=False):
    """POST /v1/feedback. `id`: an answer's that the same caller got, or its x-request-id; `better`: what should
    have been said."""

    id: Required[Annotated[str, Field(min_length=1, max_length=256)]]
    rating: Required[Literal["up", "down"]]
    comment: Annotated[str, Field(max_length=10_000)] | None
    better: Annotated[str, Field(max_length=100_000)] | None


class GenerateRequest(Edge, total=False):
    """POST /generate."""

    prompt: Required[Annotated[str, Field(min_length=1)]]
    system: str | None
    model: Name | None
    max_tokens: Count | None
    think: bool | None
