"""Float formats of the containers to float32 and back: BF16 and the 8-bit floats without torch.

Little-endian, as in the files. 8-bit floats have a function of their own: they mean nothing without their scales.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import UnknownTypeError

#: Bytes of one element by the name that safetensors gives the type. Types of less than a byte are not handled.
ITEM_SIZE: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I64": 8,
    "U64": 8,
    "I32": 4,
    "U32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "C64": 8,
}

#: Elements converted at a time: input and output together stay in the second-level cache.
_STEP = 1 << 16


def to_float32(raw: NDArray[np.uint8] | bytes, dtype: str) -> NDArray[np.float32]:
    """Flat float32 array of the elements in `raw`, which are of type F64, F32, F16 or BF16.

    The result is fresh, but for an F32 array, which is only seen as float32. Raises `UnknownTypeError` for other types:
    integers are no weights, 8-bit floats need their scales.
    """
    data = np.frombuffer(raw, dtype=np.uint8) if isinstance(raw, bytes) else raw
    match dtype:
        case "F32":
            return data.view(np.float32).copy() if isinstance(raw, bytes) else data.view(np.float32)
        case "BF16":
            return float32_from_bf16(data.view(np.uint16))
        case "F16":
            return data.view(np.float16).astype(np.float32)
        case "F64":
            with np.errstate(over="ignore"):
                return data.view(np.float64).astype(np.float32)
    raise UnknownTypeError(
        f"values of type {dtype} can't be read as weights",
        hint="weights are F32, F16, BF16 or F64; 8-bit floats only together with their scales",
    )


def float32_from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 of the same shape: a bfloat16 is the upper half of a float32's bits, so this is exact."""
    flat = bits.reshape(-1)
    out = np.empty(flat.size, dtype=np.uint32)
    for start in range(0, flat.size, _STEP):
        part = out[start : start + _STEP]
        part[:] = flat[start : start + _STEP]
        part <<= 16
    return out.view(np.float32).reshape(bits.shape)


def bf16_from_float32(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Bits of the nearest bfloat16, ties to even, of the same shape. A NaN stays one: made quiet, its sign kept.

    As ggml_compute_fp32_to_bf16 (ggml-impl.h); values beyond the largest bfloat16 become infinite.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(-1)
    out = np.empty(bits.size, dtype=np.uint16)
    for start in range(0, bits.size, _STEP):
        part = bits[start : start + _STEP]
        # Wraps around for no number: the largest finite float32 plus 0x8000 is still below 2**32 without its sign.
        rounded = (part + (np.uint32(0x7FFF) + ((part >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
        nan = (part & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        if nan.any():
            rounded[nan] = (part[nan] >> np.uint32(16)) | np.uint32(0x40)
        out[start : start + _STEP] = rounded
    return out.reshape(np.shape(values))


def float32_from_f8(bits: NDArray[np.uint8], dtype: str) -> NDArray[np.float32]:
    """float32 of the same shape from F8_E4M3 or F8_E5M2 bits, **without** the scale that belongs to them.

    E4M3 is the variant of the safetensors format and of the accelerators ("fn": no infinity, one NaN in each sign);
    E5M2 is IEEE-like. Format: Micikevicius et al. 2022, arXiv 2209.05433, table 1.
    """
    if dtype not in ("F8_E4M3", "F8_E5M2"):
        raise UnknownTypeError(f"{dtype} is no 8-bit float that can be read", hint="F8_E4M3 and F8_E5M2 can")
    return _f8_table(dtype)[bits]


@cache
def _f8_table(dtype: str) -> NDArray[np.float32]:
    mantissa_bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    code = np.arange(256)
    exponent = (code & 0x7F) >> mantissa_bits
    mantissa = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitude = np.where(exponent == 0, np.ldexp(mantissa, 1 - bias), np.ldexp(1 + mantissa, exponent - bias))
    if dtype == "F8_E4M3":
        magnitude[(code & 0x7F) == 0x7F] = np.nan
    else:
        magnitude[(code & 0x7F) == 0x7C] = np.inf
        magnitude[(code & 0x7F) > 0x7C] = np.nan
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32)
