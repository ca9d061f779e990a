"""Chat messages and tools as the Go values that Ollama hands to a template.

Two shapes of its types: that of 0.9.3 (used up to 0.13) and that of 0.14 and later. JSON keys that Ollama's structs do
not know are dropped, as its own decoder drops them. Source: api/types.go and template/template.go of Ollama.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.chat_template.go.json_encoding import marshal
from conch_ollama.chat_template.go.values import (
    NIL,
    Map,
    Pointer,
    Slice,
    Struct,
    StructField,
    StructType,
    Value,
    from_json,
)

Json = Mapping[str, Any]
Version = tuple[int, int, int]

V0_9_3: Version = (0, 9, 3)
LATEST: Version = (0, 32, 0)
_REWORKED: Version = (0, 14, 0)
_TOOL_NAME: Version = (0, 9, 6)
_TOOL_CALL_ID: Version = (0, 12, 10)


def _text(value: Any) -> bytes:
    return str(value or "").encode("utf-8", "surrogatepass")


def _texts(values: Any) -> Slice:
    return Slice([_text(value) for value in values or ()], "string", nil=values is None)


def _any(value: Any) -> Value:
    return NIL if value is None else from_json(value)


def _make(name: str, *fields: tuple[StructField, Value], **options: Any) -> Struct:
    return Struct(
        StructType(name, tuple(field for field, _ in fields)), {field.name: value for field, value in fields}, **options
    )


def message(source: Json, version: Version) -> Pointer:
    """A chat message: role, content, thinking, images, tool_calls, tool_name, tool_call_id."""
    reworked = version >= _REWORKED
    name = "template.templateMessage" if reworked else "api.Message"
    calls = source.get("tool_calls")
    images = Slice(
        [Slice(list(image), "uint8", name="api.ImageData") for image in source.get("images") or ()],
        "api.ImageData",
        nil=not source.get("images"),
    )
    fields: list[tuple[StructField, Value]] = [
        (StructField("Role", "string", "role"), _text(source["role"]).lower()),
        (StructField("Content", "string", "content"), _text(source.get("content"))),
        (StructField("Thinking", "string", "thinking", True), _text(source.get("thinking"))),
        (StructField("Images", "[]api.ImageData", "images", True), images),
        (
            StructField("ToolCalls", "[]api.ToolCall", "tool_calls", True),
            Slice([_tool_call(call, version) for call in calls or ()], "api.ToolCall", nil=not calls),
        ),
    ]
    if version >= _TOOL_NAME:
        fields.append((StructField("ToolName", "string", "tool_name", True), _text(source.get("tool_name"))))
    if version >= _TOOL_CALL_ID:
        fields.append((StructField("ToolCallID", "string", "tool_call_id", True), _text(source.get("tool_call_id"))))
    if reworked:
        fields = [(StructField(field.name, field.type), value) for field, value in fields]
    return Pointer("*" + name, _make(name, *fields))


def _tool_call(source: Json, version: Version) -> Struct:
    reworked = version >= _REWORKED
    called = source["function"]
    given = called.get("arguments")
    arguments = Map(
        {_text(key): from_json(value) for key, value in (given or {}).items()},
        name="template.templateArgs" if reworked else "api.ToolCallFunctionArguments",
        nil=given is None,
        string=(lambda value: b"{}" if value.nil else marshal(value)) if reworked else marshal,
        string_needs_pointer=not reworked,
        addressable=True,
    )
    function = _make(
        "template.templateToolCallFunction" if reworked else "api.ToolCallFunction",
        (StructField("Index", "int", "" if reworked else "index", not reworked), int(called.get("index") or 0)),
        (StructField("Name", "string", "" if reworked else "name"), _text(called.get("name"))),
        (StructField("Arguments", arguments.name, "" if reworked else "arguments"), arguments),
    )
    fields: list[tuple[StructField, Value]] = [
        (StructField("Function", function.type.name, "" if reworked else "function"), function)
    ]
    if version >= _TOOL_CALL_ID:
        fields.insert(0, (StructField("ID", "string", "" if reworked else "id", not reworked), _text(source.get("id"))))
    return _make("template.templateToolCall" if reworked else "api.ToolCall", *fields)


def tools(sources: Sequence[Json] | None, version: Version) -> Slice:
    """The request's tools; a nil slice where there are none."""
    reworked = version >= _REWORKED
    kind = "template.templateTool" if reworked else "api.Tool"
    name = "template.templateTools" if reworked else "api.Tools"
    return Slice(
        [_tool(tool, kind, version) for tool in sources or ()], kind, nil=not sources, name=name, string=marshal
    )


