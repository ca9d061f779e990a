"""A LoRA adapter as training left it: configuration, open weights, tokenizer, and what is known of the training.

Does not know the base it will be merged on: `merge_plan` finds out whether it fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conch_ollama.errors import NonFiniteError
from conch_ollama.sources.adapter_checks import check_complete
from conch_ollama.sources.adapter_config import CONFIG_FILE, AdapterConfig, read_adapter_config
from conch_ollama.sources.adapter_folder import (
    TRAINING_FILE,
    AdapterFolder,
    find_adapter,
    read_training,
    tokenizer_files,
)
from conch_ollama.sources.adapter_names import Part, parts_by_module
from conch_ollama.sources.checkpoint import TensorFile, open_tensor_file

#: Elements of a tensor looked at in one go.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Adapter:
    """An open adapter. `modules` maps each adapted module, in its own model's names, to the tensors of its parts.

    `training` is LLaMA-Factory's `training_args.yaml`, or what its web page's form or the model card tells of it.
    `notes` are for the user: which checkpoint was taken, which unquantised base belongs to it.
    """

    folder: Path
    config: AdapterConfig
    weights: TensorFile
    weights_path: Path
    modules: Mapping[str, Mapping[Part, str]]
    training: Mapping[str, Any] | None
    tokenizer_files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def base_name(self) -> str | None:
        """The base it was trained on, as training named it: a hub id, or a path on the machine of the training."""
        return self.config.base_name

    @property
    def base_hint(self) -> str | None:
        """Which base to use, where the one it was trained on is a quantised copy."""
        return self.config.base_hint

    @property
    def tokenizer_folder(self) -> Path | None:
        """The folder with the tokenizer or the chat template that it was trained with, if they were kept."""
        return self.tokenizer_files[0].parent if self.tokenizer_files else None

    @property
    def template(self) -> str | None:
        """The name of LLaMA-Factory's template that it was trained with, if it is known."""
        name = (self.training or {}).get("template")
        return name if isinstance(name, str) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that matter: configuration, weights, tokenizer."""
        return (self.config.path, self.weights_path, *self.tokenizer_files)

    @cached_property
    def sha256(self) -> str:
        """sha256 of the file of weights, in hexadecimal."""
        with self.weights_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What of the configuration is worth keeping in a provenance: everything that is set, but no local path."""
        raw = self.config.raw
        kept = {key: value for key, value in sorted(raw.items()) if value not in (None, False, "", [], {})}
        for key in ("inference_mode", "auto_mapping", "base_model_name_or_path", "megatron_core", "runtime_config"):
            kept.pop(key, None)
        return kept

    @property
    def trained_on(self) -> str:
        """For messages: the base it was trained on."""
        return self.base_name or "a base that its configuration doesn't name"

    def check_finite(self) -> None:
        """Raise `NonFiniteError` for the first tensor with a NaN or an infinity."""
        for name, info in self.weights.tensors.items():
            step = max(1, _BLOCK // max(1, info.columns))
            for start in range(0, info.rows if info.shape else 0, step):
                if not np.isfinite(self.weights.read(name, start, min(start + step, info.rows))).all():
                    raise NonFiniteError(
                        f"{self.weights_path}: {name} holds NaN or infinite values",
                        hint="training diverged: use an earlier checkpoint",
                    )

    def close(self) -> None:
        """Close the file of weights."""
        self.weights.close()


def open_adapter(folder: Path) -> Adapter:
    """Open the LoRA adapter at `folder`: a PEFT folder, a LLaMA-Factory run, or one of its `checkpoint-*`.

    Raises `NotFoundError`, `BadConfigError`, `AdapterKindError`, `UnsafePickleError` (a `.bin` without torch),
    `BadFileError` (weights that aren't what the configuration announces) and the errors of a broken safetensors file.
    """
    found = find_adapter(Path(folder))
    config = read_adapter_config(found.folder, converted=found.converted)
    weights = open_tensor_file(found.weights)
    try:
        modules = parts_by_module(weights.tensors, config, str(found.weights))
        check_complete(modules, weights.tensors, config, str(found.weights))
        return Adapter(
            folder=found.folder,
            config=config,
            weights=weights,
            weights_path=found.weights,
            modules=modules,
            training=read_training(found),
            tokenizer_files=tokenizer_files(found),
            notes=_notes(found, config),
        )
    except BaseException:
        weights.close()
        raise


def _notes(found: AdapterFolder, config: AdapterConfig) -> tuple[str, ...]:
    hint = config.base_hint
    return (*found.notes, f"{found.folder}: {hint}") if hint else found.notes


__all__ = ["CONFIG_FILE", "TRAINING_FILE", "Adapter", "TensorFile", "open_adapter"]
