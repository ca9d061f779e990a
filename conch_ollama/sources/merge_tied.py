"""Input and output embeddings that share one weight: whether adapters make them differ, and what each is then.

PEFT wraps the input and the output module one by one: what it does to one of them leaves the other as it was. Trained
token rows follow the tie, and so does what `ensure_weight_tying` trained: its copy for the output is the same values
(PEFT's utils/other.py, `set_additional_trainable_modules`; tuners/lora/model.py, `_add_targets_to_tie`). PEFT's own
merge writes into the shared storage and so changes both; here each becomes what it was in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import AdapterKindError
from conch_ollama.sources.adapter_names import Part
from conch_ollama.sources.merge_wishes import HEAD, Kind, Wish, Wishes, same_content


def separate_tied(wishes: Wishes, embedding: str) -> bool:
    """Settle in `wishes` what becomes of a tied pair; True if the output needs a weight of its own.

    If it does not, `wishes` keeps no entry for the output: it goes on to share the embedding's weight.
    """
    both = wishes.pop(embedding, []), wishes.pop(HEAD, [])
    frozen = [wish for wanted in both for wish in wanted if wish.kind is Kind.FROZEN]
    of_embedding, of_head = ([wish for wish in wanted if wish.kind is not Kind.FROZEN] for wanted in both)
    if not all(same_content(frozen[0], wish) for wish in frozen[1:]):
        # The frozen weights differ: the pair had been separated before training.
        wishes[embedding], wishes[HEAD] = both
        return True
    if frozen or of_embedding:
        wishes[embedding] = [*frozen[:1], *of_embedding]
    if _stay_together(of_embedding, of_head):
        return False
    wishes[HEAD] = [*frozen[:1], *of_head]
    return True


def _stay_together(of_embedding: Sequence[Wish], of_head: Sequence[Wish]) -> bool:
    if not of_head:
        return all(
            wish.kind is Kind.TOKENS or (wish.kind is Kind.TRAINED and wish.adapter.config.ensure_weight_tying)
            for wish in of_embedding
        )
    if any(wish.kind is Kind.TOKENS for wish in of_embedding) and any(wish.kind is not Kind.TOKENS for wish in of_head):
        first, second = of_embedding[0].adapter.folder, of_head[0].adapter.folder
        raise AdapterKindError(
            f"{HEAD} shares its weight with the embedding, whose token rows {first} trained; {second} changes it too",
            hint="merge it with the tool that trained it and give the merged folder as the base",
        )
    return len(of_embedding) == len(of_head) and all(map(_mirrors, of_embedding, of_head))


def _mirrors(of_embedding: Wish, of_head: Wish) -> bool:
    """Whether the output's change is the embedding's: the same rows, or the same product of transposed factors."""
    if of_embedding.kind is Kind.TRAINED and of_head.kind is Kind.TRAINED:
        return same_content(of_embedding, of_head)
    if (of_embedding.kind, of_head.kind) != (Kind.EMBEDDING, Kind.LOW_RANK) or of_embedding.is_dora or of_head.is_dora:
        return False
    scales = [wish.weight * wish.adapter.config.scale_of(wish.module) for wish in (of_embedding, of_head)]
    return scales[0] == scales[1] and all(
        np.array_equal(_whole(of_embedding, part).T, _whole(of_head, mirrored))
        for part, mirrored in ((Part.EMBEDDING_A, Part.LORA_B), (Part.EMBEDDING_B, Part.LORA_A))
    )


def _whole(wish: Wish, part: Part) -> NDArray[np.float32]:
    return wish.adapter.weights.read(wish.tensors[part])
