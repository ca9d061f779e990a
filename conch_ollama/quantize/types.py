"""The GGML types that conch writes: their numbers, names and row sizes. Block sizes: `formats.ggml_types`.

Knows nothing of what is inside a block, nor of recipes, which give every tensor of a model one of these types.
"""

from __future__ import annotations

from conch_ollama.errors import ShapeError, UnknownTypeError
from conch_ollama.formats.ggml_types import GGML_TYPES, BlockSize

WRITTEN_TYPES: tuple[str, ...] = (
    "F32",
    "F16",
    "BF16",
    "Q8_0",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
)

#: Numbers of the types that conch writes, by name.
GGML: dict[str, int] = {size.name: number for number, size in GGML_TYPES.items() if size.name in WRITTEN_TYPES}

#: `general.quantization_version` of every file that the block layouts above belong to (GGML_QNT_VERSION in ggml.h).
QUANTIZATION_VERSION = 2


def type_name(type: int) -> str:
    """Name of a type."""
    return _block(type).name


def block_elements(type: int) -> int:
    """Elements of one block: a row's columns must be a multiple of it."""
    return _block(type).elements


def row_bytes(type: int, columns: int) -> int:
    """Bytes of a row of `columns` elements. Raises `ShapeError` if they don't fill whole blocks."""
    block = _block(type)
    if columns % block.elements:
        raise ShapeError(
            f"{columns} columns are no multiple of {block.elements}, the block size of {block.name}",
            hint="choose another type for this tensor; a recipe falls back by itself",
        )
    return columns // block.elements * block.bytes


def _block(type: int) -> BlockSize:
    if type not in GGML_TYPES:
        raise UnknownTypeError(f"{type} is not the number of a GGML type")
    return GGML_TYPES[type]
