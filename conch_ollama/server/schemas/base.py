"""The edge's own kind of model, and small types that several requests share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[Count], Field(min_length=1)]
Name = Annotated[str, Field(max_length=512)]


class Edge(BaseModel):
    """No silent conversions; fields that are not known go through to the runtime."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=(), defer_build=True)


class StreamOptions(Edge):
    """`include_usage`: with a last chunk that holds the usage."""

    include_usage: bool | None = None


class JSONSchema(Edge):
    """A named JSON schema."""

    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None
