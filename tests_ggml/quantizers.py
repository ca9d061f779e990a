"""The two quantisers that are compared: llama.cpp's own, and conch's recipes and kernels, on one and the same ggml."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.metadata import Metadata
from conch_ollama.quantize.kernels import kernel_for
from conch_ollama.quantize.recipes import FILE_TYPES, choose_types


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, data: object) -> None:
    """llama.cpp tells a line for every tensor."""


llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))


def llama_cpp_quantize(source: Path, target: Path, recipe: str, *, requantize: bool = False) -> None:
    """`llama_model_quantize` with default parameters and two threads."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[recipe]
    parameters.nthread = 2
    parameters.allow_requantize = requantize
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    assert not failed, f"llama.cpp could not quantise {source} to {recipe}"


def conch_quantize(
    tensors: Mapping[str, NDArray[np.float32]], recipe: str, keys: Metadata
) -> dict[str, tuple[int, bytes]]:
    """Every tensor's type and bytes, by conch, block by block of 100 rows as an export would."""
    choices = choose_types(recipe, [(name, data.shape) for name, data in tensors.items()], metadata=keys)
    made: dict[str, tuple[int, bytes]] = {}
    for choice in choices:
        kernel = kernel_for(choice.type)
        data = tensors[choice.name]
        rows = data.reshape(-1, data.shape[-1])
        blocks = [
            kernel.quantize(rows[start : start + 100], choice.type, tensor=choice.name, first_row=start).tobytes()
            for start in range(0, len(rows), 100)
        ]
        made[choice.name] = (choice.type, b"".join(blocks))
    return made
