"""A base with LoRA adapters merged on it, row by row: W[i] += scale * (B[i] @ A), in the base's names and row order.

Holds no merged tensor: rows are merged when they are read. What fits, and what becomes of tied embeddings, is settled
by `merge_plan` at construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import MissingTensorError, UnknownTypeError
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.merge_edits import Rounding, keep, round_bf16, round_f16
from conch_ollama.sources.merge_fit import Reader
from conch_ollama.sources.merge_plan import plan_merge
from conch_ollama.sources.weights import WeightSource

_ROUNDINGS: Mapping[str, Rounding] = {"F32": keep, "BF16": round_bf16, "F16": round_f16}


class MergedSource:
    """A `WeightSource`: `base` with `adapters`, each with the factor its change is multiplied by.

    `dtype="float32"` merges in float32. `dtype="base"` rounds to the base's type after each adapter, as PEFT's
    `merge_and_unload` does on a base loaded in its own type. `tensors` keep the base's types in both cases. `notes` are
    doubts whether base and adapters belong together. All checks are made here: `AdapterMismatchError`,
    `AdapterKindError`, `NonFiniteError` (NaN or infinite values in an adapter), `UnknownTypeError` (no rounding to a
    base of that type).
    """

    def __init__(
        self,
        base: WeightSource,
        adapters: Sequence[tuple[Adapter, float]],
        *,
        dtype: Literal["float32", "base"] = "float32",
    ) -> None:
        self.base = base
        self.adapters = tuple(adapters)
        self._in_base_type = dtype == "base"
        plan = plan_merge(base, self.adapters, self._rounded)
        for adapter, _ in self.adapters:
            adapter.check_finite()
        self._changes = plan.changes
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(dict(plan.tensors))
        self.config: Mapping[str, Any] = MappingProxyType(dict(plan.config))
        self.notes = plan.notes

    @property
    def description(self) -> str:
        """The base and the adapters."""
        return " + ".join([self.base.description, *(str(adapter.folder) for adapter, _ in self.adapters)])

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Merged rows `start` to `stop` as float32, in an array of the caller's own. Thread-safe."""
        change = self._changes.get(name)
        if change is None:
            if name not in self.tensors:
                raise MissingTensorError(f"{self.description} has no tensor {name}")
            return self.base.read(name, start, stop)
        rounding = self._rounding(change.info)
        rows = change.read(start, stop)
        for edit in change.edits:
            edit.apply(rows, start, rounding)
            rounding(rows)
        return rows

    def read_stored(self, name: str, start: int, stop: int) -> NDArray[np.uint8] | None:
        """The base's own bytes of a tensor that no adapter changes."""
        return None if name in self._changes else self.base.read_stored(name, start, stop)

    def close(self) -> None:
        """Close the base and the adapters."""
        for adapter, _ in self.adapters:
            adapter.close()
        self.base.close()

    def _rounding(self, info: TensorInfo) -> Rounding:
        if not self._in_base_type:
            return keep
        try:
            return _ROUNDINGS[info.dtype]
        except KeyError as err:
            raise UnknownTypeError(
                f"{self.base.description}: {info.name} is {info.dtype}, to which a merge can't round",
                hint="merge in float32 (the default)",
            ) from err

    def _rounded(self, info: TensorInfo, read: Reader) -> Reader:
        """A reader of values that the base's type can hold."""
        rounding: Callable[[NDArray[np.float32]], None] = self._rounding(info)
        if rounding is keep:
            return read

        def read_rounded(start: int, stop: int) -> NDArray[np.float32]:
            rows = read(start, stop)
            rounding(rows)
            return rows

        return read_rounded
