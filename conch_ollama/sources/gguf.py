"""A GGUF as a weight source: its tensors under their Hugging Face names and in Hugging Face's row order.

Which name and which order is for the architecture to say; the caller hands both in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import MissingTensorError, ShapeError
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.tensors import TensorInfo

Element = TypeVar("Element", np.float32, np.uint8)


class GGUFSource:
    """Implements `WeightSource` on an open GGUF, which stays the caller's but for `close`.

    `names`: for each Hugging Face name the GGUF's name and, where rows are in another order, for each Hugging Face row
    the index of its row in the GGUF. Raises `MissingTensorError` and `ShapeError` where they do not fit the file.
    """

    def __init__(
        self,
        file: GGUFFile,
        config: Mapping[str, Any],
        names: Mapping[str, tuple[str, NDArray[np.int64] | None]],
    ) -> None:
        self._file = file
        self._config = MappingProxyType(dict(config))
        self._names = dict(names)
        self._tensors: dict[str, TensorInfo] = {}
        for name, (stored, order) in names.items():
            info = file.tensors.get(stored)
            if info is None:
                raise MissingTensorError(f"{file.path} has no tensor {stored} (for {name})")
            if order is not None and len(order) != info.rows:
                raise ShapeError(f"tensor {stored} in {file.path} has {info.rows} rows, its order {len(order)}")
            self._tensors[name] = TensorInfo(name, info.dtype, info.shape)

    @property
    def description(self) -> str:
        return str(self._file.path)

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return MappingProxyType(self._tensors)

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop`, dequantised: (stop - start, columns), or (stop - start,) if the tensor is 1-D."""
        if name not in self._names:
            raise MissingTensorError(f"{self.description} has no tensor for {name}")
        info = self._tensors[name]
        if not 0 <= start <= stop <= info.rows:
            raise ShapeError(f"tensor {name} in {self.description} has {info.rows} rows, not {start} to {stop}")
        rows = self._in_order(name, start, stop, self._file.read_rows)
        return rows.reshape(stop - start, info.columns) if len(info.shape) > 1 else rows

    def read_stored(self, name: str, start: int, stop: int) -> NDArray[np.uint8] | None:
        """The blocks of rows `start` to `stop`, for a quantised tensor whose rows are whole blocks."""
        stored, _ = self._names[name]
        info = self._file.tensors[stored]
        block = GGML_TYPES[info.type]
        if block.elements == 1 or len(info.shape) < 2 or info.columns % block.elements:
            return None
        return self._in_order(name, start, stop, self._read_blocks)

    def _read_blocks(self, stored: str, start: int, stop: int) -> NDArray[np.uint8]:
        return self._file.read_raw(stored, start, stop).reshape(stop - start, -1)

    def _in_order(
        self, name: str, start: int, stop: int, read: Callable[[str, int, int], NDArray[Element]]
    ) -> NDArray[Element]:
        stored, order = self._names[name]
        if order is None or start == stop:
            return read(stored, start, stop)
        # Orders move rows within a head only, so that the span of a block is little more than the block.
        wanted = order[start:stop]
        first, last = int(wanted.min()), int(wanted.max()) + 1
        return read(stored, first, last)[wanted - first]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
