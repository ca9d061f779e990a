"""What an architecture is made of: rules that say which tensor becomes which, and a pure function for the metadata.

Does no I/O. Rules are data, so that they can be read backwards: a GGUF is presented in Hugging Face names through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.metadata import Metadata

Config = Mapping[str, Any]
#: (config, rows) -> for each output row the index of its source row; a permutation of range(rows).
RowOrder = Callable[[Config, int], NDArray[np.int64]]
#: (config) -> float32 values of a tensor that no source holds (llama3's rope factors), or None when it has none.
Generator = Callable[[Config], NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor to one tensor. `{}` stands for the layer's number in both names.

    `optional`: the source need not be there (a bias, a tied output).
    """

    source: str
    output: str
    order: RowOrder | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Generated:
    """A tensor computed from the configuration, written as float32."""

    output: str
    values: Generator


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything conch knows of a family of models.

    `name` is the GGUF `general.architecture`. `ignored` are regular expressions of source tensors that carry nothing
    (rotary buffers). `metadata` gives the `{name}.*` keys from config.json and raises `UnhandledConfigError` where a
    known key has a value that is not handled; `warnings` lists unknown keys. `config` is its inverse: config.json's
    keys from a GGUF's metadata (keys with plain values).
    """

    name: str
    model_types: tuple[str, ...]
    rules: tuple[Rule, ...]
    metadata: Callable[[Config], Metadata]
    config: Callable[[Mapping[str, Any]], dict[str, Any]]
    warnings: Callable[[Config], list[str]]
    generated: tuple[Generated, ...] = ()
    ignored: tuple[str, ...] = field(default=())
