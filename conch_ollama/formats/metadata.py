"""GGUF metadata values with their types: what architectures and tokenizers produce and the writer stores.

Does not encode: `gguf_writer` does. Type numbers: the GGUF specification (ggml/docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ValueType(IntEnum):
    """Type of a metadata value, numbered as in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


@dataclass(frozen=True, slots=True)
class Value:
    """A metadata value: a scalar, or a sequence whose elements are all of `items` type."""

    type: ValueType
    data: Any
    items: ValueType | None = None


Metadata = Mapping[str, Value]


def u32(data: int) -> Value:
    """Unsigned 32-bit integer."""
    return Value(ValueType.UINT32, int(data))


def i32(data: int) -> Value:
    """Signed 32-bit integer."""
    return Value(ValueType.INT32, int(data))


def u64(data: int) -> Value:
    """Unsigned 64-bit integer."""
    return Value(ValueType.UINT64, int(data))


def f32(data: float) -> Value:
    """32-bit float."""
    return Value(ValueType.FLOAT32, float(data))


def boolean(data: bool) -> Value:
    """Boolean."""
    return Value(ValueType.BOOL, bool(data))


def string(data: str) -> Value:
    """UTF-8 string."""
    return Value(ValueType.STRING, data)


def array(items: ValueType, data: Sequence[Any]) -> Value:
    """Sequence of scalars of one type."""
    return Value(ValueType.ARRAY, data, items)


def strings(data: Sequence[str]) -> Value:
    """Sequence of UTF-8 strings."""
    return array(ValueType.STRING, data)
