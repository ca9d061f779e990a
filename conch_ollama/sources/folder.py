"""A base model in a Hugging Face folder, as a weight source: config.json with safetensors or, through torch, `.bin`.

Does not read the tokenizer. Quantised models are refused, 8-bit floats are converted by their scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import MissingTensorError, NotFoundError, ShapeError, UsageError
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.checkpoint import Checkpoint
from conch_ollama.sources.float8 import find_scales, scaled_rows
from conch_ollama.sources.json_file import read_json_object
from conch_ollama.sources.quantized_base import quant_method, quantized_error, refuse_quantized


class HuggingFaceFolder:
    """Implements `WeightSource` on a folder with `config.json` and weights.

    Raises `NotFoundError`, `BadConfigError`, `BadSafetensorsError`, `TruncatedFileError`, `UnsafePickleError`,
    `QuantizedBaseError`, `UsageError` for an adapter's folder, and what `Checkpoint` raises.
    """

    def __init__(self, path: Path, description: str | None = None) -> None:
        self.folder = path
        self._description = description or str(path)
        config = read_base_config(path)
        refuse_quantized(config, self._description)
        self._config = MappingProxyType({key: value for key, value in config.items() if key != "quantization_config"})
        self._checkpoint = Checkpoint(path)
        try:
            tensors = self._checkpoint.tensors
            self._scales, consumed = find_scales(tensors, self._read_whole, config, self._description)
            self._tensors = {
                # What is read of an 8-bit weight is float32: the weight times its scale.
                name: replace(info, dtype="F32") if name in self._scales else info
                for name, info in tensors.items()
                if name not in consumed
            }
            self._refuse_packed(config)
        except BaseException:
            self._checkpoint.close()
            raise

    @property
    def description(self) -> str:
        return self._description

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return MappingProxyType(self._tensors)

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop` as float32: (stop - start, columns), or (stop - start,) if the tensor is 1-D."""
        info = self._tensors.get(name)
        if info is None:
            raise MissingTensorError(f"{self._description} has no tensor {name}")
        if not 0 <= start <= stop <= info.rows:
            raise ShapeError(f"tensor {name} in {self._description} has {info.rows} rows, not {start} to {stop}")
        file = self._checkpoint.files[name]
        if name in self._scales:
            stored = file.tensors[name]
            return scaled_rows(file.read_raw(name, start, stop), stored, start, stop, self._scales[name])
        rows = file.read(name, start, stop)
        return rows.reshape(stop - start, info.columns) if len(info.shape) > 1 else rows.reshape(stop - start)

    def read_stored(self, name: str, start: int, stop: int) -> None:
        """None: what a folder holds are floats."""

    def close(self) -> None:
        """Close the files."""
        self._checkpoint.close()

    def _read_whole(self, name: str) -> NDArray[np.float32]:
        return self._checkpoint.files[name].read(name)

    def _refuse_packed(self, config: Mapping[str, Any]) -> None:
        """A quantisation of 8-bit floats must not have brought anything but those."""
        method = quant_method(config)
        if method is None:
            return
        packed = [name for name, info in self._tensors.items() if info.dtype not in ("F64", "F32", "F16", "BF16")]
        zero_points = [name for name in self._tensors if name.endswith("zero_point")]
        if packed or zero_points or not self._scales:
            raise quantized_error(self._description, method, config)


def read_base_config(folder: Path) -> dict[str, Any]:
    """config.json of a base model's folder; says what the folder is instead if it is none."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder", hint="give the folder that holds config.json and the weights")
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UsageError(
                f"{folder} holds an adapter, not a base model",
                hint=f"give the base model first, then the adapter: BASE --adapter {folder}",
            )
        if (folder / "snapshots").is_dir():
            raise NotFoundError(f"{folder} is a hub cache, not a model's folder", hint=f"see {folder / 'snapshots'}")
        raise NotFoundError(
            f"{folder} has no config.json",
            hint="give the folder that save_pretrained or `llamafactory-cli export` wrote",
        )
    return read_json_object(folder / "config.json")
