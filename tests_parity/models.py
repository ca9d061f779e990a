"""Tiny models with random weights, saved as Hugging Face folders, for every suite that compares with transformers.

Weights that training would have moved (norms, biases) are moved here too, so that a mistake with them shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CLASSES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}

#: As Llama 3.1 to 3.3 have it, on a model short enough that its frequencies are changed.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def make_model(
    folder: Path,
    model_type: str,
    *,
    tie: bool = False,
    dtype: str = "bfloat16",
    rope_scaling: dict[str, Any] | None = None,
    hidden: int = 256,
    layers: int = 2,
    vocab: int = 512,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int | None = None,
    seed: int = 0,
    max_shard_size: str = "50GB",
    **config: Any,
) -> Path:
    """Save a random model as `config.json` and safetensors in `folder`, which is returned. Weights are of type `dtype`.

    `rope_scaling` goes into `rope_parameters`; further keywords go into the configuration ("attention_bias=True").
    """
    config_class, model_class = CLASSES[model_type]
    generator = torch.Generator().manual_seed(seed)
    rope = {"rope_parameters": {"rope_theta": 10000.0, **rope_scaling}} if rope_scaling else {}
    settings = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "vocab_size": vocab,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate or 2 * hidden,
        "max_position_embeddings": 512,
        "tie_word_embeddings": tie,
        "bos_token_id": None,
        "eos_token_id": None,
        **rope,
        **config,
    }
    if model_type == "qwen3":
        settings.setdefault("head_dim", hidden // heads)
    model: PreTrainedModel = model_class(config_class(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.02 * noise)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)
    return folder
