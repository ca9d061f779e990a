"""SmolLM2-135M-Instruct, a published Q4_1 GGUF of 576 columns, quantised anew by llama.cpp and by conch."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.formats.gguf_reader import GGUFFile
from tests.parts.smollm2 import smollm2_gguf
from tests.quantize.models import read
from tests_ggml.quantizers import conch_quantize, llama_cpp_quantize


@pytest.mark.parametrize("recipe", ["q8_0", "q4_K_M"])
def test_equal_to_llama_cpp(recipe: str, tmp_path: Path) -> None:
    """Metadata and dequantised weights come through conch's own reader. llama.cpp copies what has its type already."""
    source, target = smollm2_gguf(), tmp_path / "quantised.gguf"
    llama_cpp_quantize(source, target, recipe, requantize=True)
    wanted = read(target)
    with GGUFFile(source) as file:
        tensors = {name: file.read_rows(name) for name in file.tensors}
        made = conch_quantize(tensors, recipe, file.metadata)
        already = {name for name, info in file.tensors.items() if info.type == wanted[name][0]}
    assert {name: type for name, (type, _) in made.items()} == {name: type for name, (type, _) in wanted.items()}
    assert {name for name in already if not name.endswith("_norm.weight")} == {"token_embd.weight"}
    assert [name for name in made if name not in already and made[name] != wanted[name]] == []
