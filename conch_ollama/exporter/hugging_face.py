"""The merged Hugging Face folder (`--format hf`): shards, index, configuration and tokenizer files.

Plans shards as transformers writes them (5 GB, `model-00001-of-0000N.safetensors`); the pass streams into them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.outputs import Output
from conch_ollama.errors import UnknownTypeError
from conch_ollama.formats.floats import ITEM_SIZE, bf16_from_float32
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.weights import WeightSource

SHARD_BYTES = 5 * 10**9
#: Files that travel from the tokenizer's folder, besides `*.jinja`.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.json",
)
_STORED = {"BF16": "BF16", "F16": "F16", "F32": "F32", "F64": "F32"}


@dataclass(frozen=True)
class Shard:
    """One safetensors file and its tensors in the order in which they are written."""

    path: Path
    tensors: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class HuggingFacePlan:
    """The folder to write. `shard_of` and `dtypes` are by Hugging Face tensor name."""

    path: Path
    shards: tuple[Shard, ...]
    shard_of: Mapping[str, int]
    dtypes: Mapping[str, str]
    size: int


def plan_hugging_face(source: WeightSource, outputs: Sequence[Output], path: Path) -> HuggingFacePlan:
    """Shards for the tensors that `outputs` consume, in that order; quantised bases are written as bf16."""
    tensors = []
    for output in outputs:
        if output.source is not None:
            info = source.tensors[output.source]
            tensors.append(TensorInfo(info.name, _STORED.get(info.dtype, "BF16"), info.shape))
    groups: list[list[TensorInfo]] = [[]]
    filled = 0
    for tensor in tensors:
        nbytes = tensor.elements * ITEM_SIZE[tensor.dtype]
        if groups[-1] and filled + nbytes > SHARD_BYTES:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += nbytes
    count = len(groups)
    names = (
        ["model.safetensors"] if count == 1 else [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    )
    shards = tuple(Shard(path / name, tuple(group)) for name, group in zip(names, groups, strict=True))
    return HuggingFacePlan(
        path,
        shards,
        {tensor.name: i for i, group in enumerate(groups) for tensor in group},
        {tensor.name: tensor.dtype for tensor in tensors},
        sum(tensor.elements * ITEM_SIZE[tensor.dtype] for tensor in tensors),
    )


def encode_rows(rows: NDArray[np.float32], dtype: str) -> NDArray[np.uint8]:
    """float32 rows as the bytes of a safetensors dtype."""
    if dtype == "BF16":
        return bf16_from_float32(rows).reshape(-1).view(np.uint8)
    if dtype == "F16":
        return rows.astype(np.float16).reshape(-1).view(np.uint8)
    if dtype == "F32":
        return np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    raise UnknownTypeError(f"can't write {dtype} to safetensors")


def write_companions(plan: HuggingFacePlan, source: WeightSource, tokenizer: Path | None, base: Path | None) -> None:
    """Write index, configuration, generation configuration and tokenizer files next to the shards."""
    stored = set(plan.dtypes.values())
    config = dict(source.config)
    config.pop("quantization_config", None)
    key = "dtype" if "dtype" in config else "torch_dtype"
    if len(stored & {"BF16", "F16"}) == 1 or stored == {"F32"}:
        name = (stored & {"BF16", "F16"} or {"F32"}).pop()
        config[key] = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[name]
    _write_json(plan.path / "config.json", config)
    if len(plan.shards) > 1:
        index = {
            "metadata": {"total_size": plan.size},
            "weight_map": {name: plan.shards[shard].path.name for name, shard in sorted(plan.shard_of.items())},
        }
        _write_json(plan.path / "model.safetensors.index.json", index)
    for folder, names in (
        (base, ("generation_config.json", "LICENSE", *TOKENIZER_FILES)),
        (tokenizer, TOKENIZER_FILES),
    ):
        if folder is None or not folder.is_dir():
            continue
        for file in [*(folder / name for name in names), *folder.glob("*.jinja")]:
            if file.is_file():
                shutil.copyfile(file, plan.path / file.name)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
