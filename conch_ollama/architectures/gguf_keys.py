"""Typed access to the scalar values of a GGUF's metadata, for reading an architecture backwards.

Arrays (a value for each layer) are refused: no architecture here varies from layer to layer.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np

from conch_ollama.errors import BadGGUFError, UnhandledConfigError
from conch_ollama.formats.metadata import Metadata, ValueType

_FLOATS = {ValueType.FLOAT32, ValueType.FLOAT64}
_WHOLE = {
    ValueType.UINT8,
    ValueType.INT8,
    ValueType.UINT16,
    ValueType.INT16,
    ValueType.UINT32,
    ValueType.INT32,
    ValueType.UINT64,
    ValueType.INT64,
}


def decimal(value: SupportsFloat) -> float:
    """The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def whole(metadata: Metadata, key: str, default: int | None = None) -> int:
    """A whole number; `BadGGUFError` where it is missing without a default, or something else."""
    return int(_value(metadata, key, default, _WHOLE))


def number(metadata: Metadata, key: str, default: float | None = None) -> float:
    """A number, as the shortest decimal of its float32."""
    value = _value(metadata, key, default, _FLOATS | _WHOLE)
    return value if key not in metadata else decimal(value)


def text(metadata: Metadata, key: str, default: str | None = None) -> str:
    """A string."""
    return str(_value(metadata, key, default, {ValueType.STRING}))


def _value(metadata: Metadata, key: str, default: Any, types: set[ValueType]) -> Any:
    value = metadata.get(key)
    if value is None:
        if default is None:
            raise BadGGUFError(f"the metadata has no `{key}`")
        return default
    if value.type is ValueType.ARRAY:
        raise UnhandledConfigError(f"`{key}` has a value for each layer, which is not handled")
    if value.type not in types:
        raise BadGGUFError(f"the metadata's `{key}` is of type {value.type.name}")
    return value.data
