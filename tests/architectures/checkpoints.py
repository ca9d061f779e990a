"""Tiny checkpoints with random weights that are the same everywhere: for every architecture, spelling and dtype.

The weights are bits of a counter-based generator, not of a distribution, so no library version changes them. The
reference converter's output for these checkpoints is in tests_reference/golden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LLAMA3_VOCABULARY = 128256
QWEN3_VOCABULARY = 151936


@dataclass(frozen=True)
class Checkpoint:
    """A model in Hugging Face form. `tokenizer` names the real tokenizer that the reference converter gets with it."""

    name: str
    config: Mapping[str, Any]
    tokenizer: str
    dtype: str = "BF16"
    shards: int = 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensors as transformers names and shapes them."""
        c = self.config
        hidden, ffn, vocabulary = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
        heads = c["num_attention_heads"]
        head = c.get("head_dim") or hidden // heads
        queries, keys = heads * head, c.get("num_key_value_heads", heads) * head
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}"
            sizes = {"q_proj": (queries, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden)}
            sizes["o_proj"] = (hidden, queries)
            for name, shape in sizes.items():
                found[f"{at}.self_attn.{name}.weight"] = shape
                if c.get("attention_bias") or (c["model_type"] == "qwen2" and name != "o_proj"):
                    found[f"{at}.self_attn.{name}.bias"] = shape[:1]
            if c["model_type"] == "qwen3":
                found[f"{at}.self_attn.q_norm.weight"] = found[f"{at}.self_attn.k_norm.weight"] = (head,)
            for name, shape in {
                "gate_proj": (ffn, hidden),
                "up_proj": (ffn, hidden),
                "down_proj": (hidden, ffn),
            }.items():
                found[f"{at}.mlp.{name}.weight"] = shape
                if c.get("mlp_bias"):
                    found[f"{at}.mlp.{name}.bias"] = shape[:1]
            found[f"{at}.input_layernorm.weight"] = found[f"{at}.post_attention_layernorm.weight"] = (hidden,)
        found["model.norm.weight"] = (hidden,)
        if not c.get("tie_word_embeddings"):
            found["lm_head.weight"] = (vocabulary, hidden)
        return found

    def tensor(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor in the checkpoint's dtype."""
        count = int(np.prod(self.shapes()[name]))
        seed = int.from_bytes(hashlib.sha256(f"{self.name}/{name}".encode()).digest()[:8], "little")
        raw = np.random.PCG64(seed).random_raw((count + 3) // 4).view(np.uint16)[:count]
        if self.dtype == "F16":  # sign and mantissa at random, exponents 2^-7 to 2^0
            return ((raw & 0x9FFF) | 0x2000).view(np.uint8)
        bits = (raw & 0x83FF) | 0x3C00  # bfloat16, 2^-7 to 2^0
        if self.dtype == "BF16":
            return bits.view(np.uint8)
        return ((bits.astype(np.uint32) << 16) | raw).view(np.uint8)

    def float32(self, name: str) -> NDArray[np.float32]:
        """A tensor's values."""
        raw = self.tensor(name)
        if self.dtype == "BF16":
            flat = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            flat = raw.view(np.float16 if self.dtype == "F16" else np.float32).astype(np.float32)
        return flat.reshape(self.shapes()[name])

    def write(self, folder: Path) -> Path:
        """config.json and the safetensors files, with an index where there are several."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(dict(self.config), indent=2), encoding="utf-8")
        names = sorted(self.shapes())
        parts = [names[number :: self.shards] for number in range(self.shards)]
        files = [f"model-{number + 1:05}-of-{len(parts):05}.safetensors" for number in range(len(parts))]
        if len(parts) == 1:
            files = ["model.safetensors"]
        else:
            weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
            index = json.dumps({"metadata": {}, "weight_map": weight_map})
            (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
        for file, part in zip(files, parts, strict=True):
            self._write_file(folder / file, part)
        return folder

    def _write_file(self, path: Path, names: list[str]) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name in names:
            size = self.tensor(name).nbytes
            header[name] = {
                "dtype": self.dtype,
                "shape": list(self.shapes()[name]),
                "data_offsets": [offset, offset + size],
            }
            offset += size
        encoded = json.dumps(header).encode()
        with path.open("wb") as file:
            file.write(len(encoded).to_bytes(8, "little") + encoded)
            for name in names:
                file.write(self.tensor(name).tobytes())


def _llama(**changes: Any) -> dict[str, Any]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-05,
        "vocab_size": LLAMA3_VOCABULARY,
        "tie_word_embeddings": False,
        "bos_token_id": 128000,
        "eos_token_id": 128009,
        "torch_dtype": "bfloat16",
    }
    return {key: value for key, value in {**config, **changes}.items() if value is not ...}


def _qwen(model_type: str, **changes: Any) -> dict[str, Any]:
    name = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[model_type]
    return _llama(
        **{
            "architectures": [name],
            "model_type": model_type,
            "vocab_size": QWEN3_VOCABULARY,
            "bos_token_id": 151643,
            "eos_token_id": 151645,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": 2,
            **changes,
        }
    )


LLAMA3_SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}

CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        # Llama 2: as many key heads as query heads, no rope_theta
        Checkpoint(
            "llama-2", _llama(num_key_value_heads=..., max_position_embeddings=4096, pretraining_tp=1), "llama3", "F16"
        ),
        Checkpoint(
            "llama-3.1",
            _llama(head_dim=64, rope_theta=500000.0, rope_scaling=LLAMA3_SCALING, max_position_embeddings=131072),
            "llama3_1",
        ),
        # Llama 3.2's sizes in transformers 5's spelling, tied
        Checkpoint(
            "llama-3.2-transformers-5",
            _llama(
                torch_dtype=...,
                dtype="bfloat16",
                head_dim=64,
                tie_word_embeddings=True,
                max_position_embeddings=131072,
                rope_parameters={**LLAMA3_SCALING, "factor": 32.0, "rope_theta": 500000.0},
            ),
            "llama3_1",
        ),
        Checkpoint(
            "smollm",
            _llama(
                hidden_size=48,
                num_attention_heads=3,
                num_key_value_heads=1,
                max_position_embeddings=8192,
                rope_theta=100000,
                rope_interleaved=False,
                rope_scaling=None,
                is_llama_config=True,
                tie_word_embeddings=True,
            ),
            "llama3",
        ),
        Checkpoint(
            "llama-biases-linear",
            _llama(attention_bias=True, mlp_bias=True, rope_scaling={"type": "linear", "factor": 4.0}),
            "llama3",
        ),
        Checkpoint(
            "llama-yarn",
            _llama(
                rope_scaling={"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096},
                max_position_embeddings=65536,
                tie_word_embeddings=True,
            ),
            "llama3",
        ),
        # Mistral Nemo: fewer query rows than the hidden size
        Checkpoint(
            "mistral-nemo",
            _llama(
                architectures=["MistralForCausalLM"],
                model_type="mistral",
                head_dim=6,
                rope_theta=1000000.0,
                sliding_window=None,
                max_position_embeddings=131072,
            ),
            "llama3",
            "F32",
            shards=3,
        ),
        Checkpoint("qwen2-tied", _qwen("qwen2", tie_word_embeddings=True), "qwen3"),
        # DeepSeek-R1-Distill-Qwen
        Checkpoint("qwen2-untied", _qwen("qwen2", rope_theta=10000, max_position_embeddings=131072), "qwen3", "F32"),
        Checkpoint(
            "qwen2-yarn",
            _qwen(
                "qwen2",
                tie_word_embeddings=True,
                rope_scaling={"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
            ),
            "qwen3",
            shards=2,
        ),
        Checkpoint("qwen3", _qwen("qwen3", head_dim=16, attention_bias=False), "qwen3"),
        Checkpoint(
            "qwen3-yarn-attention-factor",
            _qwen(
                "qwen3",
                head_dim=16,
                tie_word_embeddings=True,
                rope_theta=...,
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 1000000.0,
                    "factor": 2.0,
                    "original_max_position_embeddings": 16384,
                    "attention_factor": 1.25,
                    "beta_fast": 32,
                    "beta_slow": 1,
                },
            ),
            "qwen3",
        ),
    )
}

#: (checkpoint, metadata key) -> why ours differs from the reference converter's.
DIFFERENCES = {
    ("qwen3-yarn-attention-factor", "qwen3.rope.scaling.attn_factor"): (
        "The reference converter writes an explicit attention_factor as yarn_attn_factor, which llama.cpp does not "
        "read for this architecture: it would run with its own 0.1 ln(factor) + 1. We write the ratio of the two as "
        "attn_factor, with which llama.cpp multiplies its own, in addition."
    ),
}
