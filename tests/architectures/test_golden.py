"""Our metadata and tensors against the reference converter's, from its committed output (no converter needed)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.architectures.outputs import Output, outputs
from conch_ollama.architectures.table import architecture_for
from conch_ollama.formats.metadata import Value
from conch_ollama.sources.folder import HuggingFaceFolder
from tests.architectures.checkpoints import CHECKPOINTS, DIFFERENCES, Checkpoint

GOLDEN = Path(__file__).parents[2] / "tests_reference" / "golden"


def golden(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return found


def described(value: Value) -> dict[str, Any]:
    plain = float(str(np.float32(value.data))) if value.type.name == "FLOAT32" else value.data
    return {"type": value.type.name, "value": plain}


def rows_of(output: Output, source: HuggingFaceFolder) -> np.ndarray:
    if output.values is not None:
        return output.values
    assert output.source is not None
    values = source.read(output.source, 0, output.shape[0])
    return values if output.order is None else values[output.order]


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_metadata_is_the_reference_converters(checkpoint: Checkpoint) -> None:
    architecture = architecture_for(checkpoint.config)
    theirs = golden(checkpoint.name)["metadata"]
    ours = {key: described(value) for key, value in architecture.metadata(checkpoint.config).items()}
    expected = {key: value for key, value in theirs.items() if key.startswith(f"{architecture.name}.")}
    allowed = {key for name, key in DIFFERENCES if name == checkpoint.name}

    assert theirs["general.architecture"]["value"] == architecture.name
    assert {key: value for key, value in ours.items() if key not in allowed} == expected
    assert allowed <= ours.keys()


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_tensors_are_the_reference_converters(checkpoint: Checkpoint, tmp_path: Path) -> None:
    theirs: Mapping[str, Any] = golden(checkpoint.name)["tensors"]
    source = HuggingFaceFolder(checkpoint.write(tmp_path / "model"))
    ours = {}
    for output in outputs(architecture_for(source.config), source.config, source.tensors):
        rows = np.ascontiguousarray(rows_of(output, source), dtype=np.float32)
        digest = hashlib.sha256(memoryview(rows).cast("B")).hexdigest()
        ours[output.name] = {"type": "F32", "shape": list(output.shape), "sha256": digest}
    source.close()

    assert ours == theirs
