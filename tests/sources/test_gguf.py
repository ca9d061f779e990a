"""A GGUF as a weight source: names and row orders as the caller gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import MissingTensorError, ShapeError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import string
from conch_ollama.sources.gguf import GGUFSource
from conch_ollama.sources.weights import WeightSource

WEIGHT = np.arange(24, dtype=np.float32).reshape(8, 3)
NORM = np.arange(3, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    specs = [GGUFTensorSpec("blk.0.attn_q.weight", 0, (8, 3)), GGUFTensorSpec("norm", 0, (3,))]
    with GGUFWriter(tmp_path / "x.gguf", {"general.architecture": string("llama")}, specs) as out:
        out.write(WEIGHT.view(np.uint8))
        out.write(NORM.view(np.uint8))
    return tmp_path / "x.gguf"


def test_rows_come_in_the_order_that_was_asked_for(path: Path) -> None:
    order = np.array([0, 2, 1, 3, 7, 6, 5, 4])
    names = {"q.weight": ("blk.0.attn_q.weight", order), "norm.weight": ("norm", None)}
    source: WeightSource = GGUFSource(GGUFFile(path), {"model_type": "llama"}, names)
    assert source.description == str(path)
    assert source.config == {"model_type": "llama"}
    assert [(info.name, info.dtype, info.shape) for info in source.tensors.values()] == [
        ("q.weight", "F32", (8, 3)),
        ("norm.weight", "F32", (3,)),
    ]
    for start in range(9):
        for stop in range(start, 9):
            assert np.array_equal(source.read("q.weight", start, stop), WEIGHT[order][start:stop])
    rows = source.read("norm.weight", 1, 3)
    assert rows.tolist() == [1, 2]
    rows += 1
    assert source.read("norm.weight", 0, 3).tolist() == [0, 1, 2]
    with pytest.raises(MissingTensorError, match=r"k\.weight"):
        source.read("k.weight", 0, 1)
    with pytest.raises(ShapeError, match="8 rows, not 7 to 9"):
        source.read("q.weight", 7, 9)
    source.close()


def test_names_and_orders_that_do_not_fit_the_file_are_named(path: Path) -> None:
    with GGUFFile(path) as file:
        with pytest.raises(MissingTensorError, match=r"no tensor output\.weight \(for lm_head\.weight\)"):
            GGUFSource(file, {}, {"lm_head.weight": ("output.weight", None)})
        with pytest.raises(ShapeError, match="8 rows, its order 3"):
            GGUFSource(file, {}, {"q": ("blk.0.attn_q.weight", np.arange(3))})
