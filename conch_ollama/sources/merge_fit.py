"""Whether what adapters want to do fits the base: shapes of the matrices, size of the vocabulary, token ids, layers.

Looks at names and shapes only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conch_ollama.errors import AdapterMismatchError
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter import Adapter
from conch_ollama.sources.adapter_names import Part
from conch_ollama.sources.merge_edits import Rows
from conch_ollama.sources.merge_wishes import HEAD, BaseNames, Kind, Wish, Wishes, mismatch
from conch_ollama.sources.weights import WeightSource

#: Reads rows `start` to `stop` of one tensor, fresh.
Reader = Callable[[int, int], Rows]
#: A snapshot's path in a hub cache, from which organisation and name can be told.
_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
_LAYER = re.compile(r"layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a changed tensor start from: the base, or an adapter that brings the whole tensor.

    `info` is the result's: its type stays the base's. `wish` is the adapter's, `None` where the base is the origin.
    """

    info: TensorInfo
    read: Reader
    wish: Wish | None

    @classmethod
    def of(cls, target: str, wanted: Sequence[Wish], base: WeightSource, names: BaseNames) -> Origin:
        """The origin of `target`. A tied output's is the embedding, even if the base keeps a copy of it."""
        source = names.embedding if names.tied and target == HEAD and names.embedding else target
        info = base.tensors[source]
        brought = sorted((wish for wish in wanted if wish.kind in (Kind.TRAINED, Kind.FROZEN)), key=_trained_first)
        if not brought:
            return cls(TensorInfo(target, info.dtype, info.shape), lambda a, b: base.read(source, a, b), None)
        weights, name = brought[0].adapter.weights, brought[0].whole
        shape = weights.tensors[name].shape
        return cls(TensorInfo(target, info.dtype, shape), lambda a, b: weights.read(name, a, b), brought[0])


def _trained_first(wish: Wish) -> bool:
    return wish.kind is not Kind.TRAINED


def check_fit(base: WeightSource, names: BaseNames, wishes: Wishes, origins: Mapping[str, Origin]) -> None:
    """Raise `AdapterMismatchError` for the first adapter that does not fit, naming its first tensors."""
    problems: dict[int, tuple[Adapter, list[str]]] = {}
    for target, wanted in wishes.items():
        info = origins[target].info
        for wish in wanted:
            problem = _problem(wish, target, info, base, names)
            if problem:
                problems.setdefault(id(wish.adapter), (wish.adapter, []))[1].append(problem)
    for adapter, found in problems.values():
        raise mismatch(adapter, base, found)
    _check_vocabulary(base, names, origins)


def _problem(wish: Wish, target: str, info: TensorInfo, base: WeightSource, names: BaseNames) -> str | None:
    """What of a wish does not fit the tensor `info` that it changes; None if all does."""
    if wish.kind in (Kind.FROZEN, Kind.TRAINED):
        return _replacement_problem(wish, target, base, names)
    if wish.kind is Kind.TOKENS:
        return _token_problem(wish, target, info)
    shapes = {part: wish.adapter.weights.tensors[name].shape for part, name in wish.tensors.items()}
    if wish.kind is Kind.BIAS:
        change, norm = shapes[Part.LORA_BIAS], 0
    elif wish.kind is Kind.LOW_RANK:
        change = shapes[Part.LORA_B][:1] + shapes[Part.LORA_A][1:]
        norm = change[0]
    else:
        change = shapes[Part.EMBEDDING_A][1:] + shapes[Part.EMBEDDING_B][:1]
        norm = change[1]
    if change != info.shape:
        return f"{wish.module} is {list(change)} in the adapter and {list(info.shape)} in the base"
    if wish.is_dora and shapes[Part.MAGNITUDE] != (norm,):
        return f"{wish.tensors[Part.MAGNITUDE]} is {list(shapes[Part.MAGNITUDE])}, it must be {[norm]}"
    return None


def _token_problem(wish: Wish, target: str, info: TensorInfo) -> str | None:
    rows = wish.adapter.config.tokens_of(wish.module) or ()
    shape = wish.adapter.weights.tensors[wish.whole].shape
    if shape != (len(rows), info.columns):
        return f"{wish.whole} is {list(shape)}, for {len(rows)} tokens it must be {[len(rows), info.columns]}"
    if max(rows) >= info.rows:
        return f"{wish.whole} holds the row of token {max(rows)}, {target} has {info.rows} rows"
    return None


def _replacement_problem(wish: Wish, target: str, base: WeightSource, names: BaseNames) -> str | None:
    """A replacement has the base's shape, but for the vocabulary, which the adapter's training may have resized."""
    shape = wish.adapter.weights.tensors[wish.whole].shape
    vocabulary = target in (names.embedding, HEAD)
    tied_head = names.tied and target == HEAD and names.embedding
    expected = base.tensors[tied_head or target].shape
    if shape == expected or (vocabulary and len(shape) == len(expected) and shape[1:] == expected[1:]):
        return None
    return f"{wish.whole} is {list(shape)} in the adapter and {list(expected)} in the base"


def _check_vocabulary(base: WeightSource, names: BaseNames, origins: Mapping[str, Origin]) -> None:
    """Input and output must know the same tokens, also where an adapter has resized one of them."""
    if names.embedding is None or (HEAD not in origins and (names.tied or HEAD not in base.tensors)):
        return
    ends = [(name, origins.get(name)) for name in (names.embedding, HEAD)]
    sizes = {name: (origin.info if origin else base.tensors[name]).rows for name, origin in ends}
    adapter = next((origin.wish.adapter for _, origin in ends if origin and origin.wish), None)
    if len(set(sizes.values())) > 1 and adapter is not None:
        text = " and ".join(f"{rows} rows in {name}" for name, rows in sizes.items())
        raise AdapterMismatchError(
            f"adapter {adapter.folder} on {base.description} gives a vocabulary of two sizes: {text}",
            hint="a resized vocabulary needs both embed_tokens and lm_head in the adapter: train it with both",
        )


def doubts(adapter: Adapter, base: WeightSource) -> tuple[str, ...]:
    """What fits by its shapes and may be wrong all the same: a base of another name, last layers left out."""
    found = []
    repository = _CACHED.search(base.description)
    trained_on = adapter.config.plain_base_name
    if repository and trained_on and "/" in trained_on and trained_on.lower() != "/".join(repository.groups()).lower():
        found.append(f"{adapter.folder} was trained on {trained_on}, the base here is {'/'.join(repository.groups())}")
    count = base.config.get("num_hidden_layers")
    layers = {int(match[1]) for module in adapter.modules if (match := _LAYER.search(f"{module}."))}
    chosen = adapter.config.raw.get("layers_to_transform") is not None
    if isinstance(count, int) and layers and not chosen and max(layers) + 1 < count:
        found.append(
            f"{adapter.folder} changes layers {min(layers)} to {max(layers)} of {count}: was it trained on "
            f"{base.description}? It names {adapter.trained_on}"
        )
    return tuple(found)
