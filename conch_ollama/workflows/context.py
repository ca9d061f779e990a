"""How long a context to ask for: the model's maximum, the training's cut-off and the machine's memory decide. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_NUM_CTX = 4096
#: Share of the machine's memory that model and key-value cache may take.
_SHARE = 0.75
_SMALLEST = 512


def cache_bytes_per_token(config: Mapping[str, Any]) -> int:
    """Key-value cache of one token in bytes, at f16: layers x 2 x key-value heads x head size x 2."""
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    return int(config["num_hidden_layers"]) * 2 * kv_heads * head_dim * 2


def choose_num_ctx(
    config: Mapping[str, Any], *, cutoff: int | None, model_size: int, memory: int
) -> tuple[int, str | None]:
    """num_ctx = min(model's maximum, max(4096, training cut-off)), halved until it fits memory.

    `cutoff` in tokens, `model_size` and `memory` in bytes. Returns the figure and, where memory lowered it, a sentence
    that says so.
    """
    maximum = int(config.get("max_position_embeddings") or DEFAULT_NUM_CTX)
    wanted = min(maximum, max(DEFAULT_NUM_CTX, cutoff or 0))
    chosen = wanted
    while chosen > _SMALLEST and model_size + chosen * cache_bytes_per_token(config) > memory * _SHARE:
        chosen //= 2
    if chosen == wanted:
        return chosen, None
    return chosen, (
        f"num_ctx {chosen} instead of {wanted}: model and context must fit {memory / 2**30:.1f} GiB of memory "
        "(--num-ctx overrides)"
    )
