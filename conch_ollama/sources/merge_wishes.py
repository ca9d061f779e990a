"""What adapters want to do to which tensor of a base: adapter modules matched to the base's names, conflicts refused.

Does not look at shapes (`merge_plan` does) and reads no weights but to compare two that should be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from conch_ollama.errors import AdapterKindError, AdapterMismatchError
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.adapter_names import Part
from conch_ollama.sources.weights import WeightSource

#: Names that the input embedding has, and the output's.
EMBEDDINGS = ("model.embed_tokens.weight", "embed_tokens.weight")
HEAD = "lm_head.weight"
_BLOCK = 1 << 20


class Kind(StrEnum):
    """What is to be done."""

    FROZEN = "frozen"  # another starting point: the adapter was trained on these values
    TRAINED = "trained"  # replaced as a whole
    LOW_RANK = "low-rank"
    EMBEDDING = "low-rank on the embedding"
    TOKENS = "token rows"
    BIAS = "bias shift"


@dataclass(frozen=True, slots=True)
class Wish:
    """One adapter's change of one tensor. `tensors` are the adapter's, by part; `weight` is the adapter's factor."""

    adapter: Adapter
    weight: float
    module: str
    kind: Kind
    tensors: Mapping[Part, str]

    @property
    def whole(self) -> str:
        """Name of the adapter's tensor that replaces the base's."""
        return next(iter(self.tensors.values()))

    @property
    def is_dora(self) -> bool:
        """Whether the sum is normalised."""
        return Part.MAGNITUDE in self.tensors


Wishes = dict[str, list[Wish]]


@dataclass(frozen=True, slots=True)
class BaseNames:
    """The base's tensors, its input embedding, and whether the output shares its weight (then HEAD counts as there)."""

    names: frozenset[str]
    embedding: str | None
    tied: bool

    def find(self, module: str, kind: str) -> str | None:
        """The base's name of a module's weight or bias: as it is, or with the "model." of the other class of model."""
        for name in (f"{module}.{kind}", f"model.{module}.{kind}", f"{module.removeprefix('model.')}.{kind}"):
            if name in self.names or (self.tied and name == HEAD):
                return name
        return None


def base_names(base: WeightSource) -> BaseNames:
    """Names of a base. Without a word in its configuration, input and output are tied if there is no output weight."""
    embedding = next((name for name in EMBEDDINGS if name in base.tensors), None)
    tied = base.config.get("tie_word_embeddings")
    if tied is None:
        tied = HEAD not in base.tensors
    return BaseNames(frozenset(base.tensors), embedding, bool(tied) and embedding is not None)


def collect_wishes(adapters: Sequence[tuple[Adapter, float]], base: WeightSource, names: BaseNames) -> Wishes:
    """All changes by the base's tensor. Raises `AdapterMismatchError` naming the first tensors that hit nothing."""
    wishes: Wishes = {}
    for adapter, weight in adapters:
        missing = []
        for module, parts in adapter.modules.items():
            for kind, of, tensors in _split(parts):
                target = names.find(module, of)
                if target is None:
                    missing.append(next(iter(tensors.values())) + (" (a bias)" if of == "bias" else ""))
                else:
                    wishes.setdefault(target, []).append(Wish(adapter, weight, module, kind, tensors))
        if missing:
            raise mismatch(adapter, base, [f"{name} hits no tensor" for name in missing])
    for target, wanted in wishes.items():
        _refuse_conflicts(target, wanted)
    return wishes


def mismatch(adapter: Adapter, base: WeightSource, problems: Sequence[str]) -> AdapterMismatchError:
    """The error of an adapter that was trained for another base; it names the first three problems."""
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    config = base.config
    shape = [f"{label} {config[key]}" for key, label in _SIZES.items() if isinstance(config.get(key), int)]
    return AdapterMismatchError(
        f"adapter {adapter.folder} does not fit {base.description}: {'; '.join(problems[:3])}{more}. "
        f"The base is {config.get('model_type', 'of unknown type')} ({', '.join(shape)}); "
        f"the adapter was trained on {adapter.trained_on}",
        hint=adapter.base_hint or "give the base that the adapter was trained on",
    )


