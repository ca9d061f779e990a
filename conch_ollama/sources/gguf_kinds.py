"""Tells GGUF files that can be a base model from those that can't: parts of a split, projectors, adapters, matrices."""

from __future__ import annotations

import re

from conch_ollama.errors import BadGGUFError, NotSupportedError, UsageError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import ValueType

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z", re.IGNORECASE)


def refuse_other_than_model(file: GGUFFile) -> None:
    """Raises `NotSupportedError`, `UsageError` or `BadGGUFError` for a GGUF that is not one whole model."""
    kind = text_value(file, "general.type") or "model"
    architecture = text_value(file, "general.architecture")
    split = _SPLIT.search(file.path.name)
    parts = file.metadata["split.count"].data if "split.count" in file.metadata else 1
    if split is not None or parts > 1:
        count = int(split.group(2)) if split is not None else parts
        raise NotSupportedError(
            f"{file.path} is one of {count} parts of a model",
            hint="join them with llama.cpp: `llama-gguf-split --merge FIRST_PART OUT.gguf`, then give OUT.gguf",
        )
    if kind == "adapter":
        raise UsageError(
            f"{file.path} is an adapter, not a base model", hint="give the adapter's PEFT folder, with its base first"
        )
    if kind != "model" or architecture in ("clip", "imatrix"):
        raise NotSupportedError(
            f"{file.path} is a {kind if kind != 'model' else architecture} file, not a language model",
            hint="give the GGUF of the model itself",
        )
    if architecture is None:
        raise BadGGUFError(f"{file.path} does not say its architecture (general.architecture)")
    if not file.tensors:
        raise BadGGUFError(f"{file.path} has no tensors", hint="it may be a vocabulary only: give the whole model")


def text_value(file: GGUFFile, key: str) -> str | None:
    """A text of the metadata; None where it is not there or is no text."""
    value = file.metadata.get(key)
    return str(value.data) if value is not None and value.type is ValueType.STRING else None
