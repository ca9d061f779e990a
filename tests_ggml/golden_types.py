"""Writes tests/quantize/golden_types.json: the types that llama.cpp gives to published models, for the default suite.

Run as `python -m tests_ggml.golden_types` where llama-cpp-python is installed; a test says when it is out of date.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import gguf

from conch_ollama.quantize.recipes import FILE_TYPES
from tests.quantize.models import PUBLISHED, metadata, summary, weights, write
from tests_ggml.quantizers import llama_cpp_quantize

GOLDEN = Path(__file__).parent.parent / "tests" / "quantize" / "golden_types.json"


def golden() -> str:
    """The file's text, made anew: a line for each model and recipe. Types depend on no more than two rows."""
    lines = []
    for model in PUBLISHED:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "source.gguf"), Path(folder, "target.gguf")
            write(source, metadata(model), weights(replace(model, rows=2)), {})
            for recipe in FILE_TYPES:
                llama_cpp_quantize(source, target, recipe)
                types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(str(target)).tensors}
                lines.append(f'"{model.id} {recipe}": {json.dumps(summary(types))}')
                target.unlink()
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="utf-8")
