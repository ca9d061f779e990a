"""Writes GGUF version 3 as a stream: header first, then tensor data in order, hashed on the way.

Format: ggml/docs/gguf.md; padding as llama.cpp writes it, after every tensor, the last one too. Quantises nothing.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import ShapeError, TensorError, UnknownTypeError, UsageError
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_metadata import SCALARS
from conch_ollama.formats.metadata import Metadata, Value, ValueType
from conch_ollama.formats.streamed_file import StreamedFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What a value is in Python where it is no int.
_PLAIN = {ValueType.FLOAT32: float, ValueType.FLOAT64: float, ValueType.BOOL: bool}
_LENGTH = struct.Struct("<Q")
#: GGML_MAX_NAME less the ending zero: longer names can't be loaded.
_MAX_NAME = 63
_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class GGUFTensorSpec:
    """A tensor to be written: its name, GGML type number, and shape in row-major order."""

    name: str
    type: int
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its data, without padding."""
        block = GGML_TYPES[self.type]
        return math.prod(self.shape) // block.elements * block.bytes


class GGUFWriter(StreamedFile):
    """Writes one GGUF. To be used as a context manager.

    `size` is the size of the whole file in bytes, known before anything is written. Raises `NoSpaceError`,
    `NotWritableError`, and `ShapeError` when the bytes that come are not those that were announced.
    """

    def __init__(self, path: Path, metadata: Metadata, tensors: Sequence[GGUFTensorSpec]) -> None:
        self.tensors = tuple(tensors)
        self.alignment = _alignment(metadata)
        super().__init__(path, encode_header(metadata, self.tensors, self.alignment))
        self._current = 0
        self._left = self.tensors[0].nbytes if self.tensors else 0

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self._header) + sum(_padded(tensor.nbytes, self.alignment) for tensor in self.tensors)

    def write(self, block: NDArray[np.uint8] | bytes) -> None:
        """Append data of the current tensor; when it is complete the next one begins. A block belongs to one tensor."""
        count = len(block) if isinstance(block, bytes) else block.nbytes
        while self._current < len(self.tensors) and self._left == 0:
            self._next()  # a tensor without elements
        if count > self._left:
            name = self.tensors[self._current].name if self._current < len(self.tensors) else "none"
            raise ShapeError(f"{self.path}: {count} bytes came for tensor {name}, which lacks {self._left}")
        self._file.write(block)
        self._left -= count
        if self._left == 0:
            self._next()

    def _check_complete(self) -> None:
        while self._current < len(self.tensors) and self._left == 0:
            self._next()
        if self._current < len(self.tensors):
            name = self.tensors[self._current].name
            raise ShapeError(f"{self.path} is not complete: tensor {name} lacks {self._left} bytes")

    def _next(self) -> None:
        if self._current == len(self.tensors):
            return
        done = self.tensors[self._current].nbytes
        self._file.write(bytes(_padded(done, self.alignment) - done))
        self._current += 1
        self._left = self.tensors[self._current].nbytes if self._current < len(self.tensors) else 0