def _tool(source: Json, kind: str, version: Version) -> Struct:
    reworked = version >= _REWORKED
    declared = source["function"]
    function = _make(
        "template.templateToolFunction" if reworked else "api.ToolFunction",
        (StructField("Name", "string", "name"), _text(declared.get("name"))),
        (StructField("Description", "string", "description"), _text(declared.get("description"))),
        (StructField("Parameters", "struct", "parameters"), _parameters(declared.get("parameters") or {}, version)),
        string=None if reworked else marshal,
        string_needs_pointer=True,
    )
    return _make(
        kind,
        (StructField("Type", "string", "type"), _text(source.get("type"))),
        (StructField("Items", "interface {}", "items", True), _any(source.get("items"))),
        (StructField("Function", function.type.name, "function"), function),
        string=marshal,
    )


def _parameters(source: Json, version: Version) -> Struct:
    reworked = version >= _REWORKED
    given = source.get("properties")
    properties = Map(
        {_text(key): _property(value, version) for key, value in (given or {}).items()},
        "api.ToolProperty",
        nil=given is None,
        zero=_property({}, version),
        string=(lambda value: b"{}" if value.nil else marshal(value)) if reworked else None,
    )
    return _make(
        "template.templateToolFunctionParameters" if reworked else "struct",
        (StructField("Type", "string", "type"), _text(source.get("type"))),
        (StructField("Defs", "interface {}", "$defs", True), _any(source.get("$defs"))),
        (StructField("Items", "interface {}", "items", True), _any(source.get("items"))),
        (StructField("Required", "[]string", "required", reworked), _texts(source.get("required"))),
        (StructField("Properties", "map", "properties"), properties),
    )


def _property(source: Json, version: Version) -> Struct:
    reworked = version >= _REWORKED
    values = source.get("enum")
    fields: list[tuple[StructField, Value]] = [
        (StructField("Type", "api.PropertyType", "type", reworked), property_type(source.get("type"))),
        (StructField("Items", "interface {}", "items", True), _any(source.get("items"))),
        (StructField("Description", "string", "description", reworked), _text(source.get("description"))),
        (
            StructField("Enum", "[]interface {}", "enum", True),
            Slice([_any(value) for value in values or ()], nil=values is None),
        ),
    ]
    if reworked:
        choices, nested = source.get("anyOf"), source.get("properties")
        fields.insert(
            0,
            (
                StructField("AnyOf", "[]api.ToolProperty", "anyOf", True),
                Slice([_property(one, version) for one in choices or ()], "api.ToolProperty", nil=choices is None),
            ),
        )
        inner = Map({_text(key): _property(value, version) for key, value in (nested or {}).items()})
        fields.append((StructField("Properties", "map", "properties", True), inner if nested is not None else NIL))
        fields.append((StructField("Required", "[]string", "required", True), _texts(source.get("required"))))
    return _make("api.ToolProperty", *fields, addressable=False)


def property_type(value: Any) -> Slice:
    """One type or several; a single one prints and marshals as a plain string."""
    names = [value] if isinstance(value, str) else value
    return Slice(
        [_text(name) for name in names or ()],
        "string",
        nil=names is None,
        name="api.PropertyType",
        string=_type_string,
        json=_type_json,
    )


def _type_string(value: Slice) -> bytes:
    names = [name for name in value.items if isinstance(name, bytes)]
    return names[0] if len(names) == 1 else b"[" + b" ".join(names) + b"]" if names else b""


def _type_json(value: Slice) -> bytes:
    return marshal(value.items[0] if len(value.items) == 1 else Slice(value.items, "string", value.nil))
