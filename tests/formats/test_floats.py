"""Float conversions against numpy, and against tables written down from the formats' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conch_ollama.errors import UnknownTypeError
from conch_ollama.formats.floats import bf16_from_float32, float32_from_bf16, float32_from_f8, to_float32


def test_every_bf16_is_the_upper_half_of_a_float32() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    assert np.array_equal(float32_from_bf16(bits).view(np.uint32), bits.astype(np.uint32) << 16)
    assert np.array_equal(to_float32(bits.view(np.uint8), "BF16").view(np.uint32), bits.astype(np.uint32) << 16)


def test_every_bf16_survives_the_way_there_and_back() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = float32_from_bf16(bits)
    back = bf16_from_float32(values)
    numbers = ~np.isnan(values)
    assert np.array_equal(back[numbers], bits[numbers])
    assert np.isnan(float32_from_bf16(back[~numbers])).all()


@given(arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32, allow_nan=False)))
def test_bf16_is_the_nearest_one_ties_to_even(values: np.ndarray) -> None:
    rounded = bf16_from_float32(values)
    below = values.view(np.uint32) >> 16
    # In exact arithmetic (float64) on the two neighbours in magnitude; beyond the largest comes infinity.
    low, high = float32_from_bf16(below.astype(np.uint16)), float32_from_bf16((below + 1).astype(np.uint16))
    for value, bits, lower, upper, truncated in zip(values, rounded, low, high, below, strict=True):
        if np.isinf(value):
            assert bits == truncated
            continue
        step = np.float64(upper) - np.float64(lower) if np.isfinite(upper) else np.copysign(2.0**120, np.float64(lower))
        distance = (np.float64(value) - np.float64(lower)) / step
        up = distance > 0.5 or (distance == 0.5 and truncated & 1 == 1)
        assert bits == truncated + up


def test_nan_stays_nan_with_its_sign() -> None:
    bits = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], dtype=np.uint32)
    assert bf16_from_float32(bits.view(np.float32)).tolist() == [0x7FC0, 0xFFC0, 0x7FFF, 0xFFFF]


def test_rounding_is_blockwise_without_seams() -> None:
    values = np.random.default_rng(0).standard_normal(200_001).astype(np.float32)
    whole = bf16_from_float32(values)
    assert np.array_equal(whole, np.concatenate([bf16_from_float32(part) for part in np.array_split(values, 7)]))
    assert np.array_equal(whole.reshape(3, -1), bf16_from_float32(values.reshape(3, -1)))
    assert np.abs(float32_from_bf16(whole) - values).max() <= np.abs(values).max() * 2**-8


@pytest.mark.parametrize(("dtype", "kind"), [("F16", np.float16), ("F32", np.float32), ("F64", np.float64)])
def test_other_floats_as_numpy_reads_them(dtype: str, kind: type[np.generic]) -> None:
    values = np.array([0, -1.5, 65504, 1e-7, np.inf, np.nan], dtype=kind)
    read = to_float32(values.view(np.uint8), dtype)
    assert np.array_equal(read, values.astype(np.float32), equal_nan=True)
    assert np.array_equal(to_float32(values.tobytes(), dtype), read, equal_nan=True)
    assert read.flags.writeable


def test_a_double_beyond_float32_becomes_infinite_without_a_warning() -> None:
    assert to_float32(np.array([1e300, -1e300]).view(np.uint8), "F64").tolist() == [np.inf, -np.inf]


def test_f8_e4m3_by_its_definition() -> None:
    # Micikevicius et al. 2022, table 1: largest 448, smallest normal 2^-6, smallest subnormal 2^-9, NaN only S.1111.111
    bits = np.array([0x00, 0x01, 0x07, 0x08, 0x38, 0x3C, 0x7E, 0x80, 0xB8, 0xFE], dtype=np.uint8)
    assert float32_from_f8(bits, "F8_E4M3").tolist() == [0, 2**-9, 7 * 2**-9, 2**-6, 1, 1.5, 448, 0, -1, -448]
    assert np.isnan(float32_from_f8(np.array([0x7F, 0xFF], dtype=np.uint8), "F8_E4M3")).all()
    assert np.isfinite(float32_from_f8(np.arange(0x7F, dtype=np.uint8), "F8_E4M3")).all()


def test_f8_e5m2_is_the_upper_half_of_a_float16() -> None:
    bits = np.arange(256, dtype=np.uint8)
    as_half = (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    assert np.array_equal(float32_from_f8(bits, "F8_E5M2"), as_half, equal_nan=True)


@pytest.mark.parametrize("dtype", ["I64", "F8_E4M3", "BOOL", "nonsense"])
@pytest.mark.bad_input("integers, or 8-bit floats without scales, taken for weights")
def test_what_is_no_weight_is_refused(dtype: str) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        to_float32(bytes(8), dtype)
    assert caught.value.code == "unknown-type"
    assert dtype in caught.value.message
    with pytest.raises(UnknownTypeError, match="F8_E8M0"):
        float32_from_f8(np.zeros(1, np.uint8), "F8_E8M0")
