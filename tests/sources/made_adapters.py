"""Small bases and adapters in the layout of transformers and PEFT, written with numpy alone.

A base has 2 layers, each with q_proj (square) and down_proj (wider than high), a norm, an embedding and an output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.formats.safetensors import SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo

Array = NDArray[np.float32]
Arrays = dict[str, Array]

PREFIX = "base_model.model."
HIDDEN, WIDE, LAYERS, VOCAB, RANK = 8, 12, 2, 20, 4
Q0 = "model.layers.0.self_attn.q_proj"


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save_tensors(path: Path, arrays: Mapping[str, Array], dtype: str = "F32") -> Path:
    """A safetensors file of these arrays, all of one type: F32, F16 or BF16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with SafetensorsWriter(path, [TensorInfo(name, dtype, array.shape) for name, array in arrays.items()]) as file:
        for array in arrays.values():
            typed = {"F32": array, "F16": array.astype(np.float16)}.get(dtype)
            file.write((bf16_from_float32(array) if typed is None else typed).tobytes())
    return path


def base_arrays(*, tie: bool = False, bias: bool = False, layers: int = LAYERS, hidden: int = HIDDEN) -> Arrays:
    found: Arrays = {"model.embed_tokens.weight": random((VOCAB, hidden), 1)}
    for layer in range(layers):
        found[f"model.layers.{layer}.self_attn.q_proj.weight"] = random((hidden, hidden), 10 + layer)
        if bias:
            found[f"model.layers.{layer}.self_attn.q_proj.bias"] = random((hidden,), 20 + layer)
        found[f"model.layers.{layer}.mlp.down_proj.weight"] = random((hidden, WIDE), 30 + layer)
    found["model.norm.weight"] = random((hidden,), 2)
    if not tie:
        found["lm_head.weight"] = random((VOCAB, hidden), 3)
    return found


def make_base(
    folder: Path,
    arrays: Arrays | None = None,
    *,
    tie: bool = False,
    bias: bool = False,
    layers: int = LAYERS,
    hidden: int = HIDDEN,
    dtype: str = "F32",
    **config: Any,
) -> Path:
    """A base's folder; `arrays` instead of the usual ones."""
    arrays = base_arrays(tie=tie, bias=bias, layers=layers, hidden=hidden) if arrays is None else arrays
    save_tensors(folder / "model.safetensors", arrays, dtype)
    content = {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "vocab_size": VOCAB,
        "tie_word_embeddings": tie,
    }
    (folder / "config.json").write_text(json.dumps({**content, **config}), encoding="utf-8")
    return folder


def lora(module: str, rows: int, columns: int, rank: int = RANK, seed: int = 0) -> Arrays:
    """Both halves for a linear layer."""
    return {
        f"{PREFIX}{module}.lora_A.weight": random((rank, columns), 100 + seed),
        f"{PREFIX}{module}.lora_B.weight": random((rows, rank), 200 + seed),
    }


def lora_arrays(layers: int = LAYERS, hidden: int = HIDDEN, rank: int = RANK, seed: int = 0) -> Arrays:
    """For every linear layer of the base."""
    found: Arrays = {}
    for layer in range(layers):
        found |= lora(f"model.layers.{layer}.self_attn.q_proj", hidden, hidden, rank, seed + layer)
        found |= lora(f"model.layers.{layer}.mlp.down_proj", hidden, WIDE, rank, seed + layer + 50)
    return found


def make_adapter(folder: Path, arrays: Arrays | None = None, **config: Any) -> Path:
    """A PEFT folder with lora_alpha 6 and rank 4; `config` is added to adapter_config.json."""
    save_tensors(folder / "adapter_model.safetensors", lora_arrays() if arrays is None else arrays)
    content = {
        "peft_type": "LORA",
        "base_model_name_or_path": "acme/Tiny-1B",
        "r": RANK,
        "lora_alpha": 6,
        "target_modules": ["q_proj", "down_proj"],
        "init_lora_weights": True,
        "bias": "none",
        "inference_mode": True,
        "megatron_core": "megatron.core",
        "qalora_group_size": 16,
        "rank_pattern": {},
    }
    write_config(folder, {**content, **config})
    return folder


def write_config(folder: Path, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, to see that an error changed nothing."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
