"""Typed access to the scalar values of a GGUF's metadata (key -> plain value), for reading an architecture backwards.

Arrays (a value for each layer) are refused: no architecture here varies from layer to layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np

from conch_ollama.errors import BadGGUFError, UnhandledConfigError

PlainMetadata = Mapping[str, Any]


def decimal(value: SupportsFloat) -> float:
    """The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def whole(metadata: PlainMetadata, key: str, default: int | None = None) -> int:
    """A whole number; `BadGGUFError` where it is missing without a default, or something else."""
    return int(_value(metadata, key, default, (int, np.integer)))


def number(metadata: PlainMetadata, key: str, default: float | None = None) -> float:
    """A number, as the shortest decimal of its float32."""
    value = _value(metadata, key, default, (int, float, np.integer, np.floating))
    return decimal(value) if key in metadata else float(value)


def text(metadata: PlainMetadata, key: str, default: str | None = None) -> str:
    """A string."""
    return str(_value(metadata, key, default, (str,)))


def _value(metadata: PlainMetadata, key: str, default: Any, types: tuple[type, ...]) -> Any:
    if key not in metadata:
        if default is None:
            raise BadGGUFError(f"the metadata has no `{key}`", hint="The file may be of a very old or foreign writer.")
        return default
    value = metadata[key]
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        raise UnhandledConfigError(f"`{key}` has a value for each layer, which is not handled")
    if isinstance(value, bool) or not isinstance(value, types):
        raise BadGGUFError(f"the metadata's `{key}` must be {_named(types[0])}, but is {value!r}")
    return value


def _named(kind: type) -> str:
    return {int: "a whole number", str: "a string"}.get(kind, "a number")
