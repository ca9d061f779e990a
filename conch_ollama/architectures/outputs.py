"""Applies an architecture's rules: which GGUF tensors a model gives, from which sources, in which row order.

Pure: it sees names and shapes, and reads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.config_keys import integer
from conch_ollama.architectures.row_orders import inverse
from conch_ollama.architectures.rules import Architecture, Config, Rule
from conch_ollama.errors import MissingTensorError, ShapeError, UnconsumedTensorError, UnhandledConfigError
from conch_ollama.formats.tensors import TensorInfo

_NAMED = 3  # tensors that an error names before it only counts


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of the GGUF: rows of `source`, in `order` where it is not None, or the computed float32 `values`.

    `shape` is in row-major order. Exactly one of `source` and `values` is set. `generated`: no Hugging Face folder has
    this tensor; its configuration says what it holds.
    """

    name: str
    shape: tuple[int, ...]
    source: str | None = None
    order: NDArray[np.int64] | None = None
    values: NDArray[np.float32] | None = None
    generated: bool = False


def outputs(architecture: Architecture, config: Config, source_tensors: Mapping[str, TensorInfo]) -> list[Output]:
    """Every tensor of the GGUF, in the order in which llama.cpp's quantiser writes them.

    Raises `MissingTensorError`, `ShapeError` and `UnconsumedTensorError`, each naming the first tensors it concerns,
    and what `Architecture.metadata` raises for a configuration that is not handled.
    """
    architecture.metadata(config)
    sizes = architecture.dimensions(config)
    consumed: set[str] = set()
    missing: list[str] = []
    found: list[Output] = []
    for rule, source, output in _applied(architecture, config):
        if source not in source_tensors:
            if rule.presence(config) == "required":
                missing.append(f"{source} (for {output})")
            continue
        shape = tuple(sizes[size] for size in rule.shape)
        _check_shape(source_tensors[source], shape)
        consumed.add(source)
        found.append(Output(output, shape, source, rule.order(config, shape[0]) if rule.order else None))
    if missing:
        raise MissingTensorError(f"not among the model's tensors: {_listed(missing)}", hint=_incomplete(missing))
    for generated in architecture.generated:
        shape = tuple(sizes[size] for size in generated.shape)
        if generated.output in source_tensors:
            _check_shape(source_tensors[generated.output], shape)
            consumed.add(generated.output)
            found.append(Output(generated.output, shape, generated.output, generated=True))
        elif (values := generated.values(config)) is not None:
            found.append(Output(generated.output, shape, values=values, generated=True))
    _check_consumed(architecture, source_tensors, consumed)
    return sorted(found, key=lambda output: quantiser_order(output.name))


def hugging_face_outputs(architecture: Architecture, config: Config, found: Iterable[Output]) -> list[Output]:
    """Those of the outputs that a Hugging Face folder holds: all but generated tensors.

    Raises `UnhandledConfigError` where a GGUF base brings a generated tensor that its config.json does not stand for.
    """
    known = {item.output for item in architecture.generated if item.values(config) is not None}
    for output in found:
        if output.generated and output.name not in known:
            raise UnhandledConfigError(
                f"{output.name} of the GGUF holds values that config.json has no keys for",
                hint="Write a GGUF, or start from the original Hugging Face folder.",
            )
    return [output for output in found if not output.generated]


def config_for_gguf(
    architecture: Architecture,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], NDArray[np.float32]],
) -> dict[str, Any]:
    """config.json for a GGUF base, with what its generated tensors say (Llama 3's rope scaling).

    `metadata`: keys with plain values. `shapes`: of all its tensors by GGUF name, rows first. `read` gives the values
    of one of them. Raises what `Architecture.config` raises.
    """
    config = architecture.config(metadata, shapes)
    for generated in architecture.generated:
        if generated.output in shapes:
            config.update(generated.restore(config, read(generated.output)) or {})
    return config


def names_for_gguf(
    architecture: Architecture, config: Config, tensor_names: Collection[str]
) -> dict[str, tuple[str, NDArray[np.int64] | None]]:
    """How a GGUF presents itself in Hugging Face names: name -> (GGUF name, order of its rows that gives the source's).

    `config` is `config_for_gguf` of the file. A generated tensor keeps its GGUF name, so that it is carried over
    as it is. Raises `UnconsumedTensorError` for tensors that the architecture does not have.
    """
    sizes = architecture.dimensions(config)
    found: dict[str, tuple[str, NDArray[np.int64] | None]] = {}
    for rule, source, output in _applied(architecture, config):
        if output in tensor_names:
            order = inverse(rule.order(config, sizes[rule.shape[0]])) if rule.order else None
            found[source] = (output, order)
    found.update({item.output: (item.output, None) for item in architecture.generated if item.output in tensor_names})
    consumed = {name for name, _ in found.values()}
    left = sorted(name for name in tensor_names if name not in consumed)
    if left:
        raise UnconsumedTensorError(
            f"tensors that the architecture {architecture.name!r} does not have: {_listed(left)}"
        )
    return found


def quantiser_order(name: str) -> tuple[int, str]:
    """Sorting key of llama.cpp's quantiser: what belongs to no layer first, then layer by layer, by name.

    Source: `weight_name_comparer` in llama-model-loader.h.
    """
    layer = re.match(r"blk\.(\d+)\.", name)
    return (int(layer[1]) if layer else -1, name)


def _applied(architecture: Architecture, config: Config) -> Iterator[tuple[Rule, str, str]]:
    """Every rule that applies, with the names of its source and output, layer by layer."""
    layers = range(integer(config, "num_hidden_layers"))
    for rule in architecture.rules:
        if rule.presence(config) == "absent":
            continue
        for layer in layers if "{}" in rule.source else (0,):
            yield rule, rule.source.format(layer), rule.output.format(layer)


def _check_shape(tensor: TensorInfo, wanted: tuple[int, ...]) -> None:
    if tensor.shape != wanted:
        raise ShapeError(
            f"{tensor.name} is {_product(tensor.shape)}, but must be {_product(wanted)} by the configuration",
            hint="config.json and the weights don't belong together.",
        )


def _check_consumed(
    architecture: Architecture, source_tensors: Mapping[str, TensorInfo], consumed: Collection[str]
) -> None:
    ignored = [re.compile(pattern) for pattern in architecture.ignored]
    left = [
        name
        for name in source_tensors
        if name not in consumed and not any(pattern.fullmatch(name) for pattern in ignored)
    ]
    if left:
        raise UnconsumedTensorError(
            f"tensors that the architecture {architecture.name!r} does not have by this configuration: {_listed(left)}",
            hint="Left out, they would change the answers; so nothing is written.",
        )


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _incomplete(missing: list[str]) -> str | None:
    if missing[0].startswith("lm_head."):
        return "If the output is the embedding, config.json must say so: tie_word_embeddings: true."
    return "The folder may be incomplete, or hold an adapter only."
