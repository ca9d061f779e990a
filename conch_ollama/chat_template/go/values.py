"""Go values in Python: what a template sees, with as much of Go's types as its behaviour depends on.

bool, int, float and complex stand for themselves; `bytes` is a string; `Uint8` a byte of a string or of []byte. `None`
is reflect's invalid value (a missing variable, an untyped nil after a pipeline), `NIL` an interface that holds nothing:
Go errs on a field of the second and not of the first. Structs, slices, maps and pointers carry their type's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


class Nil:
    """A valid interface value that is nil."""

    def __repr__(self) -> str:
        return "NIL"


NIL: Final = Nil()


class Uint8(int):
    """A byte: printed as a number, compared with any integer, indexable with."""


@dataclass(frozen=True, slots=True)
class StructField:
    name: str
    type: str
    json: str = ""
    omit_empty: bool = False


@dataclass(frozen=True, slots=True)
class StructType:
    """A Go struct type: its name and exported fields in order."""

    name: str
    fields: tuple[StructField, ...]


@dataclass(slots=True, eq=False)
class Struct:
    """`addressable`: reached through a pointer or a slice, so the methods of its pointer apply (and print it)."""

    type: StructType
    values: dict[str, Value]
    addressable: bool = True
    string: Callable[[Struct], bytes] | None = None
    string_needs_pointer: bool = False


@dataclass(slots=True, eq=False)
class Pointer:
    """A pointer to a struct; nil where `target` is None."""

    type: str
    target: Struct | None


@dataclass(slots=True, eq=False)
class Slice:
    """`type` is the element's type in Go's spelling. `tail`: what lies behind the items within the capacity, where the
    slice was cut out of a longer one; any other's capacity is taken to be its length."""

    items: Sequence[Value]
    type: str = "interface {}"
    nil: bool = False
    name: str = ""
    string: Callable[[Slice], bytes] | None = None
    json: Callable[[Slice], bytes] | None = None
    tail: Sequence[Value] = ()


@dataclass(slots=True, eq=False)
class Map:
    """A map from strings. `zero` is what a missing key gives."""

    items: Mapping[bytes, Value]
    type: str = "interface {}"
    nil: bool = False
    name: str = ""
    zero: Value = NIL
    string: Callable[[Map], bytes] | None = None
    string_needs_pointer: bool = False
    addressable: bool = False
    sorted_keys: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.sorted_keys = sorted(self.items)


Value = None | Nil | bool | int | float | complex | bytes | Struct | Pointer | Slice | Map


def from_json(value: Any) -> Value:
    """A JSON value as encoding/json decodes it into `any`: numbers are float64, objects map[string]any."""
    if value is None:
        return NIL
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, Mapping):
        return Map({key.encode("utf-8", "surrogatepass"): from_json(item) for key, item in value.items()})
    if isinstance(value, Sequence):
        return Slice([from_json(item) for item in value])
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def type_name(value: Value) -> str:  # noqa: PLR0911 a table of types
    """The type as fmt's %T spells it."""
    match value:
        case None | Nil():
            return "<nil>"
        case bool():
            return "bool"
        case Uint8():
            return "uint8"
        case int():
            return "int"
        case float():
            return "float64"
        case complex():
            return "complex128"
        case bytes():
            return "string"
        case Struct():
            return value.type.name
        case Pointer():
            return value.type
        case Slice():
            return value.name or f"[]{value.type}"
        case Map():
            return value.name or f"map[string]{value.type}"


def is_nil(value: Value) -> bool:
    """Invalid, or nil of its type."""
    match value:
        case None | Nil():
            return True
        case Slice() | Map():
            return value.nil
        case Pointer():
            return value.target is None
    return False


def truth(value: Value) -> bool:
    """What `if`, `and`, `or` and `not` decide by."""
    if value is True or value is False:
        return value
    match value:
        case None | Nil():
            return False
        case Slice() | Map():
            return len(value.items) > 0
        case Pointer():
            return value.target is not None
        case Struct():
            return True
    return bool(value)


def indirect(value: Value) -> Value:
    """Through pointers to what they point to; a nil pointer or interface stays what it is."""
    if isinstance(value, Pointer) and value.target is not None:
        return value.target
    return value


def string_method(value: Value, *, by_address: bool) -> bytes | None:
    """What the value's own String method says. `by_address`: methods of its pointer count if it is addressable."""
    if isinstance(value, Pointer):
        return string_method(value.target, by_address=True) if value.target is not None else None
    if isinstance(value, Slice):
        return value.string(value) if value.string else None
    if isinstance(value, Struct):
        return None if value.string is None or _hidden(value, by_address) else value.string(value)
    if isinstance(value, Map):
        return None if value.string is None or _hidden(value, by_address) else value.string(value)
    return None


def _hidden(value: Struct | Map, by_address: bool) -> bool:
    return value.string_needs_pointer and not (by_address and value.addressable)
