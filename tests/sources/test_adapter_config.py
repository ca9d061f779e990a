"""Ranks and scales per module, as PEFT finds them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.sources.adapter_config import AdapterConfig, read_adapter_config
from tests.sources.made_adapters import write_config


def read(folder: Path, **content: Any) -> AdapterConfig:
    write_config(folder, {"peft_type": "LORA", **content})
    return read_adapter_config(folder)


def test_defaults_are_pefts(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert (config.rank, config.alpha, config.bias) == (8, 8, "none")
    assert config.scale_of("model.layers.0.self_attn.q_proj") == 1
    assert not (config.use_rslora or config.use_dora or config.lora_bias or config.ensure_weight_tying)
    assert config.base_name is None


def test_scale(tmp_path: Path) -> None:
    assert read(tmp_path, r=16, lora_alpha=24).scale_of("x") == 1.5
    assert read(tmp_path, r=16, lora_alpha=24, use_rslora=True).scale_of("x") == 24 / math.sqrt(16)
    assert read(tmp_path, r=16, lora_alpha=0.5).scale_of("x") == 0.03125


@pytest.mark.parametrize(
    ("pattern", "module", "matches"),
    [
        ("q_proj", "model.layers.0.self_attn.q_proj", True),
        ("q_proj", "q_proj", True),
        ("proj", "model.layers.0.self_attn.q_proj", False),  # a whole part of the name, or nothing
        ("self_attn.q_proj", "model.layers.0.self_attn.q_proj", True),
        ("self_attn", "model.layers.0.self_attn.q_proj", False),  # to the end
        ("layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj", False),
        (r"layers\.(0|1)\.mlp\..*", "model.layers.1.mlp.up_proj", True),
        (r"layers\.(0|1)\.mlp\..*", "model.layers.2.mlp.up_proj", False),
        (".*", "lm_head", True),
        ("^model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj", True),
        ("^layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj", False),
        ("q_proj|k_proj", "model.layers.0.self_attn.k_proj", True),
        ("q.proj", "model.layers.0.self_attn.q_proj", True),
    ],
)
def test_patterns(pattern: str, module: str, matches: bool, tmp_path: Path) -> None:
    config = read(tmp_path, r=8, rank_pattern={pattern: 4}, alpha_pattern={pattern: 64})
    assert config.rank_of(module) == (4 if matches else 8)
    assert config.scale_of(module) == (16 if matches else 1)


def test_the_first_pattern_that_matches_counts(tmp_path: Path) -> None:
    config = read(tmp_path, r=8, rank_pattern={"layers.0.self_attn.q_proj": 2, "q_proj": 4, ".*_proj": 1})
    assert [config.rank_of(f"model.layers.{layer}.self_attn.q_proj") for layer in (0, 1)] == [2, 4]
    assert config.rank_of("model.layers.0.self_attn.k_proj") == 1


def test_rank_and_alpha_are_matched_apart(tmp_path: Path) -> None:
    config = read(tmp_path, r=8, lora_alpha=8, rank_pattern={"q_proj": 2}, alpha_pattern={"layers.0.*": 32})
    assert config.scale_of("model.layers.0.self_attn.q_proj") == 16
    assert config.scale_of("model.layers.1.self_attn.q_proj") == 4
    assert config.scale_of("model.layers.0.self_attn.k_proj") == 4


def test_token_indices(tmp_path: Path) -> None:
    assert read(tmp_path, trainable_token_indices=[3, 1]).tokens_of("model.embed_tokens") == (3, 1)
    config = read(tmp_path, trainable_token_indices={"embed_tokens": [3], "lm_head": [5]})
    assert config.tokens_of("model.embed_tokens") == (3,)
    assert config.tokens_of("lm_head") == (5,)
    assert config.tokens_of("model.other_embed_tokens") is None


def test_saved_modules_are_whole_parts_of_names(tmp_path: Path) -> None:
    config = read(tmp_path, modules_to_save=["lm_head", "model.embed_tokens", "mlp"])
    assert config.saves("lm_head")
    assert config.saves("model.embed_tokens")
    assert config.saves("model.layers.0.mlp.up_proj")
    assert not config.saves("model.my_lm_head")
    assert not config.saves("model.norm")
