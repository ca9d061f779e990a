"""Holds a GGUF against the base and the adapters that it is said to come from: hashes, names, and a sample of weights.

The sample is merged anew and compared with what the file holds; quantisation moves a value, so nearness is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.outputs import Output, outputs
from conch_ollama.errors import CheckError, ConchError
from conch_ollama.exporter.adapter_check import check_against_merge
from conch_ollama.exporter.adapter_gguf import plan_adapter
from conch_ollama.exporter.blocks import row_blocks
from conch_ollama.exporter.inputs import Inputs, open_inputs
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.sources.adapter import open_adapter
from conch_ollama.sources.merge import MergedSource
from conch_ollama.sources.resolve import Base, resolve_base
from conch_ollama.workflows.claims import Claims

WEIGHTS = "the weights are those of base and adapters merged (a sample of every tensor)"
APART = "the adapter adds to each tensor what a merge adds (a sample of rows)"
CHANGE = "what the adapters change is in the weights"
_LARGEST_SPREAD, _FINE = 0.15, 0.015
#: The relative error (root mean square) that a type may have; twice what it has on normally distributed weights.
_TOLERANCE = {"F32": 1e-5, "F16": 1e-3, "BF16": 6e-3, "Q8_0": 0.015, "Q6_K": 0.05, "Q5_K": 0.09, "Q5_0": 0.1}
_TOLERANCE |= {"Q5_1": 0.09, "Q4_K": 0.17, "Q4_0": 0.2, "Q4_1": 0.17, "Q3_K": 0.35, "Q2_K": 0.6}
#: float32 bytes read of each tensor.
_SAMPLE_BYTES = 64 << 10


def check_adapters(report: Mapping[str, Any], adapters: Sequence[Path], claims: Claims) -> None:
    """The sha256 of every adapter that is given, in the order of export.json."""
    recorded = report.get("adapters") or []
    claims.equal("as many adapters as are given", len(recorded), len(adapters))
    for i, (entry, folder) in enumerate(zip(recorded, adapters, strict=False)):
        with closing(open_adapter(folder)) as adapter:
            claims.equal(f"adapter {i} is {folder.name}, by its sha256", entry.get("sha256"), adapter.sha256)


def check_base(report: Mapping[str, Any], base: str | Path, claims: Claims) -> None:
    """What kind of base is recorded, and its name where the given one has a name of its own."""
    resolved = resolve_base(base)
    recorded = report.get("base") or {}
    claims.equal("the base is of the recorded kind", recorded.get("kind"), resolved.kind)
    if resolved.repo and recorded.get("repo"):
        claims.equal("the base is the recorded one", recorded["repo"], resolved.repo)
    if resolved.revision and recorded.get("revision"):
        claims.equal("the base is of the recorded revision", recorded["revision"], resolved.revision)


def check_weights(
    gguf: Path, report: Mapping[str, Any], base: str | Path, adapters: Sequence[Path], claims: Claims
) -> None:
    """Merges base and adapters anew, a sample of every tensor, and compares. All sources must be given."""
    weights = [float(entry.get("weight", 1.0)) for entry in report.get("adapters") or []]
    if len(weights) != len(adapters):
        claims.unknown(WEIGHTS, f"{len(weights)} adapters are recorded and {len(adapters)} are given")
        return
    merge: Any = report.get("merge_dtype") if report.get("merge_dtype") in {"float32", "base"} else "float32"
    pairs = list(zip(adapters, weights, strict=True))
    resolved = resolve_base(base)
    if report.get("adapter_only"):
        _check_apart(gguf, resolved, pairs, claims)
        return
    with (
        open_inputs(resolved, pairs, merge_dtype=merge) as inputs,
        open_inputs(resolved) as plain,
        GGUFFile(gguf) as file,
    ):
        expected = outputs(inputs.architecture, inputs.weights.config, inputs.weights.tensors)
        if {one.name for one in expected} != set(file.tensors):
            odd = sorted({one.name for one in expected} ^ set(file.tensors))
            claims.fails(WEIGHTS, f"{odd[0]} is on one side only")
            return
        change = _Change()
        for output in expected:
            if fault := _differs(inputs, plain, output, file, change):
                claims.fails(WEIGHTS, fault)
                return
    claims.holds(WEIGHTS)
    if pairs:
        change.judge(claims)


def _check_apart(gguf: Path, base: Base, pairs: Sequence[tuple[Path, float]], claims: Claims) -> None:
    """An adapter by itself: what it adds to each tensor is what the merge adds."""
    with open_inputs(base, pairs) as inputs:
        merged = inputs.weights
        if len(pairs) != 1 or not isinstance(merged, MergedSource):
            claims.unknown(APART, f"{len(pairs)} adapters are recorded, where there must be one")
            return
        adapter, weight = inputs.adapters[0]
        try:
            error = check_against_merge(gguf, plan_adapter(merged.base, adapter, weight, inputs.architecture), merged)
        except CheckError as err:
            claims.fails(APART, err.message)
            return
    claims.holds(APART, f"the largest difference is {error:.2%}")


@dataclass
class _Change:
    """How much of what the adapters change is in the file: the file's distance from the base, projected on it.

    Quantisation hides a change that is smaller than its own error in each weight; over all of them it does not, since
    the error knows nothing of the change. `spread` is the standard error of the share.
    """

    along: float = 0.0
    length: float = 0.0
    noise: float = 0.0

    def add(self, base: NDArray[np.float32], want: NDArray[np.float32], have: NDArray[np.float32]) -> None:
        """Rows of one tensor: of the base, merged, and in the file."""
        delta = np.asarray(want - base, dtype=np.float64)
        self.along += float(np.sum((have - base) * delta))
        self.length += float(np.sum(delta * delta))
        self.noise += float(np.sum(np.square((have - want) * delta)))

    def judge(self, claims: Claims) -> None:
        """All of it must be there, give or take what quantisation leaves uncertain: coarse types swallow up to a third
        of a small change (seen: 66% of it left in q4_0, 77% in q2_K), fine ones nothing."""
        if not self.length:
            claims.unknown(CHANGE, "in the rows looked at they change nothing")
            return
        share, spread = self.along / self.length, float(np.sqrt(self.noise)) / self.length
        if spread > _LARGEST_SPREAD:
            claims.unknown(CHANGE, f"quantisation leaves too little of it to see: {share:.0%} ± {spread:.0%}")
        elif abs(share - 1) > max(0.1 if spread < _FINE else 0.4, 5 * spread):
            claims.fails(CHANGE, f"{share:.0%} of it are there")
        else:
            claims.holds(CHANGE, f"{share:.0%} ± {spread:.0%}")


def _differs(inputs: Inputs, plain: Inputs, output: Output, file: GGUFFile, change: _Change) -> str:
    """What is wrong with a tensor; "" where nothing is."""
    stored = file.tensors[output.name]
    if stored.shape != output.shape:
        return f"tensor {output.name} is of shape {list(stored.shape)}, not {list(output.shape)}"
    start, stop = _range(output)
    try:
        have = file.read_rows(output.name, start, stop)
    except ConchError:
        return ""
    want = _wanted(inputs, output, start, stop)
    have = have.reshape(want.shape)
    of_base = plain.weights.tensors.get(output.source) if output.source is not None else None
    if of_base is not None and of_base.shape == output.shape:
        change.add(_wanted(plain, output, start, stop), want, have)
    scale = float(np.sqrt(np.mean(np.square(want))))
    error = float(np.sqrt(np.mean(np.square(have - want))))
    allowed = _TOLERANCE.get(stored.dtype, 0.6)
    if error <= allowed * scale + 1e-9:
        return ""
    share = error / scale if scale else float("inf")
    return f"tensor {output.name} ({stored.dtype}), rows {start} to {stop - 1}, is {share:.0%} away from the merge"


def _range(output: Output) -> tuple[int, int]:
    """A block in the tensor's middle that holds the same rows before and after reordering."""
    if len(output.shape) < 2:
        return 0, output.shape[0]
    blocks = list(row_blocks(output.shape[0], output.shape[1], output.order, _SAMPLE_BYTES))
    return blocks[len(blocks) // 2]


def _wanted(inputs: Inputs, output: Output, start: int, stop: int) -> NDArray[np.float32]:
    if output.source is None:
        assert output.values is not None  # noqa: S101 - one of the two is set
        return output.values[start:stop]
    rows = inputs.weights.read(output.source, start, stop)
    return rows if output.order is None else rows[output.order[start:stop] - start]
