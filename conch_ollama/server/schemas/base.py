"""The edge's own kind of model, and small types that several requests share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[Count], Field(min_length=1)]
Name = Annotated[str, Field(max_length=512)]


@with_config(ConfigDict(extra="allow", strict=True))
class Edge(TypedDict, total=False):
    """No silent conversions; fields that are not known go through to the runtime."""

    # No model: a request is checked and goes on as it came, so that nobody would look at one.


class StreamOptions(Edge, total=False):
    """`include_usage`: with a last chunk that holds the usage."""

    include_usage: bool | None


class JSONSchema(Edge, total=False):
    """A named JSON schema."""

    name: str | None
    schema: dict[str, Any] | None
    strict: bool | None
