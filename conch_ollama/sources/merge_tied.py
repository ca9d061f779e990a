"""Input and output embeddings that share one weight: whether adapters make them differ, and what each is then.

PEFT wraps the input and the output module one by one: what it does to one of them leaves the other as it was, but for
`ensure_weight_tying` and `trainable_token_indices`, which follow the tie (PEFT's utils/other.py,
`set_additional_trainable_modules`; tuners/lora/model.py, `_add_targets_to_tie`). PEFT's own merge writes into the
shared storage and so changes both; here each becomes what it was in training.
"""

from __future__ import annotations

from collections.abc import Sequence

from conch_ollama.errors import AdapterKindError
from conch_ollama.sources.merge_wishes import HEAD, Kind, Wish, Wishes, same_content


def separate_tied(wishes: Wishes, embedding: str) -> bool:
    """Settle in `wishes` what becomes of a tied pair; True if the output needs a weight of its own.

    If it does not, `wishes` keeps no entry for the output: it goes on to share the embedding's weight.
    """
    embedding_wishes, head_wishes = wishes.pop(embedding, []), wishes.pop(HEAD, [])
    frozen = [wish for wish in (*embedding_wishes, *head_wishes) if wish.kind is Kind.FROZEN]
    of_embedding = [wish for wish in embedding_wishes if wish.kind is not Kind.FROZEN]
    of_head = [wish for wish in head_wishes if wish.kind is not Kind.FROZEN]
    if _ensured((*of_embedding, *of_head)) and of_embedding:
        own = [wish for wish in embedding_wishes if wish.kind is Kind.FROZEN]
        _put(wishes, embedding, [*(own or frozen[:1]), *of_embedding])
        return False
    if not all(same_content(frozen[0], wish) for wish in frozen[1:]):
        # The frozen weights differ: the pair had been separated before training.
        _put(wishes, embedding, embedding_wishes)
        _put(wishes, HEAD, head_wishes)
        return True
    _put(wishes, embedding, [*frozen[:1], *of_embedding])
    if _stay_together(of_embedding, of_head):
        return False
    _put(wishes, HEAD, [*frozen[:1], *of_head])
    return True


def _stay_together(of_embedding: Sequence[Wish], of_head: Sequence[Wish]) -> bool:
    if not of_head:
        return all(wish.kind is Kind.TOKENS for wish in of_embedding)
    if any(wish.kind is Kind.TOKENS for wish in of_embedding) and any(wish.kind is not Kind.TOKENS for wish in of_head):
        first, second = of_embedding[0].adapter.folder, of_head[0].adapter.folder
        raise AdapterKindError(
            f"{HEAD} shares its weight with the embedding, whose token rows {first} trained; {second} changes it too",
            hint="merge it with the tool that trained it and give the merged folder as the base",
        )
    if [wish.kind for wish in (*of_embedding, *of_head)] == [Kind.TRAINED, Kind.TRAINED]:
        return same_content(of_embedding[0], of_head[0])
    return False


def _ensured(wanted: Sequence[Wish]) -> bool:
    return bool(wanted) and all(wish.adapter.config.ensure_weight_tying for wish in wanted)


def _put(wishes: Wishes, target: str, wanted: Sequence[Wish]) -> None:
    if wanted:
        wishes[target] = list(wanted)