def encode_header(metadata: Metadata, tensors: Sequence[GGUFTensorSpec], alignment: int) -> bytes:
    """Everything before the tensor data, padded to `alignment` bytes."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata)), encode_metadata(metadata)]
    offset = 0
    seen: set[str] = set()
    for tensor in tensors:
        _check(tensor, seen)
        parts.append(_text(tensor.name))
        count = len(tensor.shape)
        parts.append(struct.pack(f"<I{count}QIQ", count, *reversed(tensor.shape), tensor.type, offset))
        offset += _padded(tensor.nbytes, alignment)
    header = b"".join(parts)
    return header + bytes(_padded(len(header), alignment) - len(header))


def encode_metadata(metadata: Metadata) -> bytes:
    """The metadata section: every key with its value, in the order of the mapping.

    Raises `UsageError` that names the key of a value that does not fit its type.
    """
    return b"".join(_text(key) + _encode_value(key, value) for key, value in metadata.items())


def _encode_value(key: str, value: Value) -> bytes:
    try:
        kind = struct.pack("<I", value.type)
        if value.type is ValueType.STRING:
            return kind + _text(value.data)
        if value.type is not ValueType.ARRAY:
            return kind + _numbers(value.type, [value.data])
        if value.items is None or value.items is ValueType.ARRAY:
            raise UsageError(f"{key}: an array must say of which scalar type its elements are")
        body = _texts(value.data) if value.items is ValueType.STRING else _numbers(value.items, value.data)
        return kind + struct.pack("<IQ", value.items, len(value.data)) + body
    except (ValueError, OverflowError, TypeError, AttributeError, struct.error) as err:
        raise UsageError(f"{key}: the value does not fit its type {value.type.name}: {err}") from err


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return _LENGTH.pack(len(raw)) + raw


def _texts(texts: Sequence[str]) -> bytes:
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for text in texts:
        raw = text.encode("utf-8")
        parts += (pack(len(raw)), raw)
    return b"".join(parts)


def _numbers(kind: ValueType, values: Sequence[Any]) -> bytes:
    plain = _PLAIN.get(kind, int)
    if isinstance(values, list | tuple) and all(type(value) is plain for value in values):
        # Without numpy, which takes longer to import than a small file to write; too large a float is its to round.
        with contextlib.suppress(OverflowError):
            return struct.pack(f"<{len(values)}{SCALARS[kind]}", *values)
    return _from_array(kind, values)


def _from_array(kind: ValueType, values: Sequence[Any]) -> bytes:
    import numpy as np

    if kind is ValueType.BOOL:
        return np.asarray(values, dtype=np.bool_).tobytes()
    whole = kind not in (ValueType.FLOAT32, ValueType.FLOAT64)
    given = np.asarray(values)
    if whole and given.size and given.dtype.kind not in "iu":
        # Floats would be cut silently; numbers of 64 bits with and without sign together become objects or floats.
        if not all(isinstance(value, int) for value in values):
            raise ValueError("a whole number is needed")
        given = np.array(values, dtype=object)
    return _fitting(given, f"<{SCALARS[kind]}", whole).tobytes()


def _fitting(given: NDArray[Any], dtype: str, whole: bool) -> NDArray[Any]:
    import numpy as np

    if given.ndim != 1:
        raise ValueError("a flat sequence is needed")
    if whole and given.size:
        limits = np.iinfo(dtype)
        if int(given.min()) < limits.min or int(given.max()) > limits.max:
            raise ValueError(f"{limits.min} to {limits.max} is the range")
    return given.astype(dtype)


def _check(tensor: GGUFTensorSpec, seen: set[str]) -> None:
    if tensor.name in seen:
        raise TensorError(f"tensor {tensor.name} is to be written twice")
    seen.add(tensor.name)
    if len(tensor.name.encode("utf-8")) > _MAX_NAME:
        raise TensorError(f"tensor name {tensor.name} is longer than the {_MAX_NAME} bytes that ggml takes")
    if len(tensor.shape) > _MAX_DIMENSIONS:
        raise ShapeError(f"tensor {tensor.name} has {len(tensor.shape)} dimensions; ggml takes {_MAX_DIMENSIONS}")
    if tensor.type not in GGML_TYPES:
        raise UnknownTypeError(f"tensor {tensor.name}: there is no GGML type {tensor.type}")
    block = GGML_TYPES[tensor.type]
    if (tensor.shape[-1] if tensor.shape else 1) % block.elements:
        raise ShapeError(f"tensor {tensor.name}: rows of {tensor.shape[-1]} are no whole {block.name} blocks")


def _alignment(metadata: Metadata) -> int:
    value = metadata.get("general.alignment")
    if value is None:
        return 32
    alignment = int(value.data)
    if value.type is not ValueType.UINT32 or alignment < 8 or alignment & (alignment - 1):
        raise UsageError(f"general.alignment is {value.data}; it must be a power of two from 8 on")
    return alignment


def _padded(count: int, alignment: int) -> int:
    return -(-count // alignment) * alignment