_SIZES = {"num_hidden_layers": "layers", "hidden_size": "hidden size", "vocab_size": "vocabulary"}


def same_content(first: Wish, second: Wish) -> bool:
    """Whether two adapter tensors that would replace a weight hold the same values."""
    one, two = first.adapter.weights, second.adapter.weights
    info = one.tensors[first.whole]
    if two.tensors[second.whole].shape != info.shape:
        return False
    step = max(1, _BLOCK // max(1, info.columns))
    starts = range(0, info.rows, step)
    return all(
        np.array_equal(one.read(first.whole, start, stop), two.read(second.whole, start, stop))
        for start, stop in ((start, min(start + step, info.rows)) for start in starts)
    )


def _split(parts: Mapping[Part, str]) -> Iterator[tuple[Kind, str, dict[Part, str]]]:
    """The changes of one module: kind, "weight" or "bias", and the adapter's tensors."""
    for part, kind, of in (
        (Part.BASE_WEIGHT, Kind.FROZEN, "weight"),
        (Part.WEIGHT, Kind.TRAINED, "weight"),
        (Part.TOKENS, Kind.TOKENS, "weight"),
        (Part.BASE_BIAS, Kind.FROZEN, "bias"),
        (Part.BIAS, Kind.TRAINED, "bias"),
        (Part.LORA_BIAS, Kind.BIAS, "bias"),
    ):
        if part in parts:
            yield kind, of, {part: parts[part]}
    for a, b, kind in (
        (Part.LORA_A, Part.LORA_B, Kind.LOW_RANK),
        (Part.EMBEDDING_A, Part.EMBEDDING_B, Kind.EMBEDDING),
    ):
        if a in parts:
            yield kind, "weight", {part: parts[part] for part in (a, b, Part.MAGNITUDE) if part in parts}


def _refuse_conflicts(target: str, wanted: Sequence[Wish]) -> None:
    """Refuse combinations that have no one meaning, or would depend on the order of the adapters."""
    edits = [wish for wish in wanted if wish.kind not in (Kind.FROZEN, Kind.TRAINED)]
    trained = [wish for wish in wanted if wish.kind is Kind.TRAINED]
    frozen = [wish for wish in wanted if wish.kind is Kind.FROZEN]
    for group in (trained, frozen):
        for wish in group[1:]:
            if not same_content(group[0], wish):
                raise _refusal(target, group[0], wish, "both replace it, by different values")
    if trained and edits:
        raise _refusal(target, trained[0], edits[0], "one replaces it and the other adds to it")
    for wish in (*trained, *(edit for edit in edits if edit.kind is Kind.TOKENS or edit.is_dora)):
        if wish.weight != 1:
            raise AdapterKindError(
                f"{target} can't be changed with weight {wish.weight:g} by {wish.adapter.folder}: its change "
                f"({'DoRA' if wish.is_dora else wish.kind}) is no sum",
                hint="give the adapter the weight 1",
            )
    for wish in edits:
        others = [other for other in edits if other is not wish]
        if others and wish.is_dora:
            raise _refusal(target, wish, others[0], "DoRA normalises the weight, so the order would matter")
        if any(other.kind is not Kind.TOKENS for other in others) and wish.kind is Kind.TOKENS:
            raise _refusal(target, wish, others[0], "one replaces rows of it and the other adds to them")
    _refuse_shared_tokens(target, [wish for wish in edits if wish.kind is Kind.TOKENS])


def _refuse_shared_tokens(target: str, wanted: Sequence[Wish]) -> None:
    seen: set[int] = set()
    for wish in wanted:
        rows = set(wish.adapter.config.tokens_of(wish.module) or ())
        if seen & rows:
            raise _refusal(target, wanted[0], wish, f"both trained the row of token {min(seen & rows)}")
        seen |= rows


def _refusal(target: str, first: Wish, second: Wish, reason: str) -> AdapterKindError:
    return AdapterKindError(
        f"{target} can't be changed by {first.adapter.folder} and {second.adapter.folder} together: {reason}",
        hint="merge one adapter at a time with the tool that trained them, or leave one out",
    )
