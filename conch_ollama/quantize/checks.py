"""What every kernel asks of its rows: shape, whole blocks, finite weights; and the errors it answers with.

llama.cpp refuses the same: it validates the source tensors and the blocks it made of them (ggml_validate_row_data).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import NonFiniteError, ShapeError
from conch_ollama.quantize.types import row_bytes, type_name


def checked(rows: NDArray[np.float32], type: int, tensor: str, first_row: int) -> NDArray[np.float32]:
    """`rows` as contiguous float32 (n, columns), all finite and of whole blocks.

    Raises `ShapeError` or `NonFiniteError`, which names `tensor`, the row (counted from `first_row`) and the column.
    """
    if rows.ndim != 2:
        raise ShapeError(f"{tensor}: a block of rows has two dimensions, not {rows.ndim}")
    try:
        row_bytes(type, rows.shape[1])
    except ShapeError as err:
        raise ShapeError(f"{tensor}: {err.message}", hint=err.hint) from err
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), finite.shape)
        raise NonFiniteError(
            f"{tensor}: row {first_row + int(row)}, column {column} is {rows[row, column]}",
            hint="the training diverged, or the file is damaged: llama.cpp refuses such weights too",
        )
    return rows


def too_large(rows: NDArray[np.float32], type: int, tensor: str, first_row: int) -> NonFiniteError:
    """The error for finite rows of which `type` can't hold the largest weight: it, or its block's scale, overflows."""
    row, column = np.unravel_index(int(np.argmax(np.abs(rows))), rows.shape)
    name = type_name(type)
    return NonFiniteError(
        f"{tensor}: row {first_row + int(row)}, column {column} is {rows[row, column]:g}, too large for {name}",
        hint="half precision ends at 65504, in F16 and in the scales of the quantised types: use bf16 or f32",
    )
