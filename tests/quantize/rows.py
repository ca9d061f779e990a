"""Rows that find the faults of a kernel: random ones of every magnitude, and those made for an edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLUMNS = 256


def random_rows(count: int = 200, *, seed: int = 7) -> NDArray[np.float32]:
    """Normal rows, each of a scale of its own from 1e-6 to 1e3, some with outliers, some sparse."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, COLUMNS)) * 10 ** random.uniform(-6, 3, (count, 1))
    rows[::5][random.random(rows[::5].shape) < 0.02] *= 50
    rows[::7][random.random(rows[::7].shape) < 0.9] = 0
    return rows.astype(np.float32)


def bit_patterns(count: int = 200, *, seed: int = 8) -> NDArray[np.float32]:
    """Finite float32 of any bits, below the largest half-precision number: every exponent, subnormals among them."""
    bits = np.random.default_rng(seed).integers(0, 2**32, (count, COLUMNS), dtype=np.uint32)
    rows = bits.view(np.float32)
    return np.where(np.abs(rows) < 60000, rows, np.float32(0)).astype(np.float32)


def edge_rows() -> NDArray[np.float32]:
    """One row for each edge: zeros of both signs, subnormals, exact halves, the largest numbers of half precision."""
    step = np.arange(COLUMNS, dtype=np.float32)
    rows = [
        np.zeros(COLUMNS),
        np.full(COLUMNS, -0.0),
        np.full(COLUMNS, 1e-45),
        step * 1e-45,
        step * 1e-40,
        step * 1e-38,
        -step * 1e-36,
        np.full(COLUMNS, 2.0**-25),
        np.full(COLUMNS, 2.0**-24 * 1.5),
        step * 2.0**-25,
        step / 2 - 63.5,
        (step - 128) / 2,
        np.where(step % 32 == 0, 127, step % 32 + 0.5),
        np.where(step % 32 == 0, -127, -(step % 32) - 0.5),
        np.where(step % 32 == 0, 127, np.nextafter(np.float32(0.5), np.float32(0))),
        np.where(step % 32 == 0, 127, np.nextafter(np.float32(1.5), np.float32(0))),
        np.where(step % 32 == 0, 65504, 1),
        np.where(step % 32 == 31, -65504, 0),
        65504 - step,
        1 + step * 2.0**-11,
        1 + step * 2.0**-12,
        1 + step * 2.0**-8 + 2.0**-9,
        np.where(step % 32 < 16, 1, -1),
        np.full(COLUMNS, 3.25),
        np.full(COLUMNS, -3.25),
        np.where(step == 200, 1e4, 1e-4),
    ]
    return np.array(rows, dtype=np.float32)


ALL_ROWS = {"random": random_rows(), "bit patterns": bit_patterns(), "edges": edge_rows()}
