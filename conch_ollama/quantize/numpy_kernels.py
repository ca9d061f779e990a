"""F32, F16, BF16 and Q8_0 in numpy, bit for bit what ggml makes of finite weights: for machines without a binding.

The formulas are those of ggml's reference quantisers (quantize_row_q8_0_ref in ggml-quants.c, ggml-impl.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import NoKernelError
from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.quantize.checks import checked, too_large
from conch_ollama.quantize.types import GGML, row_bytes, type_name

_BLOCK = 32
_Q8_0 = np.dtype([("d", "<f2"), ("qs", "i1", (_BLOCK,))])
#: Blocks converted at a time, so that the intermediate arrays stay in the cache.
_STEP = 2048


class NumpyKernel:
    """The types that need no search for a scale."""

    name = "numpy"
    types = frozenset(GGML[name] for name in ("F32", "F16", "BF16", "Q8_0"))

    def quantize(
        self, rows: NDArray[np.float32], type: int, *, tensor: str = "the tensor", first_row: int = 0
    ) -> NDArray[np.uint8]:
        """Rows (n, columns) to (n, row_bytes); errors as `Kernel.quantize`."""
        if type not in self.types:
            raise NoKernelError(f"numpy has no kernel for {type_name(type)}")
        rows = checked(rows, type, tensor, first_row)
        match type_name(type):
            case "F32":
                raw: NDArray[Any] = rows.astype("<f4")
            case "F16":
                raw = f16(rows)
            case "BF16":
                raw = bf16_from_float32(rows).astype("<u2", copy=False)
            case _:
                raw = q8_0(rows)
        if not _finite(raw):
            raise too_large(rows, type, tensor, first_row)
        return raw.view(np.uint8).reshape(len(rows), row_bytes(type, rows.shape[1]))


def f16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Nearest half precision, ties to even, of the same shape; a NaN becomes ggml's quiet one, with its sign."""
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    nan = np.isnan(values)
    if nan.any():
        half.view(np.uint16)[nan] = 0x7E00 | (np.signbit(values[nan]).astype(np.uint16) << 15)
    return half


def q8_0(values: NDArray[np.float32]) -> NDArray[np.void]:
    """Blocks of 32 consecutive finite values: a scale `d` in half precision and 32 integers `qs`, of shape (blocks,).

    d = amax / 127, q = round(x * (1 / d)) with the d that is not yet rounded, halves away from zero as C's roundf does.
    """
    blocks = values.reshape(-1, _BLOCK)
    out = np.empty(len(blocks), dtype=_Q8_0)
    for start in range(0, len(blocks), _STEP):
        part = blocks[start : start + _STEP]
        d = np.abs(part).max(axis=1) / np.float32(127)
        # 1/d overflows where d is a subnormal. What C then casts to int8 is not defined; x86, for which ggml's
        # files are made everywhere, gives 0, and d is 0 in half precision there, so that nothing depends on it.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            inverse = np.where(d == 0, np.float32(0), np.float32(1) / d)
            scaled = part * inverse[:, None]
            whole = np.trunc(scaled)
            # The difference is exact, which |x| + 0.5 would not be just below a half.
            whole += np.copysign(np.abs(scaled - whole) >= np.float32(0.5), scaled)
            whole[~np.isfinite(scaled)] = 0
            out["d"][start : start + _STEP] = d
        out["qs"][start : start + _STEP] = whole
    return out


def _finite(raw: NDArray[Any]) -> bool:
    if raw.dtype == _Q8_0:
        return bool(np.isfinite(raw["d"]).all())
    if raw.dtype == np.uint16:
        return not bool(((raw & np.uint16(0x7F80)) == 0x7F80).any())
    return bool(np.isfinite(raw).all())
