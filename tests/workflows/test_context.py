"""num_ctx: the model's maximum, the training's cut-off, the machine's memory."""

from __future__ import annotations

import pytest

from conch_ollama.workflows.context import cache_bytes_per_token, choose_num_ctx

GIB = 2**30
#: DeepSeek-R1-Distill-Qwen-1.5B
CONFIG = {
    "max_position_embeddings": 131072,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "hidden_size": 1536,
}


@pytest.mark.parametrize(
    ("maximum", "cutoff", "expected"),
    [(131072, None, 4096), (131072, 2048, 4096), (131072, 16384, 16384), (2048, 4096, 2048), (2048, None, 2048)],
)
def test_maximum_and_cut_off(maximum: int, cutoff: int | None, expected: int) -> None:
    config = {**CONFIG, "max_position_embeddings": maximum}
    assert choose_num_ctx(config, cutoff=cutoff, model_size=GIB, memory=64 * GIB) == (expected, None)


def test_memory_lowers_it_and_says_so() -> None:
    chosen, reason = choose_num_ctx(CONFIG, cutoff=32768, model_size=GIB, memory=2 * GIB)
    assert chosen == 16384  # 28 KiB a token: 448 MiB of the 512 MiB that are left
    assert reason is not None and "32768" in reason and "--num-ctx" in reason


def test_cache_of_a_token() -> None:
    assert cache_bytes_per_token(CONFIG) == 28 * 2 * 2 * 128 * 2
    assert cache_bytes_per_token({**CONFIG, "head_dim": 64}) == 28 * 2 * 2 * 64 * 2
    assert cache_bytes_per_token({**CONFIG, "num_key_value_heads": None}) == 28 * 2 * 12 * 128 * 2
