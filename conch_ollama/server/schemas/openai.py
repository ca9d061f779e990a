"""Requests in OpenAI's dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from conch_ollama.server.schemas.base import Count, Edge, Int64, JSONSchema, Name, StreamOptions, TokenIds

Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = str | Annotated[list[str], Field(max_length=64)]


class ImageURL(Edge):
    """A data: URI, or a URL where the runtime fetches such."""

    url: str


class Part(Edge):
    """A part of a message's content."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    image_url: ImageURL | None = None


class FunctionCall(Edge):
    """`arguments` is JSON in a string."""

    name: str
    arguments: str = "{}"


class ToolCall(Edge):
    """One call that an assistant made."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Edge):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(Edge):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Edge):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: Function


class NamedFunction(Edge):
    """A function by its name."""

    name: str


class ToolChoice(Edge):
    """The one tool to call."""

    type: Literal["function"]
    function: NamedFunction


class ResponseFormat(Edge):
    """`json_schema` holds the schema where the type is that."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None


class Sampling(Edge):
    """What both kinds of completion take."""

    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: Stop | None = None
    seed: Int64 | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None


class CompletionRequest(Sampling):
    """POST /v1/completions. Several prompts are answered one after another, not streamed."""

    prompt: str | TokenIds | Annotated[list[str], Field(min_length=1, max_length=64)]
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class EmbeddingRequest(Edge):
    """POST /v1/embeddings."""

    model: Name | None = None
    input: str | TokenIds | Annotated[list[str | TokenIds], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None = None
    user: str | None = None


class ResponsesRequest(Edge):
    """POST /v1/responses: the rest is the runtime's to check."""

    model: Name | None = None
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_output_tokens: Count | None = None
    stream: bool | None = None


class AnthropicMessage(Edge):
    """One message in Anthropic's dialect."""

    role: Literal["user", "assistant"]
    content: str | list[dict[str, Any]]


class MessagesRequest(Edge):
    """POST /v1/messages, in Anthropic's dialect: the rest is the runtime's to check."""

    model: Name | None = None
    messages: Annotated[list[AnthropicMessage], Field(min_length=1)]
    max_tokens: Count | None = None
    stream: bool | None = None


class FeedbackRequest(Edge):
    """POST /v1/feedback. `id`: an answer's that the same caller got, or its x-request-id; `better`: what should
    have been said."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    rating: Literal["up", "down"]
    comment: Annotated[str, Field(max_length=10_000)] | None = None
    better: Annotated[str, Field(max_length=100_000)] | None = None


class GenerateRequest(Edge):
    """POST /generate."""

    prompt: Annotated[str, Field(min_length=1)]
    system: str | None = None
    model: Name | None = None
    max_tokens: Count | None = None
    think: bool | None = None
