"""The whole export before a byte is written: every output, its source, its type, the files' sizes.

Pure: reads no weights and writes nothing. What does not add up (a tensor that nothing consumes, an output without a
source, a type that does not fit) is an error here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.architectures.outputs import Output, hugging_face_outputs, outputs
from conch_ollama.architectures.rules import Architecture
from conch_ollama.errors import UsageError
from conch_ollama.exporter.hugging_face import HuggingFacePlan, plan_hugging_face
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Metadata, Value, u32
from conch_ollama.quantize.recipes import FILE_TYPES, TypeChoice, bits_per_weight, choose_types, normalise
from conch_ollama.quantize.types import QUANTIZATION_VERSION
from conch_ollama.sources.weights import WeightSource


@dataclass(frozen=True)
class GGUFPlan:
    """One GGUF to write: `choices[i]` is the type of `outputs[i]`; `size` is the file's, in bytes."""

    recipe: str
    path: Path
    metadata: Metadata
    choices: tuple[TypeChoice, ...]
    specs: tuple[GGUFTensorSpec, ...]
    size: int
    bits_per_weight: float

    @property
    def fallbacks(self) -> tuple[TypeChoice, ...]:
        """Tensors whose type is not the one that the recipe wanted."""
        return tuple(choice for choice in self.choices if choice.type != choice.wanted)


@dataclass(frozen=True)
class Plan:
    """Everything that one pass writes."""

    source: WeightSource
    outputs: tuple[Output, ...]
    files: tuple[GGUFPlan, ...]
    folder: HuggingFacePlan | None
    parameters: int

    @property
    def size(self) -> int:
        """Bytes that the pass writes."""
        return sum(file.size for file in self.files) + (self.folder.size if self.folder else 0)


def plan_export(
    source: WeightSource,
    architecture: Architecture,
    metadata: Metadata,
    *,
    targets: Mapping[str, Path],
    hugging_face: Path | None = None,
) -> Plan:
    """Plan an export of `source` to one GGUF for each recipe of `targets` (recipe name -> path).

    `metadata` is what all files have in common; file type and quantisation version are added here.
    Raises TensorError and its kin where tensors and architecture do not agree, UnknownTypeError for a recipe.
    """
    if not targets and hugging_face is None:
        raise UsageError("nothing to write: no quantisation type and no folder", hint="give -q q8_0, for instance")
    tensors = tuple(outputs(architecture, source.config, source.tensors))
    files = tuple(_plan_file(recipe, path, metadata, tensors) for recipe, path in targets.items())
    folder = None
    if hugging_face is not None:
        folder = plan_hugging_face(source, hugging_face_outputs(architecture, source.config, tensors), hugging_face)
    return Plan(source, tensors, files, folder, count_parameters(tensors))


def count_parameters(tensors: Sequence[Output]) -> int:
    """Weights that come from a source (generated tensors carry no parameters)."""
    return sum(math.prod(tensor.shape) for tensor in tensors if tensor.source is not None)


def _plan_file(recipe: str, path: Path, metadata: Metadata, tensors: Sequence[Output]) -> GGUFPlan:
    name = normalise(recipe)
    full: dict[str, Value] = dict(metadata)
    full["general.quantization_version"] = u32(QUANTIZATION_VERSION)
    full["general.file_type"] = u32(FILE_TYPES[name])
    ordered = tuple(choose_types(name, [(tensor.name, tensor.shape) for tensor in tensors], metadata=metadata))
    specs = tuple(GGUFTensorSpec(t.name, c.type, t.shape) for t, c in zip(tensors, ordered, strict=True))
    writer = GGUFWriter(path, full, specs)
    bits = bits_per_weight(ordered, [spec.shape for spec in specs])
    return GGUFPlan(name, path, full, ordered, specs, writer.size, bits)
