"""What every container says of a tensor: name, dtype, shape. Holds no bytes.

Rows are the first dimension, as in PyTorch and NumPy; a 1-D tensor of n elements has n rows of one element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a container.

    `dtype` is the container's own spelling: "BF16", "F16", "F32", "F8_E4M3", "I64" … in safetensors, the GGML type's
    name ("Q4_K") in a GGUF. `shape` is in row-major (PyTorch) order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Length of the first dimension (1 for a scalar)."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        """Elements in one row."""
        return math.prod(self.shape[1:])

    @property
    def elements(self) -> int:
        """Elements in the whole tensor."""
        return math.prod(self.shape)
