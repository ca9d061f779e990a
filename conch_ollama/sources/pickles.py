"""`.bin` checkpoints, which are pickles: read only through torch's `weights_only` loader, where torch is installed.

Never unpickles anything itself: a pickle can run any code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import BadFileError, MissingTensorError, UnknownTypeError, UnsafePickleError
from conch_ollama.formats.tensors import TensorInfo

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
_WAY_OUT = (
    "use a copy of the model with .safetensors files, or install torch (pip install 'conch-ollama[torch]'), "
    "whose weights_only loader can read it safely"
)


class TorchPickle:
    """An open `.bin` file, seen as a `SafetensorsFile` is: `.tensors`, `.read`, `.close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = _load(path)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {name: _info(path, name, tensor) for name, tensor in self._state.items()}
        )

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows `start` to `stop` as float32, in a fresh array of the tensor's shape but for the first dimension."""
        if name not in self._state:
            raise MissingTensorError(f"{self.path} has no tensor {name}")
        rows = self._state[name][start:stop]
        found: NDArray[np.float32] = rows.float().contiguous().numpy()
        return found.copy()

    def read_raw(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Not to be had: 8-bit floats, which would need it, are refused at opening."""
        raise UnknownTypeError(f"tensor {name} in {self.path}: raw bytes can't be read from a pickle")

    def close(self) -> None:
        """Let go of the tensors, and with them of the file."""
        self._state = {}


def _load(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as err:
        raise UnsafePickleError(f"{path} is a pickle, which could run any code when it is read", hint=_WAY_OUT) from err
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as err:
        raise UnsafePickleError(
            f"{path} holds more than weights: torch's weights_only loader refuses it",
            hint="do not load it; use a copy of the model with .safetensors files",
        ) from err
    except (RuntimeError, OSError, EOFError, ValueError) as err:
        raise BadFileError(f"{path} can't be read by torch: {err}", hint="fetch the file again") from err
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadFileError(
            f"{path} holds no table of tensors", hint="it must be a state dict, as save_pretrained writes"
        )
    return state


def _info(path: Path, name: str, tensor: Any) -> TensorInfo:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind.startswith("float8"):
        raise UnknownTypeError(f"tensor {name} in {path} has elements of type {kind}", hint="use .safetensors files")
    return TensorInfo(name, _DTYPES.get(kind, kind.upper()), tuple(tensor.shape))
