"""Where an export comes from: base, adapters, data, training, precision, versions. Goes into the GGUF and export.json.

Holds no absolute path: a receiver must learn nothing of the sender's disk.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from conch_ollama.exporter.inputs import Inputs
from conch_ollama.quantize.kernels import available_kernels
from conch_ollama.version import __version__

#: Keys of LLaMA-Factory's training_args.yaml worth keeping.
TRAINING_KEYS = (
    "template",
    "dataset",
    "cutoff_len",
    "finetuning_type",
    "lora_rank",
    "lora_alpha",
    "lora_target",
    "learning_rate",
    "num_train_epochs",
    "lr_scheduler_type",
    "seed",
    "quantization_bit",
    "enable_thinking",
    "default_system",
)


@dataclass(frozen=True)
class Provenance:
    """What is known of an export's origin, in plain values."""

    base: Mapping[str, Any]
    adapters: tuple[Mapping[str, Any], ...]
    data_sets: tuple[str, ...]
    license: str | None
    merge_dtype: str
    versions: Mapping[str, str]

    @property
    def training(self) -> Mapping[str, Any]:
        """The training arguments of the first adapter that has some."""
        return next((a["training"] for a in self.adapters if a.get("training")), {})

    def as_dict(self) -> dict[str, Any]:
        """For export.json."""
        return {
            "base": dict(self.base),
            "adapters": [dict(adapter) for adapter in self.adapters],
            "datasets": list(self.data_sets),
            "license": self.license,
            "merge_dtype": self.merge_dtype,
            "versions": dict(self.versions),
        }

    def keys(self) -> dict[str, str]:
        """For the GGUF, below `conch.`: short strings."""
        found = {"version": self.versions["conch_ollama"]}
        if self.adapters:
            found["merge.dtype"] = self.merge_dtype
        for i, adapter in enumerate(self.adapters):
            found[f"adapter.{i}.sha256"] = adapter["sha256"]
            found[f"adapter.{i}.weight"] = repr(adapter["weight"])
            found[f"adapter.{i}.config"] = json.dumps(adapter["config"], ensure_ascii=False, sort_keys=True)
            if adapter.get("training"):
                found[f"adapter.{i}.training"] = json.dumps(adapter["training"], ensure_ascii=False, sort_keys=True)
        return found


def provenance_of(inputs: Inputs, merge_dtype: str) -> Provenance:
    """Collect what the inputs say of themselves."""
    base = inputs.base
    # A local base has no name but the one that the adapter was trained on, which is the better one.
    repo = base.repo or next((a.base_name for a, _ in inputs.adapters if _is_repo(a.base_name)), None)
    adapters = tuple(_adapter(adapter, weight) for adapter, weight in inputs.adapters)
    return Provenance(
        base={
            "name": (repo or base.name).rpartition("/")[2],
            "repo": repo,
            "revision": base.revision,
            "kind": base.kind,
            "file": base.path.name if base.kind == "gguf" else None,
        },
        adapters=adapters,
        data_sets=tuple(_data_sets(adapters)),
        license=base.license,
        merge_dtype=merge_dtype,
        versions=versions(),
    )


def _adapter(adapter: Any, weight: float) -> dict[str, Any]:
    training = (
        {key: adapter.training[key] for key in TRAINING_KEYS if key in adapter.training} if adapter.training else {}
    )
    return {
        "name": adapter.folder.name,
        "sha256": adapter.sha256,
        "weight": weight,
        "base": adapter.base_name if _is_repo(adapter.base_name) else PurePath(adapter.base_name or "").name,
        "config": adapter.hyperparameters,
        "training": training,
    }


def _is_repo(name: str | None) -> bool:
    return bool(name) and name.count("/") == 1 and not name.startswith((".", "/", "~")) if name else False


def _data_sets(adapters: Sequence[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    for adapter in adapters:
        named = adapter["training"].get("dataset")
        names = named if isinstance(named, list) else str(named).split(",") if named else []
        found.extend(name.strip() for name in names if name.strip() not in found)
    return found


def versions() -> dict[str, str]:
    """Versions of conch and of what takes part in an export, and the kernels at hand."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"conch_ollama": __version__, "python": platform.python_version()}
    for package in ("numpy", "gguf", "tokenizers", "xllamacpp", "llama-cpp-python"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    # Builds of ggml differ in the last bits of k-quants: which one quantised belongs to the record.
    found["kernels"] = ", ".join(kernel.name for kernel in available_kernels())
    return found
