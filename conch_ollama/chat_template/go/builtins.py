"""The functions every Go template has, but for `and` and `or`, which the executor short-circuits itself.

Each takes already evaluated operands and raises CallError with a reason where Go returns an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from conch_ollama.chat_template.go import escapes
from conch_ollama.chat_template.go.printf import sprintf
from conch_ollama.chat_template.go.printing import sprint, sprintln
from conch_ollama.chat_template.go.values import (
    NIL,
    Map,
    Nil,
    Pointer,
    Slice,
    Uint8,
    Value,
    indirect,
    is_nil,
    truth,
    type_name,
)


class CallError(Exception):
    """A function's own error; the executor says where it was called."""


class Parameter(Enum):
    """What a function's parameter is in Go: any value, or a string (which a constant of another kind is not)."""

    ANY = "any"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Function:
    """`fixed` parameters, then any number of `variadic` ones if that is set."""

    call: Callable[..., Value]
    fixed: tuple[Parameter, ...] = ()
    variadic: Parameter | None = None


def _kind(value: Value) -> str | None:  # noqa: PLR0911 a table of types
    match value:
        case bool():
            return "bool"
        case Uint8():
            return "uint"
        case int():
            return "int"
        case float():
            return "float"
        case complex():
            return "complex"
        case bytes():
            return "string"
    return None


def _untyped(value: Value) -> Value:
    return None if isinstance(value, Nil) else value


def eq(first: Value, *others: Value) -> bool:
    """Whether the first equals any of the others."""
    if not others:
        raise CallError("missing argument for comparison")
    first = _untyped(first)
    for other in others:
        # Texts are what is asked about most, by far.
        if first == other if type(first) is bytes is type(other) else _equal(first, _untyped(other)):
            return True
    return False


_PLAIN = (bytes, bool, int, float)


