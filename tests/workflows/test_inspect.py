"""inspect tells what each kind of path holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conch_ollama.errors import ConchError
from conch_ollama.workflows.inspect import inspect
from conch_ollama.workflows.results import ExportResult


def test_every_kind(exported: ExportResult) -> None:
    folder = exported.folder.parent
    kinds = {
        exported.folder: "conch export",
        exported.gguf: "GGUF",
        folder / "base": "Hugging Face folder",
        folder / "base" / "model.safetensors": "safetensors",
        folder / "adapter": "LoRA adapter",
    }
    for path, kind in kinds.items():
        found = inspect(path)
        assert found.kind == kind
        json.dumps(found.as_dict())
        assert all("\n" not in value for _, value in found.facts)
    assert dict(inspect(folder / "adapter").facts)["r"] == "4"
    assert inspect(exported.gguf).details["metadata"]["general.name"] == "tiny-conch"


def test_long_arrays_are_counted_not_listed(smollm2_gguf: Path) -> None:
    assert dict(inspect(smollm2_gguf).facts)["tokenizer.ggml.tokens"] == "[49152 x string]"


@pytest.mark.bad_input("a folder that holds no model")
def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        inspect(tmp_path)
    assert caught.value.code == "not-found"
    assert str(tmp_path) in caught.value.message
