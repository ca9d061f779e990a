"""The committed golden files are what the reference converter makes today; ours are compared with them in `tests`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.architectures.checkpoints import CHECKPOINTS, Checkpoint
from tests_reference.golden_files import golden_path, regenerate


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_golden_file_is_what_the_converter_writes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    committed = json.loads(golden_path(checkpoint.name).read_text(encoding="utf-8"))
    assert regenerate(checkpoint, tmp_path) == committed


def test_every_golden_file_has_its_checkpoint() -> None:
    names = {path.stem for path in golden_path("x").parent.glob("*.json")}
    assert CHECKPOINTS.keys() <= names
