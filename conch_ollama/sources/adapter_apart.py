"""What of an adapter can stand apart from its base: pairs A, B that are added to one weight each.

A file of A and B says neither that a sum is normalised (DoRA) nor that a tensor was trained as a whole; what needs that
is refused here. That everything fits the base has been seen to by `merge_plan`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conch_ollama.errors import AdapterKindError
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.adapter_names import Part
from conch_ollama.sources.merge_wishes import HEAD, BaseNames, Kind, Wish, base_names, collect_wishes
from conch_ollama.sources.weights import WeightSource

_MERGE = "merge it instead: the same command without --adapter-only"
_REASONS = {
    Kind.TRAINED: "was trained as a whole (modules_to_save)",
    Kind.TOKENS: "replaces rows of the embedding (trainable_token_indices)",
    Kind.BIAS: "is a trained bias (lora_bias)",
}
_BLOCK = 1 << 20
#: A base may hold the frozen values rounded to half precision: eight bits of bfloat16.
_ROUNDED = 2.0**-8


@dataclass(frozen=True, slots=True)
class Pair:
    """W += scale * B @ A for the base's tensor `target`; `a` and `b` name the adapter's tensors.

    A is (rank, columns), B (rows, rank). With `embedding` it is W += scale * (B @ A).T, for A (rank, rows) and
    B (columns, rank). `scale` holds the adapter's weight.
    """

    target: str
    a: str
    b: str
    rank: int
    scale: float
    embedding: bool


def pairs_apart(base: WeightSource, adapter: Adapter, weight: float) -> tuple[Pair, ...]:
    """Every change that `adapter` makes, by its pair.

    Raises `AdapterKindError` that names the first tensor which is no such change: DoRA, tensors trained as a whole,
    biases, token rows, and either end of a model whose input and output embedding are one tensor.
    """
    names = base_names(base)
    wishes = collect_wishes([(adapter, weight)], base, names)
    pairs = []
    for target, wanted in wishes.items():
        for wish in wanted:
            _refuse(wish, target, names)
            if wish.kind is not Kind.FROZEN:
                pairs.append(_pair(wish, target))
            elif not _as_in_base(wish, target, base):
                raise _refusal(wish, f"{wish.whole} holds other values of {target} than the base")
    if not pairs:
        raise AdapterKindError(f"{adapter.folder} adds nothing to any weight", hint=_MERGE)
    return tuple(pairs)


def _pair(wish: Wish, target: str) -> Pair:
    embedding = wish.kind is Kind.EMBEDDING
    first, second = (Part.EMBEDDING_A, Part.EMBEDDING_B) if embedding else (Part.LORA_A, Part.LORA_B)
    config = wish.adapter.config
    a, b = wish.tensors[first], wish.tensors[second]
    scale = wish.weight * config.scale_of(wish.module)
    return Pair(target, a, b, wish.adapter.weights.tensors[a].rows, scale, embedding)


def _refuse(wish: Wish, target: str, names: BaseNames) -> None:
    if wish.is_dora:
        raise _refusal(wish, f"{wish.tensors[Part.MAGNITUDE]} normalises the sum (DoRA)")
    if wish.kind in _REASONS:
        raise _refusal(wish, f"{wish.whole} {_REASONS[wish.kind]}")
    if wish.kind is not Kind.FROZEN and names.tied and target in (names.embedding, HEAD):
        raise _refusal(
            wish, f"{wish.whole} changes {target}, and the base has one tensor for the input and the output embedding"
        )


def _refusal(wish: Wish, what: str) -> AdapterKindError:
    return AdapterKindError(f"{wish.adapter.folder} can't be an adapter GGUF: {what}", hint=_MERGE)


def _as_in_base(wish: Wish, target: str, base: WeightSource) -> bool:
    """Whether a frozen tensor that training kept beside the adapter is the base's own."""
    weights, info = wish.adapter.weights, wish.adapter.weights.tensors[wish.whole]
    found = base.tensors.get(target)
    if found is None or found.shape != info.shape:
        return False
    step = max(1, _BLOCK // max(1, info.columns))
    starts = range(0, info.rows, step)
    return all(
        np.allclose(weights.read(wish.whole, start, stop), base.read(target, start, stop), rtol=_ROUNDED, atol=1e-6)
        for start, stop in ((start, min(start + step, info.rows)) for start in starts)
    )
