"""Makes small Hugging Face folders for the tests of this room: config.json and safetensors with any tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conch_ollama.formats.floats import bf16_from_float32
from conch_ollama.formats.safetensors import SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo

#: A tensor: the name of its type, and an array of values (or of bits, for 8-bit floats).
Tensor = tuple[str, np.ndarray]
CONFIG: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 8}


def bf16(values: np.ndarray) -> Tensor:
    return "BF16", bf16_from_float32(np.asarray(values, np.float32))


def f32(values: np.ndarray) -> Tensor:
    return "F32", np.asarray(values, np.float32)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    infos = [TensorInfo(name, dtype, value.shape) for name, (dtype, value) in tensors.items()]
    with SafetensorsWriter(path, infos, {"format": "pt"}) as out:
        for _, value in tensors.values():
            out.write(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    return path


def write_folder(folder: Path, shards: Sequence[Mapping[str, Tensor]], config: Mapping[str, Any] | None = None) -> Path:
    """A model's folder; with an index where there is more than one shard."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}), encoding="utf-8")
    if len(shards) == 1:
        write_safetensors(folder / "model.safetensors", shards[0])
        return folder
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / name, shard)
        weight_map.update(dict.fromkeys(shard, name))
    write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: Any) -> None:
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
