"""Builds GGUF files for the tests byte by byte, independently of the writer, so that they can be wrong in any way."""

from __future__ import annotations

import struct
from pathlib import Path


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, body: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + body


def text_entry(key: str, value: str | bytes) -> bytes:
    return entry(key, 8, text(value))


def texts_entry(key: str, values: list[str | bytes], count: int | None = None) -> bytes:
    return entry(key, 9, struct.pack("<IQ", 8, len(values) if count is None else count) + b"".join(map(text, values)))


def tensor(name: str | bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """`shape` in the file's order: fastest first."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(
    entries: list[bytes],
    tensors: list[bytes],
    data: bytes = b"",
    *,
    version: int = 3,
    alignment: int = 32,
    counts: tuple[int, int] | None = None,
) -> bytes:
    numbers = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", version, *numbers) + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
