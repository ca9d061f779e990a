"""Small random models in F32 GGUF files, written by the `gguf` package: what both quantisers start from.

Tensors and metadata as llama, qwen2, qwen3, Mixtral and Falcon models have them; widths as small as the types allow.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from conch_ollama.formats.metadata import Metadata, Value, ValueType, f32, string, u32

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """Measures of a model. `rows`, if given, cuts every matrix to so many rows: types depend on columns alone."""

    id: str
    architecture: str = "llama"
    layers: int = 9
    width: int = 256
    feed_forward: int = 512
    heads: int = 8
    kv_heads: int = 2
    head_width: int = 32
    vocabulary: int = 96
    tied: bool = False
    experts: int = 0
    rows: int | None = None


def metadata(model: Model) -> Metadata:
    """The keys without which llama.cpp would not open the file."""
    name = model.architecture
    keys: dict[str, Value] = {
        "general.architecture": string(name),
        f"{name}.block_count": u32(model.layers),
        f"{name}.context_length": u32(128),
        f"{name}.embedding_length": u32(model.width),
        f"{name}.feed_forward_length": u32(model.feed_forward),
        f"{name}.attention.head_count": u32(model.heads),
        f"{name}.attention.head_count_kv": u32(model.kv_heads),
        f"{name}.attention.key_length": u32(model.head_width),
        f"{name}.attention.value_length": u32(model.head_width),
        f"{name}.attention.layer_norm_rms_epsilon": f32(1e-5),
        f"{name}.attention.layer_norm_epsilon": f32(1e-5),
        f"{name}.rope.dimension_count": u32(model.head_width),
    }
    if model.experts:
        keys[f"{name}.expert_count"] = u32(model.experts)
        keys[f"{name}.expert_used_count"] = u32(2)
    return keys


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, rows first. Not in llama.cpp's order: an export need not write in it either."""
    found: dict[str, tuple[int, ...]] = {"output_norm.weight": (model.width,)}
    if not model.tied:
        found["output.weight"] = (model.vocabulary, model.width)
    for layer in reversed(range(model.layers)):
        found |= {f"blk.{layer}.{name}": shape for name, shape in _layer_shapes(model).items()}
    found["token_embd.weight"] = (model.vocabulary, model.width)
    if model.rows is not None:
        found = {name: _cut(shape, model.rows) for name, shape in found.items()}
    return found


def _cut(shape: tuple[int, ...], rows: int) -> tuple[int, ...]:
    return shape if len(shape) == 1 else (*shape[:-2], min(rows, shape[-2]), shape[-1])


def _layer_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    width, forward = model.width, model.feed_forward
    query, key = model.heads * model.head_width, model.kv_heads * model.head_width
    found: dict[str, tuple[int, ...]] = {"attn_norm.weight": (width,), "attn_output.weight": (width, query)}
    if model.architecture == "falcon":
        found |= {"attn_qkv.weight": (query + 2 * key, width), "attn_norm.bias": (width,)}
        return found | {"ffn_up.weight": (forward, width), "ffn_down.weight": (width, forward)}
    found |= {"attn_q.weight": (query, width), "attn_k.weight": (key, width), "attn_v.weight": (key, width)}
    if model.architecture == "qwen2":
        found |= {"attn_q.bias": (query,), "attn_k.bias": (key,), "attn_v.bias": (key,)}
    if model.architecture == "qwen3":
        found |= {"attn_q_norm.weight": (model.head_width,), "attn_k_norm.weight": (model.head_width,)}
    found["ffn_norm.weight"] = (width,)
    if not model.experts:
        return found | {
            "ffn_gate.weight": (forward, width),
            "ffn_up.weight": (forward, width),
            "ffn_down.weight": (width, forward),
        }
    return found | {
        "ffn_gate_inp.weight": (model.experts, width),
        "ffn_gate_exps.weight": (model.experts, forward, width),
        "ffn_up_exps.weight": (model.experts, forward, width),
        "ffn_down_exps.weight": (model.experts, width, forward),
    }


def weights(model: Model, seed: int = 0) -> Tensors:
    """Weights spread as trained ones are: normal, of another scale in every tensor, a few outliers."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in shapes(model).items():
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(10 ** random.uniform(-3, 0))
        outliers = random.random(shape) < 0.002
        tensors[name] = np.where(outliers, values * np.float32(20), values)
    return tensors


def write(path: Path, keys: Metadata, tensors: Mapping[str, NDArray[np.generic]], types: Mapping[str, int]) -> None:
    """A GGUF file; `types` gives the GGML type of the tensors whose data are not F32 or F16 arrays."""
    writer = gguf.GGUFWriter(str(path), str(keys["general.architecture"].data))
    for key, value in keys.items():
        if key == "general.architecture":
            continue
        match value.type:
            case ValueType.UINT32:
                writer.add_uint32(key, value.data)
            case ValueType.FLOAT32:
                writer.add_float32(key, value.data)
            case _:
                raise AssertionError(f"{key}: {value.type}")
    for name, data in tensors.items():
        raw = gguf.GGMLQuantizationType(types[name]) if name in types else None
        writer.add_tensor(name, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every tensor's type and bytes."""
    return {t.name: (int(t.tensor_type), t.data.tobytes()) for t in gguf.GGUFReader(str(path)).tensors}


#: Measures of published models (their config.json), whose types are kept in `golden_types.json`.
PUBLISHED = (
    Model("SmolLM2-135M", "llama", 30, 576, 1536, 9, 3, 64, 49152, tied=True),
    Model("Llama-3.1-8B", "llama", 32, 4096, 14336, 32, 8, 128, 128256),
    Model("Llama-3.1-70B", "llama", 80, 8192, 28672, 64, 8, 128, 128256),
    Model("DeepSeek-R1-Distill-Qwen-1.5B", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936),
    Model("Qwen2.5-0.5B", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, tied=True),
    Model("Qwen3-0.6B", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, tied=True),
    Model("Mixtral-8x7B", "llama", 32, 4096, 14336, 32, 8, 128, 32000, experts=8),
    Model("Falcon-40B", "falcon", 60, 8192, 32768, 128, 8, 64, 65024),
)


def summary(types: Mapping[str, str]) -> dict[str, str]:
    """Types by kind of tensor, a run of layers as "4xQ6_K", in the order of the layers."""
    layers: dict[str, dict[int, str]] = {}
    for name, type in types.items():
        parts = name.split(".")
        kind, layer = (".".join(["blk", *parts[2:]]), int(parts[1])) if parts[0] == "blk" else (name, 0)
        layers.setdefault(kind, {})[layer] = type
    return {kind: _runs([found[layer] for layer in sorted(found)]) for kind, found in sorted(layers.items())}


def _runs(types: list[str]) -> str:
    return " ".join(f"{len(list(run))}x{type}" for type, run in itertools.groupby(types))
