"""Reads a written adapter back and compares, tensor by tensor, what it adds with what the merge adds.

Goes the merge's way and the file's way to the same numbers: scales, row orders and rounding all count. Runs no model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import CheckError
from conch_ollama.exporter.adapter_gguf import AdapterPlan
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.sources.merge import MergedSource
from conch_ollama.sources.weights import WeightSource

#: Rows of a tensor that are compared.
_ROWS = 16
#: Relative error allowed: half precision of A and of B gives a tenth of it.
_TOLERATED = 1e-2
#: Of the weight, what float32 loses of a small change when it is added.
_LOST = 1e-6


def check_against_merge(path: Path, plan: AdapterPlan, merged: MergedSource) -> float:
    """The largest relative difference between the file's changes and the merge's.

    Raises CheckError that names the tensor where it is more than half precision explains.
    """
    from threadpoolctl import threadpool_limits

    worst = 0.0
    # The products are small: threads of BLAS would only wait for one another.
    with threadpool_limits(limits=1, user_api="blas"), GGUFFile(path) as file:
        _check_names(file, plan)
        alpha = float(file.metadata["adapter.lora.alpha"].data)
        for name, (pair, output) in plan.pairs.items():
            rows = np.unique(np.linspace(0, output.shape[0] - 1, _ROWS).astype(np.int64))
            a, b = (_whole(file, f"{name}.lora_{part}") for part in "ab")
            change = np.float32(alpha / b.shape[1]) * (a[rows] @ b.T if pair.embedding else b[rows] @ a)
            sources = rows if output.order is None else output.order[rows]
            wanted, plain = (_rows(source, pair.target, sources) for source in (merged, merged.base))
            size = float(np.linalg.norm(wanted - plain))
            error = float(np.linalg.norm(change - (wanted - plain)))
            if error > _TOLERATED * size + _LOST * float(np.linalg.norm(plain)):
                raise CheckError(
                    f"{path.name}: {name} is changed otherwise than by the merge: {error:.3g} of {size:.3g} is wrong",
                    hint="-q f32 keeps what half precision loses; if it is the same then, please report the adapter",
                )
            worst = max(worst, error / size if size else 0.0)
    return worst


def _check_names(file: GGUFFile, plan: AdapterPlan) -> None:
    wanted = {half.name: half.shape(plan.adapter) for half in plan.halves}
    found = {name: tensor.shape for name, tensor in file.tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise CheckError(
                f"{file.path.name}: {name} is {_size(found.get(name))}, by the adapter it is {_size(wanted.get(name))}"
            )


def _size(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else " x ".join(map(str, shape))


def _whole(file: GGUFFile, name: str) -> NDArray[np.float32]:
    info = file.tensors[name]
    return file.read_rows(name, 0, info.rows).reshape(info.shape)


def _rows(source: WeightSource, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.concatenate([source.read(name, int(row), int(row) + 1) for row in rows])
