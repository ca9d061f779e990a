from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from conch_ollama.errors import NoKernelError, NonFiniteError, ShapeError
from conch_ollama.quantize import ggml, kernels
from conch_ollama.quantize.ggml import GgmlKernel
from conch_ollama.quantize.kernels import Kernel, available_kernels, kernel_for
from conch_ollama.quantize.numpy_kernels import NumpyKernel
from conch_ollama.quantize.types import GGML


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which no library of ggml can be found."""
    monkeypatch.setattr(ggml, "library_candidates", lambda: iter(()))
    kernels.available_kernels.cache_clear()
    yield
    kernels.available_kernels.cache_clear()


def _each() -> tuple[Kernel, ...]:
    found = available_kernels()
    assert len(found) == 2
    return found


def test_ggml_comes_before_numpy_for_every_type() -> None:
    for type in GGML.values():
        assert isinstance(kernel_for(type), GgmlKernel)
    names = [kernel.name for kernel in available_kernels()]
    assert re.fullmatch(r"ggml \d+\.\d+\.\d+ \(.+\.(so|dylib|dll)\)", names[0])
    assert names[1:] == ["numpy"]


@pytest.mark.usefixtures("without_library")
def test_numpy_takes_over_without_a_library() -> None:
    for type in ("F32", "F16", "BF16", "Q8_0"):
        assert isinstance(kernel_for(GGML[type]), NumpyKernel)


@pytest.mark.usefixtures("without_library")
@pytest.mark.bad_input("no library here quantises to the type")
@pytest.mark.parametrize("type", ["Q4_K", "Q4_0"])
def test_no_kernel(type: str) -> None:
    with pytest.raises(NoKernelError) as caught:
        kernel_for(GGML[type])
    assert caught.value.code == "no-kernel"
    assert type in caught.value.message
    assert "q8_0" in (caught.value.hint or "")


@pytest.mark.bad_input("weights that are NaN or infinite")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    rows = np.ones((4, 64), dtype=np.float32)
    rows[1, 63] = rows[3, 0] = value
    before = rows.copy()
    for kernel in _each():
        for type in ("F32", "F16", "BF16", "Q8_0"):
            with pytest.raises(NonFiniteError) as caught:
                kernel.quantize(rows, GGML[type], tensor="output.weight", first_row=1000)
            assert caught.value.code == "non-finite"
            assert caught.value.message == f"output.weight: row 1001, column 63 is {value}"
    assert np.array_equal(rows, before, equal_nan=True)


@pytest.mark.bad_input("a tensor's columns that fill no whole blocks")
def test_columns_that_fill_no_whole_blocks() -> None:
    for kernel in _each():
        with pytest.raises(ShapeError) as caught:
            kernel.quantize(np.zeros((2, 48), dtype=np.float32), GGML["Q8_0"], tensor="blk.3.attn_q.weight")
        assert caught.value.code == "shape"
        assert "blk.3.attn_q.weight: 48 columns" in caught.value.message


@pytest.mark.bad_input("a block of rows that is not two-dimensional")
def test_rows_of_another_dimension() -> None:
    for kernel in _each():
        with pytest.raises(ShapeError) as caught:
            kernel.quantize(np.zeros(64, dtype=np.float32), GGML["F16"], tensor="output_norm.weight")
        assert "output_norm.weight" in caught.value.message
