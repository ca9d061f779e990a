"""The interface of all kernels, and which one quantises to a given type on this machine.

ggml's own where a library of it is found, else numpy for the types it has. A faster kernel only has to fit `Kernel`.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import NoKernelError
from conch_ollama.quantize.ggml import load_ggml
from conch_ollama.quantize.numpy_kernels import NumpyKernel
from conch_ollama.quantize.types import type_name


class Kernel(Protocol):
    """Float rows to blocks of some GGML types. Safe to call from several threads, which then run side by side."""

    @property
    def name(self) -> str:
        """What does the work, for `doctor` and provenance."""
        ...

    @property
    def types(self) -> frozenset[int]:
        """Numbers of the types it quantises to."""
        ...

    def quantize(
        self, rows: NDArray[np.float32], type: int, *, tensor: str = "the tensor", first_row: int = 0
    ) -> NDArray[np.uint8]:
        """Rows (n, columns) to blocks (n, row_bytes), a fresh array; 3-D tensors come as their rows.

        Raises `NonFiniteError` for weights that are NaN or infinite, or too large for the type, and `ShapeError` for
        columns that fill no whole blocks; `tensor` and `first_row` (the number of rows[0] in it) are for its message.
        """
        ...


@cache
def available_kernels() -> tuple[Kernel, ...]:
    """Every kernel that works here, the preferred first."""
    ggml = load_ggml()
    return (ggml, NumpyKernel()) if ggml is not None else (NumpyKernel(),)


def kernel_for(type: int) -> Kernel:
    """The kernel for one type; raises `NoKernelError` if this machine has none."""
    for kernel in available_kernels():
        if type in kernel.types:
            return kernel
    raise NoKernelError(
        f"nothing here quantises to {type_name(type)}",
        hint="install llama-cpp-python or Ollama, for their ggml library; f32, f16, bf16 and q8_0 need neither",
    )
