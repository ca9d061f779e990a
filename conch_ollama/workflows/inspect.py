"""What a path holds: a GGUF, a Hugging Face folder, an adapter, a safetensors file, a folder that conch exported.

Reads headers and configuration only, never weights.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadFileError, NotFoundError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import ValueType
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.adapter import open_adapter
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.resolve import resolve_base

_LONGEST = 72


@dataclass(frozen=True)
class Inspection:
    """`facts` are for people, `details` for programs."""

    kind: str
    path: str
    facts: tuple[tuple[str, str], ...]
    tensors: tuple[TensorInfo, ...]
    details: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        tensors = [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in self.tensors]
        return {"kind": self.kind, "path": self.path, **self.details, "tensors": tensors}


def inspect(path: str | Path) -> Inspection:
    """Look at a path, or at what a base's name (hub id, Ollama model) resolves to.

    Raises NotFoundError, BadFileError's kin.
    """
    found = Path(path)
    if not found.exists():
        found = resolve_base(path).path
    if found.is_file():
        return _safetensors(found) if found.suffix == ".safetensors" else _gguf(found)
    for test, look in _FOLDERS:
        if any(found.glob(test)):
            return look(found)
    raise NotFoundError(
        f"{found} holds neither a model nor an adapter",
        hint="a folder with config.json, adapter_config.json or export.json",
    )


def _gguf(path: Path) -> Inspection:
    with GGUFFile(path) as file:
        details = {key: _plain(value.data, value.items) for key, value in file.metadata.items()}
        tensors = tuple(TensorInfo(t.name, t.dtype, t.shape) for t in file.tensors.values())
        facts = [
            ("version", str(file.version)),
            ("size", f"{path.stat().st_size:,} bytes"),
            *_tensor_facts(tensors),
            *((key, _short(value)) for key, value in details.items()),
        ]
        return Inspection("GGUF", str(path), tuple(facts), tensors, {"metadata": details})


def _safetensors(path: Path) -> Inspection:
    with SafetensorsFile(path) as file:
        tensors = tuple(file.tensors.values())
        facts = (*_tensor_facts(tensors), *((key, _short(value)) for key, value in file.metadata.items()))
        return Inspection("safetensors", str(path), facts, tensors, {"metadata": dict(file.metadata)})


def _model_folder(path: Path) -> Inspection:
    source = HuggingFaceFolder(path)
    try:
        tensors = tuple(source.tensors.values())
        config = dict(source.config)
    finally:
        source.close()
    keys = (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "vocab_size",
        "max_position_embeddings",
        "tie_word_embeddings",
    )
    facts = [*_tensor_facts(tensors), *((key, str(config[key])) for key in keys if key in config)]
    files = sorted(file.name for file in path.iterdir() if file.is_file())
    facts.append(("files", ", ".join(files)))
    return Inspection("Hugging Face folder", str(path), tuple(facts), tensors, {"config": config, "files": files})


def _adapter(path: Path) -> Inspection:
    adapter = open_adapter(path)
    try:
        facts = [
            ("folder", str(adapter.folder)),
            ("trained on", str(adapter.base_name)),
            ("sha256", adapter.sha256),
            *_tensor_facts(tuple(adapter.weights.tensors.values())),
            *((key, _short(value)) for key, value in adapter.hyperparameters.items()),
        ]
        training = dict(adapter.training or {})
        facts += [
            (f"training.{key}", _short(training[key]))
            for key in ("template", "dataset", "cutoff_len")
            if key in training
        ]
        if adapter.tokenizer_folder is not None:
            facts.append(("tokenizer", "its own"))
        details = {
            "base": adapter.base_name,
            "sha256": adapter.sha256,
            "config": dict(adapter.hyperparameters),
            "training": training,
        }
        return Inspection("LoRA adapter", str(path), tuple(facts), tuple(adapter.weights.tensors.values()), details)
    finally:
        adapter.close()


def _export_folder(path: Path) -> Inspection:
    try:
        report = json.loads((path / "export.json").read_text(encoding="utf-8"))
        facts = [("name", str(report["name"]))]
        facts += [
            (file["file"], f"{file['type']}, {file['bytes']:,} bytes, sha256 {file['sha256']}")
            for file in report["files"]
        ]
        facts += [("template", str((report.get("template") or {}).get("strategy")))]
        facts += [("base", str(report["base"]["repo"] or report["base"]["name"]))]
        facts += [("adapter", f"{a['name']} sha256 {a['sha256']}") for a in report["adapters"]]
    except (ValueError, KeyError, TypeError) as err:
        raise BadFileError(f"{path / 'export.json'} is damaged: {err!r}", hint="export again") from err
    return Inspection("conch export", str(path), tuple(facts), (), {"export": report})


def _tensor_facts(tensors: Iterable[TensorInfo]) -> list[tuple[str, str]]:
    found = list(tensors)
    types = Counter(tensor.dtype for tensor in found)
    return [
        ("tensors", f"{len(found)} ({', '.join(f'{count} {dtype}' for dtype, count in types.most_common())})"),
        ("parameters", f"{sum(tensor.elements for tensor in found):,}"),
    ]


def _plain(data: Any, items: ValueType | None) -> Any:
    """A metadata value without its bulk: arrays of more than 16 entries as their length."""
    if items is None:
        return data
    return f"[{len(data)} x {items.name.lower()}]" if len(data) > 16 else [_item(value) for value in data]


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _short(value: Any) -> str:
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_FOLDERS = (
    ("export.json", _export_folder),
    ("adapter_config.json", _adapter),
    ("checkpoint-*/adapter_config.json", _adapter),
    ("config.json", _model_folder),
)
