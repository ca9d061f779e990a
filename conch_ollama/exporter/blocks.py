"""Cuts tensors into row blocks that can be read, converted and written one after another.

A block is a range of rows that holds the same rows before and after the tensor's reordering, so one read serves the
GGUF (reordered) and the Hugging Face folder (as it was). Does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: float32 bytes in a block, about: large enough to keep BLAS and disk busy, small enough to stay in the cache's reach.
BLOCK_BYTES = 4 << 20


def row_blocks(
    rows: int, columns: int, order: NDArray[np.int64] | None, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) that cover `range(rows)` in steps of about `block_bytes` of float32.

    With an `order` (output row -> source row) every range is closed under it: the rows order[start:stop] are exactly
    start … stop - 1, in another sequence.
    """
    step = max(1, block_bytes // (4 * max(1, columns)))
    cuts = None if order is None else _closed_cuts(order)
    start = 0
    while start < rows:
        stop = min(rows, start + step)
        if cuts is not None:
            stop = int(cuts[np.searchsorted(cuts, stop)])
        yield start, stop
        start = stop


def _closed_cuts(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions k for which order[:k] is a permutation of range(k)."""
    highest = np.maximum.accumulate(order)
    return np.flatnonzero(highest == np.arange(len(order))) + 1
