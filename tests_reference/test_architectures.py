"""Whole exports of checkpoints with real tokenizers against the reference converter's files; and that those committed
are what it writes today (`tests/architectures/test_golden.py` compares rules and metadata with them without it)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import conch_ollama
from tests.architectures.checkpoints import CHECKPOINTS, DIFFERENCES, Checkpoint
from tests_reference.golden_files import describe, golden_path, regenerate
from tests_reference.oracle import real_tokenizer
from tests_reference.test_tokenizers import CASES as TOKENIZERS

#: Keys of every export that may differ, and why.
GENERAL = {
    "general.name": "ours is the name that was asked for, theirs a title made of the folder's name",
    "general.basename": "theirs is guessed from the folder's name",
    "general.version": "theirs is guessed from the folder's name",
    "general.tags": "ours says what made the file",
    "general.base_model.count": "ours: provenance",
    "general.base_model.0.name": "ours: provenance",
    "conch.version": "ours: provenance",
}
#: Ours alone: what is recorded of the proof of TEMPLATE.
PROOF = "conch.template."


def allowed_differences(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Metadata key -> why it may differ."""
    tokenizer = TOKENIZERS["llama-3"].differences if checkpoint.tokenizer == "llama3" else {}
    own = {key: reason for (name, key), reason in DIFFERENCES.items() if name == checkpoint.name}
    return {**GENERAL, **tokenizer, **own}


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_whole_export_is_the_converters_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = checkpoint.write(tmp_path / checkpoint.name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(real_tokenizer(checkpoint.tokenizer) / file, model / file)
    result = conch_ollama.export(model, types=("f32",), out=tmp_path / "out", check=False)
    ours = describe(next(file.path for file in result.files if file.recipe == "f32"))
    theirs = json.loads(golden_path(checkpoint.name).read_text(encoding="utf-8"))
    keys = ours["metadata"].keys() | theirs["metadata"].keys()
    keys = {key for key in keys if not key.startswith(PROOF)}
    differing = {key for key in keys if ours["metadata"].get(key) != theirs["metadata"].get(key)}

    assert ours["tensors"] == theirs["tensors"]
    assert differing - allowed_differences(checkpoint).keys() == set()


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_golden_file_is_what_the_converter_writes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    committed = json.loads(golden_path(checkpoint.name).read_text(encoding="utf-8"))
    assert regenerate(checkpoint, tmp_path) == committed


def test_every_checkpoint_has_its_golden_file() -> None:
    assert CHECKPOINTS.keys() <= {path.stem for path in golden_path("any").parent.glob("*.json")}
