"""Random adapters made by PEFT itself on a saved base, with every value moved as training would move it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LINEAR = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]


def make_adapter(
    folder: Path, base: Path, *, seed: int = 1, resize: int | None = None, dtype: str = "auto", **config: Any
) -> Path:
    """Save an adapter for the model in `base`. `config` is LoraConfig's; `resize` is a new size of the vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if resize:
        model.resize_token_embeddings(resize)
    adapted: PeftModel = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if name not in trained:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_magnitude" in name:
                parameter.mul_(1 + 0.1 * noise)
            elif "lora_embedding_A" in name or "lora_B" in name:
                parameter.copy_(0.02 * noise)  # zero before training
            elif "lora_" not in name:
                parameter.add_(0.005 * noise)  # whole weights, biases, token rows
    adapted.save_pretrained(folder)
    return folder