def _equal(left: Value, right: Value) -> bool:
    if type(left) is type(right) and isinstance(left, _PLAIN):
        return left == right
    kinds = _kind(left), _kind(right)
    if kinds[0] != kinds[1] and {*kinds} != {"int", "uint"}:
        if left is None or right is None:
            return False
        raise CallError(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")
    if kinds[0] is not None:
        return left == right
    if type(left) is not type(right) and left is not None and right is not None:
        raise CallError(f"non-comparable types {type_name(left)} and {type_name(right)}")
    if is_nil(left) or is_nil(right):
        return is_nil(left) == is_nil(right)
    if not isinstance(right, Pointer):
        raise CallError(f"non-comparable type {type_name(right)}")
    return isinstance(left, Pointer) and left.type == right.type and left.target is right.target


def _less(left: Value, right: Value) -> bool:
    left, right = _untyped(left), _untyped(right)
    kinds = _kind(left), _kind(right)
    if None in kinds:
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1] and {*kinds} != {"int", "uint"}:
        raise CallError(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")
    if isinstance(left, bytes) and isinstance(right, bytes):
        return left < right
    if isinstance(left, bool) or not isinstance(left, int | float) or not isinstance(right, int | float):
        raise CallError("invalid type for comparison")
    return left < right


def _less_or_equal(left: Value, right: Value) -> bool:
    return _less(left, right) or eq(left, right)


def _index_of(value: Value, limit: int) -> int:
    if type(value) is not int and (_kind(value) != "uint" or not isinstance(value, int)):
        what = "nil" if value is None else f"type {type_name(value)}"
        raise CallError(f"cannot index slice/array with {what}")
    if not 0 <= value <= limit:
        raise CallError(f"index out of range: {int(value)}")
    return int(value)


def _index(item: Value, *indexes: Value) -> Value:
    item = _untyped(item)
    if item is None:
        raise CallError("index of untyped nil")
    for index in indexes:
        item = indirect(item)
        key = _untyped(index)
        if isinstance(item, Nil) or (isinstance(item, Pointer) and item.target is None):
            raise CallError("index of nil pointer")
        if isinstance(item, bytes):
            item = Uint8(item[_within(_index_of(key, len(item)), len(item))])
        elif isinstance(item, Slice):
            item = item.items[_within(_index_of(key, len(item.items)), len(item.items))]
        elif isinstance(item, Map):
            if not isinstance(key, bytes):
                raise CallError(f"value has type {type_name(key)}; should be string")
            item = item.items.get(key, item.zero)
        else:
            raise CallError(f"can't index item of type {type_name(item)}")
    return item


def _within(index: int, length: int) -> int:
    if index >= length:
        raise CallError(f"index out of range: {index}")
    return index


def _slice(item: Value, *indexes: Value) -> Value:
    item = indirect(_untyped(item))
    if is_nil(item) and not isinstance(item, Slice | Map):
        raise CallError("slice of nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if not isinstance(item, bytes | Slice):
        raise CallError(f"can't slice item of type {type_name(item)}")
    if isinstance(item, bytes) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    whole = item if isinstance(item, bytes) else [*item.items, *item.tail] if item.tail else item.items
    capacity = len(whole)
    bounds = [0, len(item) if isinstance(item, bytes) else len(item.items), capacity]
    for at, index in enumerate(indexes):
        bounds[at] = _index_of(_untyped(index), capacity)
    first, last, end = bounds
    if not first <= last <= end:
        raise CallError(f"invalid slice index: {bounds[: len(indexes)]}")
    if isinstance(item, bytes):
        return item[first:last]
    return Slice(whole[first:last], item.type, item.nil, item.name, item.string, item.json, whole[last:end])


def _len(item: Value) -> int:
    if type(item) is bytes:
        return len(item)
    item = indirect(item)
    if isinstance(item, bytes):
        return len(item)
    if isinstance(item, Slice | Map):
        return len(item.items)
    raise CallError(f"len of {'nil pointer' if is_nil(item) else f'type {type_name(item)}'}")


def _call(function: Value, *_: Value) -> Value:
    """No value that Ollama hands to a template is a function."""
    raise CallError(f"call of {'nil' if is_nil(function) else f'non-function of type {type_name(function)}'}")


def printable(value: Value) -> Value:
    """What is printed for a value: pointers are followed once, and nothing at all becomes a text."""
    value = indirect(value)
    return b"<no value>" if value is None else value


def _escaper(escape: Callable[[bytes], bytes]) -> Function:
    def call(*values: Value) -> bytes:
        return escape(sprint([printable(None if isinstance(value, Nil) else value) for value in values]))

    return Function(call, (), Parameter.ANY)


_TWO = (Parameter.ANY, Parameter.ANY)
_ONE = (Parameter.ANY,)

BUILTINS: dict[str, Function] = {
    "and": Function(lambda: NIL, _ONE, Parameter.ANY),
    "or": Function(lambda: NIL, _ONE, Parameter.ANY),
    "not": Function(lambda value: not truth(value), _ONE),
    "eq": Function(eq, _ONE, Parameter.ANY),
    "ne": Function(lambda left, right: not eq(left, right), _TWO),
    "lt": Function(_less, _TWO),
    "le": Function(_less_or_equal, _TWO),
    "gt": Function(lambda left, right: not _less_or_equal(left, right), _TWO),
    "ge": Function(lambda left, right: not _less(left, right), _TWO),
    "len": Function(_len, _ONE),
    "index": Function(_index, _ONE, Parameter.ANY),
    "slice": Function(_slice, _ONE, Parameter.ANY),
    "call": Function(_call, _ONE, Parameter.ANY),
    "print": Function(lambda *values: sprint(values), (), Parameter.ANY),
    "println": Function(lambda *values: sprintln(values), (), Parameter.ANY),
    "printf": Function(lambda form, *values: sprintf(form, values), (Parameter.STRING,), Parameter.ANY),
    "html": _escaper(escapes.html),
    "js": _escaper(escapes.js),
    "urlquery": _escaper(escapes.urlquery),
}
