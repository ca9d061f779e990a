"""The one shape in which every source gives its weights: named tensors in Hugging Face names and row order.

A folder, a GGUF seen through the inverse of its architecture's rules, and a base with adapters merged on it all look
like this, so what comes after need not know which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.tensors import TensorInfo


class WeightSource(Protocol):
    """Weights that can be read row by row, from several threads at once."""

    @property
    def description(self) -> str:
        """What this is, for messages: a path, a hub id."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's `config.json`, with the changes that adapters make (vocabulary size, untied embeddings)."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by its Hugging Face name."""
        ...

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop` of a tensor as float32, shape (stop - start, columns); (stop - start,) if it is 1-D.

        The caller may change the array in place: it is never shared.
        """
        ...

    def read_stored(self, name: str, start: int, stop: int) -> NDArray[np.uint8] | None:
        """The same rows as the file holds them, in the type that `tensors` names: (stop - start, bytes of a row).

        None where there is nothing to gain by it: plain floats, rows that a merge changes, blocks across rows.
        """
        ...

    def close(self) -> None:
        """Give back the open files."""
        ...
