"""8-bit float weights of a Hugging Face folder together with their scales: finds the scales, applies them to rows.

Handled: one scale for the tensor or one a row (compressed-tensors, FBGEMM, ModelOpt: `weight_scale`), one a block
(DeepSeek and Qwen FP8: `weight_scale_inv`, compressed-tensors). All of them multiply. Anything else is refused: without
its scale such a weight is misread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import QuantizedBaseError, ShapeError
from conch_ollama.formats.floats import float32_from_f8
from conch_ollama.formats.tensors import TensorInfo

FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})
_SCALES = ("_scale_inv", "_scale")
#: Scales of activations and of the key-value cache: they belong to a runtime in 8 bits, the weights are whole without.
_RUNTIME_ONLY = ("input_scale", "input_scale_ub", "activation_scale", "output_scale", "k_scale", "v_scale", "q_scale")
_WAY_OUT = "use the bf16 or f16 weights of the same model as the base"


@dataclass(frozen=True, slots=True)
class Scale:
    """Scales of one weight, ready to be multiplied: `values` has a row for every `rows` rows of the weight, and in it a
    column for every `columns` columns."""

    values: NDArray[np.float32]
    rows: int
    columns: int


def find_scales(
    tensors: Mapping[str, TensorInfo],
    read: Callable[[str], NDArray[np.float32]],
    config: Mapping[str, Any],
    where: str,
) -> tuple[dict[str, Scale], set[str]]:
    """Scales by the name of the weight, and the names of the tensors that are no weights of the model.

    `read` gives a whole tensor. Raises `QuantizedBaseError` for a weight without scales, `ShapeError` for scales that
    do not cover their weight.
    """
    scales: dict[str, Scale] = {}
    consumed: set[str] = set()
    block = _block(config)
    for name, info in tensors.items():
        if info.dtype not in FLOAT8:
            continue
        scale_name = next((name + ending for ending in _SCALES if name + ending in tensors), None)
        if scale_name is None:
            raise QuantizedBaseError(f"tensor {name} in {where} is {info.dtype} and has no scale", hint=_WAY_OUT)
        scales[name] = _scale(info, read(scale_name), scale_name, block, where)
        consumed.add(scale_name)
    if scales:
        consumed |= {name for name in tensors if name.endswith(_RUNTIME_ONLY)}
    return scales, consumed


def scaled_rows(raw: NDArray[np.uint8], info: TensorInfo, start: int, stop: int, scale: Scale) -> NDArray[np.float32]:
    """Rows `start` to `stop` of an 8-bit weight as float32, from their bytes."""
    values = float32_from_f8(raw, info.dtype).reshape(stop - start, info.columns)
    factors = scale.values[np.arange(start, stop) // scale.rows]
    values *= factors if scale.columns >= info.columns else np.repeat(factors, scale.columns, axis=1)[:, : info.columns]
    return values


def _block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of a block that has one scale, from `quantization_config`."""
    quantization = config.get("quantization_config")
    if not isinstance(quantization, Mapping):
        return None
    found = [quantization.get("weight_block_size")]
    groups = quantization.get("config_groups")  # compressed-tensors
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        found.append(weights.get("block_structure") if isinstance(weights, Mapping) else None)
    blocks = {
        (size[0], size[1])
        for size in found
        if isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    }
    return blocks.pop() if len(blocks) == 1 else None


def _scale(
    info: TensorInfo, values: NDArray[np.float32], name: str, block: tuple[int, int] | None, where: str
) -> Scale:
    if len(info.shape) == 2:
        rows, columns = info.shape
        if values.size == 1:
            return Scale(values.reshape(1, 1), rows, columns)
        if values.shape in ((rows,), (rows, 1)):
            return Scale(values.reshape(rows, 1), 1, columns)
        if block is not None and values.shape == (-(-rows // block[0]), -(-columns // block[1])):
            return Scale(values, *block)
    raise ShapeError(
        f"{name} in {where}, of shape {list(values.shape)}, does not cover {info.name}, of shape {list(info.shape)}",
        hint=_WAY_OUT,
    )
