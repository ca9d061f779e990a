"""What an architecture is made of: rules that say which tensor becomes which, and pure functions for the metadata.

Does no I/O and applies nothing (`outputs` does). Rules are data, so that they can be read backwards: a GGUF is
presented in Hugging Face names through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.metadata import Metadata

Config = Mapping[str, Any]
#: (config, rows) -> for each output row the index of its source row; a permutation of range(rows).
RowOrder = Callable[[Config, int], NDArray[np.int64]]
#: (config) -> float32 values of a tensor that no source holds (llama3's rope factors), or None when it has none.
Generator = Callable[[Config], NDArray[np.float32] | None]
#: Shapes of a GGUF's tensors by their names there, rows first.
Shapes = Mapping[str, tuple[int, ...]]
#: "absent" says that the rule does not apply: a source of its name is then one that nothing consumes.
Presence = Literal["required", "optional", "absent"]


def required(config: Config) -> Presence:
    """The tensor must be there, whatever the configuration says."""
    return "required"


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor to one tensor, element for element. `{}` stands for the layer's number in both names.

    `shape` names the sizes of `Architecture.dimensions`, rows first. `order` permutes the rows. `presence` says from
    the configuration whether the source must be there (a bias), may be there (a tied output) or has no place.
    """

    source: str
    output: str
    shape: tuple[str, ...]
    order: RowOrder | None = None
    presence: Callable[[Config], Presence] = required


@dataclass(frozen=True, slots=True)
class Generated:
    """A tensor computed from the configuration, written as float32.

    A GGUF base brings it along under its own name; then that one is carried over and nothing is computed. `restore`
    gives the configuration keys that such a tensor stands for, None where there are none for its values.
    """

    output: str
    shape: tuple[str, ...]
    values: Generator
    restore: Callable[[Config, NDArray[np.float32]], dict[str, Any] | None]


class ConfigReader(Protocol):
    """The signature of `Architecture.config`."""

    def __call__(self, data: Mapping[str, Any], shapes: Shapes | None = None, /) -> dict[str, Any]:
        """config.json's keys from plain metadata and tensor shapes."""
        ...


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything conch knows of a family of models.

    `name` is the GGUF `general.architecture`. `ignored` are regular expressions (whole name) of source tensors that
    carry nothing (rotary buffers). `dimensions` gives the sizes that the rules' shapes name. `metadata` gives the
    `{name}.*` keys from config.json; it raises `UnhandledConfigError` where a known key has a value that is not
    handled and `BadConfigError` where a key is missing or impossible. `warnings` lists what is not known and what
    will not be carried over. `config` is the inverse of `metadata`: config.json's keys (transformers 4 spelling,
    which 5 reads too) from a GGUF's metadata (keys with plain values) and the shapes of its tensors, which alone say
    whether the output is tied and whether there are biases.
    """

    name: str
    model_types: tuple[str, ...]
    rules: tuple[Rule, ...]
    dimensions: Callable[[Config], Mapping[str, int]]
    metadata: Callable[[Config], Metadata]
    warnings: Callable[[Config], list[str]]
    config: ConfigReader
    generated: tuple[Generated, ...] = ()
    ignored: tuple[str, ...] = field(default=())
