"""A random model of DeepSeek-R1-Distill-Qwen-1.5B's shape (1.78 B parameters, bf16, 3.55 GB) and an adapter for it.

Random weights cost the same time as trained ones. The tokenizer is Qwen's. Made block by block, without torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.formats.safetensors import SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo
from tests_reference.oracle import real_tokenizer

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "torch_dtype": "bfloat16",
}
_RANK = 16
_BLOCK_ROWS = 4096


def make(folder: Path) -> tuple[Path, Path]:
    """Base and adapter below `folder`; what is there already is used again."""
    base, adapter = folder / "base", folder / "adapter"
    if not (base / "config.json").is_file():
        _write_base(base)
    if not (adapter / "adapter_config.json").is_file():
        _write_adapter(adapter)
    return base, adapter


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, ffn, vocabulary = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    head = hidden // CONFIG["num_attention_heads"]  # type: ignore[operator]
    keys = head * CONFIG["num_key_value_heads"]  # type: ignore[operator]
    yield "model.embed_tokens.weight", (vocabulary, hidden)  # type: ignore[misc]
    for layer in range(28):
        at = f"model.layers.{layer}"
        for name, rows in (("q_proj", hidden), ("k_proj", keys), ("v_proj", keys)):
            yield f"{at}.self_attn.{name}.weight", (rows, hidden)  # type: ignore[misc]
            yield f"{at}.self_attn.{name}.bias", (rows,)  # type: ignore[misc]
        yield f"{at}.self_attn.o_proj.weight", (hidden, hidden)  # type: ignore[misc]
        yield f"{at}.mlp.gate_proj.weight", (ffn, hidden)  # type: ignore[misc]
        yield f"{at}.mlp.up_proj.weight", (ffn, hidden)  # type: ignore[misc]
        yield f"{at}.mlp.down_proj.weight", (hidden, ffn)  # type: ignore[misc]
        yield f"{at}.input_layernorm.weight", (hidden,)  # type: ignore[misc]
        yield f"{at}.post_attention_layernorm.weight", (hidden,)  # type: ignore[misc]
    yield "model.norm.weight", (hidden,)  # type: ignore[misc]
    yield "lm_head.weight", (vocabulary, hidden)  # type: ignore[misc]


def _write_base(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    infos = [TensorInfo(name, "BF16", shape) for name, shape in _shapes()]
    with SafetensorsWriter(folder / "model.safetensors", infos, {"format": "pt"}) as writer:
        for info in infos:
            for start in range(0, info.rows, _BLOCK_ROWS):
                rows = min(_BLOCK_ROWS, info.rows - start)
                block = rng.standard_normal((rows, info.columns), dtype=np.float32) * np.float32(0.02)
                writer.write(bf16_from_float32(block).reshape(-1).view(np.uint8))
    tokenizer = real_tokenizer("qwen3")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2), encoding="utf-8")


def _write_adapter(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in _shapes():
        if name.endswith("_proj.weight"):
            at = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{at}.lora_A.weight"] = rng.normal(0, 0.02, (_RANK, shape[1])).astype(np.float32)
            tensors[f"{at}.lora_B.weight"] = rng.normal(0, 0.02, (shape[0], _RANK)).astype(np.float32)
    infos = [TensorInfo(name, "F32", values.shape) for name, values in tensors.items()]
    with SafetensorsWriter(folder / "adapter_model.safetensors", infos, {"format": "pt"}) as writer:
        for values in tensors.values():
            writer.write(values.reshape(-1).view(np.uint8))
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "r": _RANK,
        "lora_alpha": 2 * _RANK,
        "target_modules": modules,
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
