"""Safetensors files: rows of tensors read as numpy arrays, BF16 included, and files written as a stream.

Format: https://github.com/huggingface/safetensors (8 bytes of header length, a JSON header, the tensors' bytes without
gaps). Everything the header says is checked against the file's size before anything is read. Knows nothing of models.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import (
    BadSafetensorsError,
    MissingTensorError,
    ShapeError,
    TruncatedFileError,
    UnknownTypeError,
)
from conch_ollama.formats.floats import ITEM_SIZE, to_float32
from conch_ollama.formats.positional import PositionalFile
from conch_ollama.formats.streamed_file import StreamedFile
from conch_ollama.formats.tensors import TensorInfo

#: The largest header that the format's own library reads.
_MAX_HEADER = 100_000_000
_AGAIN = "the file is damaged: fetch or write it again"


class SafetensorsFile:
    """An open safetensors file. Reading is safe from several threads.

    Raises `NotFoundError`, `TruncatedFileError`, `BadSafetensorsError`, and `UnknownTypeError` for an element type that
    is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PositionalFile(path)
        try:
            header, self._start = _read_header(self._file)
            self.metadata: dict[str, str] = _metadata(path, header)
            entries = {name: _entry(path, name, value) for name, value in header.items() if name != "__metadata__"}
            _check_layout(self._file, self._start, entries)
        except BaseException:
            self._file.close()
            raise
        self._offsets = {name: begin for name, (_, begin, _) in entries.items()}
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {name: info for name, (info, _, _) in entries.items()}
        )

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows `start` to `stop` as float32 in a fresh array of the tensor's shape but for the first dimension.

        F64, F32, F16 and BF16 only: `UnknownTypeError` otherwise.
        """
        info = self._info(name)
        raw = self.read_raw(name, start, stop)
        try:
            flat = to_float32(raw, info.dtype)
        except UnknownTypeError as err:
            raise UnknownTypeError(f"tensor {name} in {self.path}: {err.message}", hint=err.hint) from err
        return flat.reshape(-1, *info.shape[1:]) if info.shape else flat.reshape(())

    def read_raw(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Bytes of rows `start` to `stop`, flat, in a fresh array."""
        info = self._info(name)
        stop = info.rows if stop is None else stop
        if not 0 <= start <= stop <= info.rows:
            raise ShapeError(f"tensor {name} in {self.path} has {info.rows} rows, not {start} to {stop}")
        row = info.columns * ITEM_SIZE[info.dtype]
        offset = self._start + self._offsets[name] + start * row
        return self._file.read(offset, (stop - start) * row, what=f"tensor {name}")

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _info(self, name: str) -> TensorInfo:
        try:
            return self.tensors[name]
        except KeyError as err:
            raise MissingTensorError(f"{self.path} has no tensor {name}") from err


class SafetensorsWriter(StreamedFile):
    """Writes a safetensors file as a stream: the header at once, then the tensors' bytes in the order of `tensors`.

    To be used as a context manager. `size` is the size of the whole file in bytes, known before anything is written.
    """

    def __init__(self, path: Path, tensors: Sequence[TensorInfo], metadata: Mapping[str, str] | None = None) -> None:
        header = _encode_header(path, tensors, metadata)
        super().__init__(path, header)
        self._expected = len(header) + sum(info.elements * ITEM_SIZE[info.dtype] for info in tensors)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._expected

    def write(self, block: NDArray[np.uint8] | bytes) -> None:
        """Append bytes of the tensors, in order."""
        self._file.write(block)

    def _check_complete(self) -> None:
        if self._file.written != self._expected:
            raise ShapeError(f"{self.path}: {self._file.written} bytes were written, {self._expected} announced")


def _encode_header(path: Path, tensors: Sequence[TensorInfo], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for info in tensors:
        if info.dtype not in ITEM_SIZE:
            raise UnknownTypeError(f"tensor {info.name}: {info.dtype} can't be written to {path}")
        if info.name in header:
            raise ShapeError(f"tensor {info.name} is to be written twice to {path}")
        end = offset + info.elements * ITEM_SIZE[info.dtype]
        header[info.name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors begin at a multiple of 8, as the format's library does it
    return struct.pack("<Q", len(text)) + text


def _read_header(file: PositionalFile) -> tuple[dict[str, Any], int]:
    path = file.path
    if file.size < 8:
        raise TruncatedFileError(f"{path} is cut short: it has {file.size} bytes, less than a header", hint=_AGAIN)
    (length,) = struct.unpack("<Q", file.read(0, 8, what="the header's length").tobytes())
    if length > _MAX_HEADER:
        raise BadSafetensorsError(
            f"{path} is no safetensors file: its header would have {length} bytes", hint="is it another kind of file?"
        )
    raw = file.read(8, length, what="the header").tobytes()
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as err:
        raise BadSafetensorsError(f"the header of {path} is no JSON: {err}", hint=_AGAIN) from err
    if not isinstance(header, dict):
        raise BadSafetensorsError(f"the header of {path} is no JSON object", hint=_AGAIN)
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} stands there twice")
    return found


def _metadata(path: Path, header: dict[str, Any]) -> dict[str, str]:
    found = header.get("__metadata__") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BadSafetensorsError(f"__metadata__ in the header of {path} is no table of texts", hint=_AGAIN)
    return found


def _entry(path: Path, name: str, value: Any) -> tuple[TensorInfo, int, int]:
    """Information, first byte and end of one tensor, from its entry in the header."""
    try:
        dtype, shape, (begin, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
        numbers = (*shape, begin, end)
    except (TypeError, KeyError, ValueError) as err:
        raise BadSafetensorsError(f"tensor {name} in {path} has no dtype, shape and offsets", hint=_AGAIN) from err
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise BadSafetensorsError(f"tensor {name} in {path} has a shape or offsets that are no counts", hint=_AGAIN)
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        raise UnknownTypeError(f"tensor {name} in {path} has elements of type {dtype}, which is not known")
    info = TensorInfo(name, dtype, shape)
    if info.elements * ITEM_SIZE[dtype] != end - begin:
        raise BadSafetensorsError(
            f"tensor {name} in {path}: {list(shape)} of {dtype} does not take {end - begin} bytes", hint=_AGAIN
        )
    return info, begin, end


def _check_layout(file: PositionalFile, start: int, entries: Mapping[str, tuple[TensorInfo, int, int]]) -> None:
    """The tensors must lie one after the other, without gaps, up to the end of the file."""
    expected = 0
    for name, (_, begin, end) in sorted(entries.items(), key=lambda item: item[1][1:]):
        if start + end > file.size:
            raise TruncatedFileError(
                f"{file.path} is cut short: tensor {name} goes up to byte {start + end}, the file ends at {file.size}",
                hint="the download or copy did not finish: fetch the file again",
            )
        if begin != expected:
            fault = "overlaps the one before it" if begin < expected else "leaves a gap before it"
            raise BadSafetensorsError(f"tensor {name} in {file.path} {fault}", hint=_AGAIN)
        expected = end
    if start + expected != file.size:
        raise BadSafetensorsError(
            f"{file.path} has {file.size - start - expected} bytes more than its tensors take", hint=_AGAIN
        )
