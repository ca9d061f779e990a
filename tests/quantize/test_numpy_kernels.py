"""numpy's kernels against ggml's, bit for bit, and against the gguf package's, which are independent of both."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from conch_ollama.errors import NoKernelError, NonFiniteError
from conch_ollama.quantize.ggml import GgmlKernel, load_ggml
from conch_ollama.quantize.numpy_kernels import NumpyKernel, f16
from conch_ollama.quantize.types import GGML
from tests.quantize.rows import ALL_ROWS

NUMPY = NumpyKernel()
TYPES = ["F32", "F16", "BF16", "Q8_0"]


@pytest.fixture(scope="module")
def ggml() -> GgmlKernel:
    kernel = load_ggml()
    assert kernel is not None
    return kernel


@pytest.mark.parametrize("rows", ALL_ROWS.values(), ids=ALL_ROWS)
@pytest.mark.parametrize("type", TYPES)
def test_bit_equal_to_ggml(type: str, rows: NDArray[np.float32], ggml: GgmlKernel) -> None:
    made, wanted = NUMPY.quantize(rows, GGML[type]), ggml.quantize(rows, GGML[type])
    assert made.shape == wanted.shape
    assert made.dtype == wanted.dtype == np.uint8
    assert np.array_equal(made, wanted), f"rows {np.flatnonzero((made != wanted).any(axis=1))} differ"


@settings(max_examples=300, deadline=None)
@given(
    rows=arrays(np.float32, (1, 32), elements=st.floats(-60000, 60000, width=32, allow_subnormal=True)),
    type=st.sampled_from(TYPES),
)
def test_bit_equal_to_ggml_for_any_numbers(rows: NDArray[np.float32], type: str, ggml: GgmlKernel) -> None:
    assert np.array_equal(NUMPY.quantize(rows, GGML[type]), ggml.quantize(rows, GGML[type]))


@pytest.mark.parametrize("type", TYPES)
def test_bit_equal_to_the_gguf_package(type: str) -> None:
    rows = ALL_ROWS["random"]
    wanted = gguf.quantize(rows, gguf.GGMLQuantizationType[type]).view(np.uint8)
    assert np.array_equal(NUMPY.quantize(rows, GGML[type]), wanted)


def test_more_blocks_than_one_step(ggml: GgmlKernel) -> None:
    rows = np.tile(ALL_ROWS["random"], (1, 33))
    assert np.array_equal(NUMPY.quantize(rows, GGML["Q8_0"]), ggml.quantize(rows, GGML["Q8_0"]))


def test_every_half_precision_number_comes_back() -> None:
    halves = np.arange(2**16, dtype=np.uint16)
    finite = halves[(halves & 0x7C00) != 0x7C00]
    rows = finite.view(np.float16).astype(np.float32)[None]
    assert np.array_equal(NUMPY.quantize(rows, GGML["F16"]).view(np.uint16)[0], finite)


def test_every_not_a_number_becomes_the_quiet_one() -> None:
    """As ggml_compute_fp32_to_fp16; kernels refuse them, but a converter must not make an infinity of one."""
    nans = np.array([0x7F800001, 0x7FC00000, 0xFFC00123, 0xFF800001], dtype=np.uint32).view(np.float32)
    assert f16(nans).view(np.uint16).tolist() == [0x7E00, 0x7E00, 0xFE00, 0xFE00]


@pytest.mark.parametrize("value", [65504, -65504, 65519.996])
def test_the_largest_that_half_precision_holds(value: float) -> None:
    made = NUMPY.quantize(np.full((1, 32), value, dtype=np.float32), GGML["F16"]).view(np.float16)
    assert set(np.abs(made[0])) == {np.float16(65504)}


@pytest.mark.bad_input("a type that only a binding quantises to, asked of numpy")
def test_a_type_without_a_numpy_kernel() -> None:
    with pytest.raises(NoKernelError) as caught:
        NUMPY.quantize(np.zeros((1, 256), dtype=np.float32), GGML["Q4_K"])
    assert caught.value.code == "no-kernel"
    assert "Q4_K" in caught.value.message


@pytest.mark.bad_input("finite weights that the type can't hold")
@pytest.mark.parametrize(("type", "value"), [("F16", 65520), ("BF16", 3.4e38), ("Q8_0", -1e9)])
def test_weights_too_large_for_the_type(type: str, value: float, ggml: GgmlKernel) -> None:
    rows = np.zeros((3, 64), dtype=np.float32)
    rows[2, 40] = value
    for kernel in (NUMPY, ggml):
        with pytest.raises(NonFiniteError) as caught:
            kernel.quantize(rows, GGML[type], tensor="blk.0.ffn_up.weight", first_row=100)
        assert caught.value.code == "non-finite"
        assert f"blk.0.ffn_up.weight: row 102, column 40 is {value:g}, too large for {type}" in caught.value.message
