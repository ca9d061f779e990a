"""GGUF files, versions 2 and 3, little-endian: metadata, decoded when it is asked for, and rows of tensors.

Format: ggml/docs/gguf.md. Opening reads the header and steps over arrays, so that a vocabulary of 150,000 tokens costs
little. Blocks are dequantised by the `gguf` package. Knows nothing of architectures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from conch_ollama.errors import BadGGUFError, MissingTensorError, ShapeError, TruncatedFileError, UnknownTypeError
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_metadata import HeaderCursor, LazyMetadata, read_entry
from conch_ollama.formats.metadata import Metadata, ValueType
from conch_ollama.formats.positional import PositionalFile
from conch_ollama.formats.tensors import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AGAIN = "the file is damaged: fetch or write it again"
_DIRECT = {"F32", "F16", "BF16", "F64"}
_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class GGUFTensor(TensorInfo):
    """A tensor of a GGUF: `type` is its GGML number, `offset` its first byte counted from the start of the file."""

    type: int
    offset: int
    nbytes: int


class GGUFFile:
    """An open GGUF. Reading is safe from several threads.

    Raises `NotFoundError`, `TruncatedFileError` and `BadGGUFError` at opening; `BadGGUFError` also when an array with a
    text that is no UTF-8 is decoded later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PositionalFile(path)
        try:
            cursor = HeaderCursor(self._file)
            self.version, tensor_count, entry_count = _read_preamble(cursor)
            self.metadata: Metadata = _read_metadata(cursor, entry_count)
            self.alignment = _alignment(path, self.metadata)
            infos = [_read_tensor_info(cursor) for _ in range(tensor_count)]
            self.data_offset = -(-cursor.offset // self.alignment) * self.alignment
            self.tensors: Mapping[str, GGUFTensor] = MappingProxyType(self._place(infos))
        except BaseException:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def read_rows(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows `start` to `stop`, dequantised to float32, fresh, in the tensor's shape but for the first dimension.

        `UnknownTypeError` for a type that the `gguf` package can't dequantise, and for integers.
        """
        info = self._info(name)
        start, stop = self._range(info, start, stop)
        if len(info.shape) < 2 and info.type != 0:
            # Blocks span the rows of one element: take the whole, it is small.
            return self._floats(info, self._file.read(info.offset, info.nbytes, what=f"tensor {name}"))[
                start:stop
            ].copy()
        return self._floats(info, self.read_raw(name, start, stop)).reshape(stop - start, *info.shape[1:])

    def read_raw(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Bytes of rows `start` to `stop`, as they are in the file, flat, in a fresh array.

        Of a quantised tensor with one dimension only the whole can be had.
        """
        info = self._info(name)
        start, stop = self._range(info, start, stop)
        block = GGML_TYPES[info.type]
        if info.columns % block.elements and (start, stop) != (0, info.rows):
            raise ShapeError(f"tensor {name} in {self.path}: rows {start} to {stop} are no whole {block.name} blocks")
        first, last = (info.columns * row // block.elements * block.bytes for row in (start, stop))
        return self._file.read(info.offset + first, last - first, what=f"tensor {name}")

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _info(self, name: str) -> GGUFTensor:
        try:
            return self.tensors[name]
        except KeyError as err:
            raise MissingTensorError(f"{self.path} has no tensor {name}") from err

    def _range(self, info: GGUFTensor, start: int, stop: int | None) -> tuple[int, int]:
        stop = info.rows if stop is None else stop
        if not 0 <= start <= stop <= info.rows:
            raise ShapeError(f"tensor {info.name} in {self.path} has {info.rows} rows, not {start} to {stop}")
        return start, stop

    def _floats(self, info: GGUFTensor, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flat float32 values of whole blocks."""
        import numpy as np

        from conch_ollama.formats.floats import to_float32

        if info.dtype in _DIRECT:
            return to_float32(raw, info.dtype)
        if raw.size == 0:
            return np.empty(0, dtype=np.float32)  # the package can't shape nothing
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        try:
            values = dequantize(raw.reshape(-1, GGML_TYPES[info.type].bytes), GGMLQuantizationType(info.type))
        except (NotImplementedError, ValueError) as err:
            raise UnknownTypeError(
                f"tensor {info.name} in {self.path} is {info.dtype}, which can't be dequantised here",
                hint="use an f16, bf16 or q8_0 file of the same model",
            ) from err
        return np.ascontiguousarray(values, dtype=np.float32).reshape(-1)

    def _place(self, infos: list[tuple[TensorInfo, int, int]]) -> dict[str, GGUFTensor]:
        """Tensors by name, with their places checked against the file and against one another."""
        tensors: dict[str, GGUFTensor] = {}
        for info, number, relative in infos:
            block = GGML_TYPES[number]
            if info.name in tensors:
                raise BadGGUFError(f"{self.path} has two tensors named {info.name}", hint=_AGAIN)
            if (info.shape[-1] if info.shape else 1) % block.elements:
                raise BadGGUFError(
                    f"tensor {info.name} in {self.path}: rows of {info.shape[-1]} are no whole {block.name} blocks",
                    hint=_AGAIN,
                )
            if relative % self.alignment:
                raise BadGGUFError(f"tensor {info.name} in {self.path} is not aligned: byte {relative}", hint=_AGAIN)
            nbytes = info.elements // block.elements * block.bytes
            offset = self.data_offset + relative
            if offset + nbytes > self._file.size:
                raise TruncatedFileError(
                    f"{self.path} is cut short: tensor {info.name} goes up to byte {offset + nbytes}, the file ends at "
                    f"{self._file.size}",
                    hint="the download or copy did not finish: fetch the file again",
                )
            tensors[info.name] = GGUFTensor(info.name, info.dtype, info.shape, number, offset, nbytes)
        end, before = 0, ""
        for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.nbytes)):
            if tensor.offset < end:
                raise BadGGUFError(f"tensors {before} and {tensor.name} in {self.path} overlap", hint=_AGAIN)
            end, before = tensor.offset + tensor.nbytes, tensor.name
        return tensors


def _read_preamble(cursor: HeaderCursor) -> tuple[int, int, int]:
    """Version, number of tensors, number of metadata entries."""
    path = cursor.path
    if cursor.take(4) != b"GGUF":
        raise BadGGUFError(f"{path} is no GGUF: it does not begin with GGUF", hint="is it another kind of file?")
    (version,) = cursor.unpack("<I")
    if version & 0xFFFF == 0 and version:
        raise BadGGUFError(
            f"{path} is a big-endian GGUF", hint="convert it with gguf-convert-endian of the gguf package"
        )
    if version not in (2, 3):
        raise BadGGUFError(f"{path} is a GGUF of version {version}; 2 and 3 can be read", hint="convert the model anew")
    tensors, entries = cursor.unpack("<QQ")
    # An entry takes at least 13 bytes, a tensor at least 24: more than the file could hold is nonsense, not patience.
    if tensors * 24 + entries * 13 > cursor.size:
        raise BadGGUFError(
            f"{path} says it has {tensors} tensors and {entries} entries, more than fit in it", hint=_AGAIN
        )
    return version, tensors, entries


def _read_metadata(cursor: HeaderCursor, count: int) -> LazyMetadata:
    entries: dict[str, Any] = {}
    for _ in range(count):
        key, entry = read_entry(cursor)
        if key in entries:
            raise BadGGUFError(f"{cursor.path} has two metadata entries {key}", hint=_AGAIN)
        entries[key] = entry
    return LazyMetadata(cursor.file, entries)


def _alignment(path: Path, metadata: Metadata) -> int:
    value = metadata.get("general.alignment")
    if value is None:
        return 32
    alignment = value.data
    if value.type is not ValueType.UINT32 or alignment < 1 or alignment & (alignment - 1):
        raise BadGGUFError(f"general.alignment in {path} is {alignment}, no power of two", hint=_AGAIN)
    return int(alignment)


def _read_tensor_info(cursor: HeaderCursor) -> tuple[TensorInfo, int, int]:
    """Name, type and shape; the type's number; the offset in the data section."""
    name = cursor.text("a tensor's name")
    (dimensions,) = cursor.unpack("<I")
    if dimensions > _MAX_DIMENSIONS:
        raise BadGGUFError(f"tensor {name} in {cursor.path} has {dimensions} dimensions; 4 is the most", hint=_AGAIN)
    shape = tuple(reversed(cursor.unpack(f"<{dimensions}Q")))  # the file has the fastest dimension first
    number, offset = cursor.unpack("<IQ")
    if number not in GGML_TYPES:
        raise BadGGUFError(
            f"tensor {name} in {cursor.path} has type number {number}, which is not known",
            hint="the file may come from a newer or a forked llama.cpp",
        )
    if math.prod(shape) > 1 << 62:
        raise BadGGUFError(f"tensor {name} in {cursor.path} has an absurd shape {list(shape)}", hint=_AGAIN)
    return TensorInfo(name, GGML_TYPES[number].name, shape), number, offset
