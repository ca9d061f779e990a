"""What an adapter does to rows of a weight: low-rank sums, DoRA, trained token rows, bias shifts. In place, in float32.

Formulas and the order of their roundings are those of PEFT's `merge` (tuners/lora/layer.py, dora.py, variants.py), so
that a merge that rounds to the base's type after every step gives PEFT's bits. Knows nothing of names or of fitting.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.floats import bf16_from_float32, float32_from_bf16
from conch_ollama.sources.checkpoint import TensorFile

Rows = NDArray[np.float32]
#: Rounds an array in place to the values of a narrower type.
Rounding = Callable[[Rows], None]

#: Elements of a weight changed at a time: the sum of the low-rank product then stays in the cache.
_STEP = 1 << 18
#: Bytes of whole matrices kept by one adapter.
_CACHE = 64 << 20


def keep(_rows: Rows) -> None:
    """The rounding to float32: none."""


def round_bf16(rows: Rows) -> None:
    """Round to the nearest bfloat16, ties to even."""
    np.copyto(rows, float32_from_bf16(bf16_from_float32(rows)))


def round_f16(rows: Rows) -> None:
    """Round to the nearest float16, ties to even."""
    with np.errstate(over="ignore"):
        np.copyto(rows, rows.astype(np.float16))


class Edit(Protocol):
    """A change of rows `start` and following of a weight, in place."""

    def apply(self, rows: Rows, start: int, rounding: Rounding) -> None: ...


class Factors:
    """Whole matrices of an adapter, read once and kept while they are among the last used. Thread-safe.

    The matrices are shared: they must not be written to.
    """

    def __init__(self, weights: TensorFile, limit: int = _CACHE) -> None:
        self._weights = weights
        self._limit = limit
        self._kept: OrderedDict[str, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def whole(self, name: str) -> Rows:
        """The whole tensor."""
        with self._lock:
            matrix = self._kept.get(name)
            if matrix is None:
                matrix = self._weights.read(name)
                self._kept[name] = matrix
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
            return matrix

    def rows(self, name: str, start: int, stop: int) -> Rows:
        """Rows of a tensor, which the caller may change."""
        return self._weights.read(name, start, stop)


@dataclass(frozen=True)
class LowRank:
    """W[i] += scale * (B[i] @ A) for A (r, columns) and B (rows, r): Hu et al. 2021, arXiv 2106.09685.

    With `magnitude` m (rows,) it is DoRA (Liu et al. 2024, arXiv 2402.09353): W'[i] = m[i] * V[i] / |V[i]|, V being
    that sum. A row of zeros stays one, where PEFT divides by zero.
    """

    factors: Factors
    a: str
    b: str
    scale: float
    magnitude: Rows | None = None

    def apply(self, rows: Rows, start: int, rounding: Rounding) -> None:
        """Change `rows`, which are rows `start` and following."""
        del rounding  # the sum is rounded once, by the caller
        a = self.factors.whole(self.a)
        b = self.factors.rows(self.b, start, start + len(rows))
        scale = np.float32(self.scale)
        step = max(1, _STEP // rows.shape[1])
        delta = np.empty((min(step, len(rows)), rows.shape[1]), dtype=np.float32)
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            change = product(b[first : first + step], a, delta[: len(part)])
            change *= scale
            part += change
            if self.magnitude is not None:
                norm = np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64)).astype(np.float32)
                part *= _ratio(self.magnitude[start + first : start + first + len(part)], norm)[:, None]


@dataclass(frozen=True)
class EmbeddingLowRank:
    """W[i] += scale * (B @ A[:, i]) for A (r, rows) and B (columns, r), as PEFT adapts embeddings.

    With `magnitude` m (columns,) it is DoRA over columns: W'[:, j] = m[j] * V[:, j] / |V[:, j]|, for which the norms
    are taken of the whole matrix when the first rows are asked for; `source` reads its rows, `rows` says how many.
    """

    factors: Factors
    a: str
    b: str
    scale: float
    magnitude: Rows | None
    source: Callable[[int, int], Rows]
    rows: int
    _state: dict[str, Rows] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, rows: Rows, start: int, rounding: Rounding) -> None:
        """Change `rows`, which are rows `start` and following. Without DoRA the change itself is rounded, too."""
        if self.magnitude is None:
            self._add(rows, start, rounding)
            return
        factor = self._factor(self.magnitude)
        self._add(rows, start, keep)
        rows *= factor

    def _add(self, rows: Rows, start: int, rounding: Rounding) -> None:
        a, b = self.factors.whole(self.a), self.factors.whole(self.b)
        scale = np.float32(self.scale)
        step = max(1, _STEP // rows.shape[1])
        delta = np.empty((min(step, len(rows)), rows.shape[1]), dtype=np.float32)
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            change = product(a[:, start + first : start + first + len(part)].T, b.T, delta[: len(part)])
            change *= scale
            rounding(change)
            part += change

    def _factor(self, magnitude: Rows) -> Rows:
        with self._lock:
            if "factor" not in self._state:
                squares = np.zeros(len(magnitude), dtype=np.float64)
                step = max(1, _STEP // len(magnitude))
                for start in range(0, self.rows, step):
                    part = self.source(start, min(start + step, self.rows))
                    self._add(part, start, keep)
                    squares += np.einsum("ij,ij->j", part, part, dtype=np.float64)
                self._state["factor"] = _ratio(magnitude, np.sqrt(squares).astype(np.float32))
            return self._state["factor"]


@dataclass(frozen=True)
class TokenRows:
    """W[indices] = values: the rows that `trainable_token_indices` trained."""

    indices: NDArray[np.int64]
    values: Rows

    def apply(self, rows: Rows, start: int, rounding: Rounding) -> None:
        """Change `rows`, which are rows `start` and following."""
        del rounding
        here = (self.indices >= start) & (self.indices < start + len(rows))
        rows[self.indices[here] - start] = self.values[here]


@dataclass(frozen=True)
class BiasShift:
    """b += scale * (bias of B): PEFT's `lora_bias`."""

    values: Rows
    scale: float

    def apply(self, rows: Rows, start: int, rounding: Rounding) -> None:
        """Change elements `start` and following of the bias."""
        del rounding
        rows += self.values[start : start + len(rows)] * np.float32(self.scale)


def product(b: Rows, a: Rows, out: Rows) -> Rows:
    """b @ a in `out`, whose rows do not depend on how many are computed at once.

    Ranks over 192 are summed in the blocks in which torch's builds for x86 (MKL) do it, so that the sums come out the
    same to the last bit; up to that, every BLAS adds up one product after the other.
    """
    if len(b) == 1:
        # A single row would go to the matrix-vector kernel, which sums in another order.
        out[:] = product(np.repeat(b, 2, axis=0), a, np.empty((2, a.shape[1]), dtype=np.float32))[:1]
        return out
    rank = len(a)
    block = -(-rank // 2) if 192 < rank < 384 else 192
    np.matmul(b[:, :block], a[:block], out=out)
    for first in range(block, rank, block):
        out += b[:, first : first + block] @ a[first : first + block]
    return out


def _ratio(magnitude: Rows, norm: Rows) -> Rows:
    return np.divide(magnitude, norm, out=np.zeros_like(norm), where=norm > 0)
