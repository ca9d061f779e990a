"""Tiny complete models: random weights, a real byte-level tokenizer trained on the spot, a chat template; and adapters.

Small enough to export and run in a second. Weights come from `tests.architectures.checkpoints`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.architectures.checkpoints import Checkpoint

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_TEXTS = [
    "the magic conch of the burger shop",
    "蟹堡王的神奇海螺",
    "def main():\n    return 42\n",
    "once upon a time",
] * 4


def config(model_type: str = "llama", **changes: Any) -> dict[str, Any]:
    """config.json of a tiny model; `vocab_size` fits the tokenizer of `write_tokenizer`."""
    found = {
        "architectures": [
            {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[model_type]
        ],
        "model_type": model_type,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "vocab_size": 320,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    if model_type == "qwen3":
        found["head_dim"] = 16
    return {**found, **changes}


def write_model(
    folder: Path, model_type: str = "llama", *, shards: int = 1, dtype: str = "BF16", **changes: Any
) -> Path:
    """A Hugging Face folder: weights, configuration, tokenizer, chat template."""
    checkpoint = Checkpoint(f"tiny-{model_type}", config(model_type, **changes), "", dtype, shards)
    checkpoint.write(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path, *, chat_template: str | None = CHATML) -> None:
    """tokenizer.json and tokenizer_config.json of a GPT-2-like byte-level BPE with ChatML's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "add_bos_token": False,
    }
    if chat_template is not None:
        settings["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_adapter(
    folder: Path,
    base_config: Mapping[str, Any],
    *,
    r: int = 4,
    alpha: int = 8,
    seed: int = 0,
    layers: int | None = None,
    **changes: Any,
) -> Path:
    """A PEFT folder: LoRA of the query and down projections, with random A and B. `changes` go to its configuration."""
    rng = np.random.default_rng(seed)
    hidden, ffn = base_config["hidden_size"], base_config["intermediate_size"]
    heads = base_config["num_attention_heads"]
    queries = heads * (base_config.get("head_dim") or hidden // heads)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(layers or base_config["num_hidden_layers"]):
        for module, rows, columns in (("self_attn.q_proj", queries, hidden), ("mlp.down_proj", hidden, ffn)):
            at = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{at}.lora_A.weight"] = rng.normal(0, 0.05, (r, columns)).astype(np.float32)
            tensors[f"{at}.lora_B.weight"] = rng.normal(0, 0.05, (rows, r)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "example/tiny",
        "r": r,
        "lora_alpha": alpha,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """float32 arrays as a safetensors file, written by hand so that it depends on no code under test."""
    header: dict[str, Any] = {}
    offset = 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())
