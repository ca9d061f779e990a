"""The metadata section of a GGUF: a cursor over the header, and a mapping that decodes arrays when they are asked for.

Format: ggml/docs/gguf.md. The header is read in pieces, never the whole file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadGGUFError, TruncatedFileError
from conch_ollama.formats.metadata import Value, ValueType
from conch_ollama.formats.positional import PositionalFile

_PIECE = 1 << 20
_AGAIN = "the file is damaged: fetch or write it again"
_LENGTH = struct.Struct("<Q")

#: The types with a fixed size, as struct spells them, without the order of bytes; numpy takes the same letters.
SCALARS: dict[ValueType, str] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "B",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
_STRUCTS = {kind: struct.Struct("<" + code) for kind, code in SCALARS.items()}


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where an array that has not been decoded lies in the file."""

    items: ValueType
    count: int
    offset: int
    nbytes: int


class HeaderCursor:
    """Reads forward through the beginning of a file, a piece at a time; `offset` is the next byte's place."""

    def __init__(self, file: PositionalFile) -> None:
        self.file = file
        self.path: Path = file.path
        self.size = file.size
        self._base = 0
        self._piece = b""
        self._at = 0

    @property
    def offset(self) -> int:
        return self._base + self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._need(count)
        found = self._piece[self._at : self._at + count]
        self._at += count
        return found

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """The next values of a `struct` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self, what: str) -> str:
        """The next string."""
        (length,) = self.unpack("<Q")
        return decode(self.path, what, self.take(length))

    def skip(self, count: int) -> None:
        """Step over `count` bytes without reading them."""
        if self.offset + count > self.size:
            raise self._truncated(self.offset + count)
        self._at += count

    def skip_strings(self, count: int) -> None:
        """Step over `count` strings: only their lengths are looked at."""
        piece, at, end, unpack = self._piece, self._at, len(self._piece) - 8, _LENGTH.unpack_from
        for _ in range(count):
            if at > end:
                self._at = at
                self._need(8)
                piece, at, end = self._piece, self._at, len(self._piece) - 8
            at += 8 + unpack(piece, at)[0]
        self._at = at
        if self.offset > self.size:
            raise self._truncated(self.offset)

    def _need(self, count: int) -> None:
        """See that the next `count` bytes are in the piece."""
        if self._at + count <= len(self._piece):
            return
        self._base, self._at = self.offset, 0
        if self._base + count > self.size:
            raise self._truncated(self._base + count)
        step = min(max(count, _PIECE), self.size - self._base)
        self._piece = self.file.read_bytes(self._base, step, what="the header")

    def _truncated(self, needed: int) -> TruncatedFileError:
        return TruncatedFileError(
            f"{self.path} is cut short: its header goes up to byte {needed}, the file ends at {self.size}",
            hint="the download or copy did not finish: fetch the file again",
        )


class LazyMetadata(Mapping[str, Value]):
    """Metadata of an open file, in the file's order; arrays are read and decoded at first use and then kept."""

    def __init__(self, file: PositionalFile, entries: dict[str, Value | StoredArray]) -> None:
        self._file = file
        self._entries = entries

    def __getitem__(self, key: str) -> Value:
        entry = self._entries[key]
        if isinstance(entry, StoredArray):
            entry = self._entries[key] = _decode_array(self._file, key, entry)
        return entry

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def read_entry(cursor: HeaderCursor) -> tuple[str, Value | StoredArray]:
    """The next key with its value, or with the place of its array."""
    key = cursor.text("a metadata key")
    kind = _value_type(cursor, key)
    if kind is ValueType.STRING:
        return key, Value(kind, cursor.text(key))
    if kind is not ValueType.ARRAY:
        return key, Value(kind, _scalar(kind, cursor.take(_STRUCTS[kind].size)))
    items = _value_type(cursor, key)
    (count,) = cursor.unpack("<Q")
    if items is ValueType.ARRAY:
        raise BadGGUFError(f"{key} in {cursor.path} is an array of arrays, which llama.cpp can't read either")
    begin = cursor.offset
    if count > cursor.size:  # an element takes a byte at least
        raise BadGGUFError(
            f"{key} in {cursor.path} says it has {count} elements, more than fit in the file", hint=_AGAIN
        )
    if items is ValueType.STRING:
        cursor.skip_strings(count)
    else:
        cursor.skip(count * _STRUCTS[items].size)
    return key, StoredArray(items, count, begin, cursor.offset - begin)


def decode(path: Path, what: str, raw: bytes) -> str:
    """Text from UTF-8; `BadGGUFError` that names `what` if it is none."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise BadGGUFError(f"{what} in {path} is no UTF-8: {raw[:32]!r}", hint=_AGAIN) from err


def _value_type(cursor: HeaderCursor, key: str) -> ValueType:
    (number,) = cursor.unpack("<I")
    try:
        return ValueType(number)
    except ValueError as err:
        raise BadGGUFError(f"{key} in {cursor.path} has value type {number}, which is not known", hint=_AGAIN) from err


def _scalar(kind: ValueType, raw: bytes) -> Any:
    (value,) = _STRUCTS[kind].unpack(raw)
    return bool(value) if kind is ValueType.BOOL else value


def _decode_array(file: PositionalFile, key: str, stored: StoredArray) -> Value:
    if stored.items is not ValueType.STRING:
        raw = file.read_bytes(stored.offset, stored.nbytes, what=key)
        data = list(struct.unpack(f"<{stored.count}{SCALARS[stored.items]}", raw))
        if stored.items is ValueType.BOOL:
            data = [value != 0 for value in data]
        return Value(ValueType.ARRAY, data, stored.items)
    texts: list[str] = []
    buffer, at = file.read_bytes(stored.offset, stored.nbytes, what=key), 0
    for index in range(stored.count):
        begin = at + 8
        at = begin + _LENGTH.unpack_from(buffer, at)[0]
        try:
            texts.append(buffer[begin:at].decode("utf-8"))
        except UnicodeDecodeError as err:
            raise BadGGUFError(
                f"{key}[{index}] in {file.path} is no UTF-8: {buffer[begin:at][:32]!r}", hint=_AGAIN
            ) from err
    return Value(ValueType.ARRAY, texts, ValueType.STRING)
