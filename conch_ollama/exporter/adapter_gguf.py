"""A LoRA adapter as a GGUF of its own, which llama.cpp puts over the base when it runs it.

Layout and names are those of llama.cpp's convert_lora_to_gguf.py, what is done with them is in its llama-adapter.cpp
and llama-graph.cpp: `NAME.lora_a` is A (rank, columns), `NAME.lora_b` is B (rows, rank), and each B @ A counts
`adapter.lora.alpha` / rank times. So a scale that is another one for some weight goes into that weight's B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.outputs import Output, outputs, quantiser_order
from conch_ollama.architectures.rules import Architecture
from conch_ollama.exporter.plan import GGUFPlan
from conch_ollama.exporter.sinks import WrittenFile
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Metadata, u32
from conch_ollama.quantize.kernels import kernel_for
from conch_ollama.quantize.recipes import FILE_TYPES, TypeChoice, bits_per_weight
from conch_ollama.quantize.types import GGML, QUANTIZATION_VERSION
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.adapter_apart import Pair, pairs_apart
from conch_ollama.sources.weights import WeightSource

Rows = NDArray[np.float32]
#: Relative error of a whole tensor above which half precision is not taken; rounding what is not tiny stays below it.
_TOLERATED = 2.0**-11


@dataclass(frozen=True)
class Half:
    """One of a pair: the adapter's tensor `source` as it is to be written, in `order` of its rows, times `factor`."""

    name: str
    source: str
    transposed: bool
    order: NDArray[np.int64] | None
    factor: np.float32

    def shape(self, adapter: Adapter) -> tuple[int, ...]:
        """As it is written, rows first."""
        given = adapter.weights.tensors[self.source].shape
        return given[::-1] if self.transposed else given

    def values(self, adapter: Adapter) -> Rows:
        """The rows to write."""
        rows = adapter.weights.read(self.source)
        if self.transposed:
            rows = np.ascontiguousarray(rows.T)
        if self.order is not None:
            rows = rows[self.order]
        return rows if self.factor == 1 else rows * self.factor


@dataclass(frozen=True)
class AdapterPlan:
    """`alpha` of the file, its tensors in their order, and for each pair where it goes (for the check)."""

    adapter: Adapter
    alpha: float
    halves: tuple[Half, ...]
    pairs: Mapping[str, tuple[Pair, Output]]

    @property
    def parameters(self) -> int:
        return sum(self.adapter.weights.tensors[half.source].elements for half in self.halves)


def plan_adapter(base: WeightSource, adapter: Adapter, weight: float, architecture: Architecture) -> AdapterPlan:
    """Where every tensor of `adapter`, times `weight`, goes in a GGUF. Raises what `pairs_apart` raises."""
    pairs = pairs_apart(base, adapter, weight)
    places = {output.source: output for output in outputs(architecture, base.config, base.tensors) if output.source}
    alpha = _alpha(pairs, adapter, weight)
    placed = {places[pair.target].name: (pair, places[pair.target]) for pair in pairs}
    halves: list[Half] = []
    for name in sorted(placed, key=quantiser_order):
        pair, output = placed[name]
        factor = np.float32(pair.scale * pair.rank / alpha)
        # The rows of the base's tensor are those of B, in an embedding's case those of A turned over.
        of_a, of_b = (output.order, None) if pair.embedding else (None, output.order)
        halves += (
            Half(f"{name}.lora_a", pair.a, pair.embedding, of_a, np.float32(1)),
            Half(f"{name}.lora_b", pair.b, False, of_b, factor),
        )
    return AdapterPlan(adapter, alpha, tuple(halves), placed)


def plan_adapter_file(plan: AdapterPlan, path: Path, recipe: str | None, metadata: Metadata) -> GGUFPlan:
    """The file: f32, f16, or by `recipe` None half precision with float32 for what it would spoil."""
    wanted = GGML["F32" if recipe == "f32" else "F16"]
    choices, specs = [], []
    for half in plan.halves:
        values = half.values(plan.adapter)
        reason = _spoilt(values) if recipe is None else None
        choice = TypeChoice(half.name, GGML["F32"] if reason else wanted, wanted, reason)
        choices.append(choice)
        specs.append(GGUFTensorSpec(half.name, choice.type, values.shape))
    name = recipe or "f16"
    full = {
        **metadata,
        "general.quantization_version": u32(QUANTIZATION_VERSION),
        "general.file_type": u32(FILE_TYPES[name]),
    }
    size = GGUFWriter(path, full, specs).size
    bits = bits_per_weight(choices, [spec.shape for spec in specs])
    return GGUFPlan(name, path, full, tuple(choices), tuple(specs), size, bits)


def write_adapter(
    plan: AdapterPlan, file: GGUFPlan, progress: Callable[[int, int, str], None] | None = None
) -> WrittenFile:
    """Write the file. Raises `NonFiniteError` for values that f16 can't hold, where f16 was asked for."""
    done = 0
    with GGUFWriter(file.path, file.metadata, file.specs) as writer:
        for half, spec in zip(plan.halves, file.specs, strict=True):
            for first, rows in _blocks(half.values(plan.adapter)):
                kernel = kernel_for(spec.type)
                writer.write(kernel.quantize(rows, spec.type, tensor=spec.name, first_row=first))
                done += rows.size
            if progress is not None:
                progress(done, plan.parameters, spec.name)
        return WrittenFile(str(file.path), writer.finish(), file.size)


def _blocks(rows: Rows, step: int = 1 << 20) -> Iterator[tuple[int, Rows]]:
    count = max(1, step // rows.shape[1])
    for first in range(0, len(rows), count):
        yield first, rows[first : first + count]


def _alpha(pairs: tuple[Pair, ...], adapter: Adapter, weight: float) -> float:
    """The alpha that leaves most of B as it is: the configuration's, as float32.

    llama.cpp takes alpha 0 for a scale of 1, so then 1 is written, and B holds the zeros.
    """
    config = adapter.config
    common = config.alpha * (config.rank**0.5 if config.use_rslora else 1.0) * weight
    alpha = float(np.float32(common))
    return alpha if alpha and np.isfinite(alpha) else 1.0


def _spoilt(values: Rows) -> str | None:
    """Why half precision won't do for these values; None where it will."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        return "too large for F16"
    error = np.linalg.norm((rounded - values).ravel())
    return "too small for F16" if error > _TOLERATED * np.linalg.norm(values.ravel()) else None
