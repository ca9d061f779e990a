"""The plan of a merge: for every tensor that adapters change, where its rows come from and what is done to them.

All checks of fitting are made here, on names and shapes, before a row is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conch_ollama.errors import UsageError
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.adapter_names import Part
from conch_ollama.sources.merge_edits import BiasShift, Edit, EmbeddingLowRank, Factors, LowRank, TokenRows
from conch_ollama.sources.merge_fit import Origin, Reader, check_fit, doubts
from conch_ollama.sources.merge_tied import separate_tied
from conch_ollama.sources.merge_wishes import HEAD, Kind, Wish, base_names, collect_wishes
from conch_ollama.sources.weights import WeightSource

#: Makes a reader of another one: rounded to the type that the merge keeps to.
Rounded = Callable[[TensorInfo, Reader], Reader]


@dataclass(frozen=True, slots=True)
class Change:
    """A changed tensor: `info` of the result, `read` for the rows it starts from, `edits` in their order."""

    info: TensorInfo
    read: Reader
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Changed tensors by name, all tensors of the result, its configuration, and doubts for the user."""

    changes: Mapping[str, Change]
    tensors: Mapping[str, TensorInfo]
    config: Mapping[str, Any]
    notes: tuple[str, ...]


def plan_merge(base: WeightSource, adapters: Sequence[tuple[Adapter, float]], rounded: Rounded) -> MergePlan:
    """Plan the merge of weighted adapters on a base.

    Raises `AdapterMismatchError` (names, shapes, vocabulary), `AdapterKindError` (no one meaning), `UsageError` (a
    weight that is no number).
    """
    for adapter, weight in adapters:
        if not math.isfinite(weight):
            raise UsageError(f"the weight of adapter {adapter.folder} is {weight}, it must be a number")
    names = base_names(base)
    wishes = collect_wishes(adapters, base, names)
    untied = names.tied and names.embedding is not None and separate_tied(wishes, names.embedding)
    if untied:
        wishes.setdefault(HEAD, [])  # it gets a weight of its own even where nothing changes it
    origins = {target: Origin.of(target, wanted, base, names) for target, wanted in wishes.items()}
    check_fit(base, names, wishes, origins)
    factors = {id(adapter): Factors(adapter.weights) for adapter, _ in adapters}
    changes = {target: _change(origins[target], wanted, factors, rounded) for target, wanted in wishes.items()}
    shared = changes.get(names.embedding or "")
    if names.tied and not untied and shared is not None and HEAD in base.tensors:
        # The base keeps a copy of the shared weight, which must not stay behind.
        changes[HEAD] = Change(TensorInfo(HEAD, shared.info.dtype, shared.info.shape), shared.read, shared.edits)
    tensors = {**base.tensors, **{target: change.info for target, change in changes.items()}}
    config = dict(base.config)
    if untied:
        config["tie_word_embeddings"] = False
    if shared is not None and shared.info.rows != base.tensors[shared.info.name].rows:
        config["vocab_size"] = shared.info.rows
    notes = tuple(note for adapter, _ in adapters for note in doubts(adapter, base))
    return MergePlan(changes, tensors, config, notes)


def _change(origin: Origin, wanted: Sequence[Wish], factors: Mapping[int, Factors], rounded: Rounded) -> Change:
    read = rounded(origin.info, origin.read)
    edits = tuple(
        _edit(wish, origin.info, read, factors[id(wish.adapter)])
        for wish in wanted
        if wish.kind not in (Kind.FROZEN, Kind.TRAINED)
    )
    return Change(origin.info, read, edits)


def _edit(wish: Wish, info: TensorInfo, read: Reader, factors: Factors) -> Edit:
    tensors, weights = wish.tensors, wish.adapter.weights
    scale = wish.weight * wish.adapter.config.scale_of(wish.module)
    magnitude = weights.read(tensors[Part.MAGNITUDE]) if wish.is_dora else None
    match wish.kind:
        case Kind.LOW_RANK:
            return LowRank(factors, tensors[Part.LORA_A], tensors[Part.LORA_B], scale, magnitude)
        case Kind.EMBEDDING:
            a, b = tensors[Part.EMBEDDING_A], tensors[Part.EMBEDDING_B]
            return EmbeddingLowRank(factors, a, b, scale, magnitude, read, info.rows)
        case Kind.TOKENS:
            rows = wish.adapter.config.tokens_of(wish.module) or ()
            return TokenRows(np.array(rows, dtype=np.int64), weights.read(tensors[Part.TOKENS]))
        case Kind.BIAS:
            return BiasShift(weights.read(tensors[Part.LORA_BIAS]), scale)
        case _:
            raise AssertionError(f"{wish.kind} is no edit")
