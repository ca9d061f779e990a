"""Orders of rows in which a GGUF differs from Hugging Face's layout, as index arrays.

Holds no weights: the pipeline reads rows through these indices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interleave_halves(rows: int, heads: int) -> NDArray[np.int64]:
    """For each GGUF row of a query or key projection the index of its Hugging Face row.

    transformers rotates element i of a head together with element i + head_dim/2, llama.cpp's "norm" rope rotates
    neighbours (2i, 2i + 1); so the two halves of every head are interleaved. Source: `permute` in transformers'
    convert_llama_weights_to_hf.py, undone. `rows` must be a multiple of 2 * heads.
    """
    return np.arange(rows, dtype=np.int64).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)


def inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order that undoes `order`: x[order][inverse(order)] is x."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order), dtype=np.int64)
    return back
