"""Whole models, quantised by llama.cpp and by conch: the same types and the same bytes, tensor by tensor.

Needs llama-cpp-python (its `llama_model_quantize` and its ggml serve both sides) and the `gguf` package.
"""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import pytest

from conch_ollama.quantize.kernels import available_kernels
from conch_ollama.quantize.recipes import FILE_TYPES, choose_types
from conch_ollama.quantize.types import GGML
from tests.quantize.models import Model, Tensors, metadata, read, shapes, weights, write
from tests_ggml.golden_types import GOLDEN, golden
from tests_ggml.quantizers import conch_quantize, llama_cpp_quantize

#: Of valid shapes: these files could be run.
COMPLETE = (
    Model("llama-9-layers"),
    Model("llama-tied-8-to-1", tied=True, layers=10, kv_heads=1),
    Model("llama-576-columns", width=576, feed_forward=1536, heads=9, kv_heads=3, head_width=64, layers=4),
    Model("qwen2-biases-4-to-1", "qwen2", layers=9, kv_heads=2),
    Model(
        "qwen2-tied-896-columns", "qwen2", tied=True, width=896, feed_forward=1216, heads=14, head_width=64, layers=3
    ),
    Model("qwen3-tied-no-gqa", "qwen3", tied=True, layers=9, kv_heads=8),
    Model("qwen3-32-layers", "qwen3", layers=32, feed_forward=256, head_width=8, kv_heads=4),
)
#: Cut to few rows, for the rules that need many layers, experts, or widths that no real model has.
CUT = (
    Model("llama-32-layers", layers=32, rows=8),
    Model("llama-70b", layers=80, kv_heads=1, rows=4),
    Model("llama-80-layers-no-gqa", layers=80, kv_heads=8, rows=4),
    Model("qwen2-72b", "qwen2", layers=80, kv_heads=8, rows=4),
    Model("qwen3-80-layers", "qwen3", layers=80, kv_heads=1, rows=4),
    Model("mixtral-8-experts", layers=11, experts=8, rows=3),
    Model("llama-4-experts", layers=11, experts=4, rows=3, tied=True),
    Model("falcon", "falcon", layers=33, kv_heads=1, rows=4, tied=True),
    Model("no-multiple-of-32", width=272, feed_forward=520, layers=5, rows=8),
    Model("no-multiple-of-32-tied", width=272, feed_forward=520, layers=5, rows=8, tied=True),
    Model("single-rows", layers=3, rows=1),
)

_by_id = pytest.mark.parametrize("model", COMPLETE + CUT, ids=lambda model: model.id)
_every_recipe = pytest.mark.parametrize("recipe", FILE_TYPES)


@cache
def _weights(model: Model) -> Tensors:
    return weights(model)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The F32 file of every model."""
    folder = tmp_path_factory.mktemp("sources")
    paths = {model.id: folder / f"{model.id}.gguf" for model in COMPLETE + CUT}
    for model in COMPLETE + CUT:
        write(paths[model.id], metadata(model), _weights(model), {})
    return paths


def _assert_equal(made: dict[str, tuple[int, bytes]], wanted: dict[str, tuple[int, bytes]]) -> None:
    assert {name: type for name, (type, _) in made.items()} == {name: type for name, (type, _) in wanted.items()}
    assert [name for name in made if made[name] != wanted[name]] == []


def test_both_sides_use_the_ggml_of_llama_cpp_python() -> None:
    """Another build may differ in the last bit of a k-quant, so a comparison would prove nothing."""
    path = available_kernels()[0].path  # type: ignore[attr-defined]
    assert "llama_cpp" in path.parts


@_every_recipe
@_by_id
def test_equal_to_llama_cpp(model: Model, recipe: str, sources: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "quantised.gguf"
    llama_cpp_quantize(sources[model.id], target, recipe)
    _assert_equal(conch_quantize(_weights(model), recipe, metadata(model)), read(target))


@pytest.mark.parametrize("recipe", ["f32", "f16", "bf16", "q8_0", "q4_K_M"])
@pytest.mark.parametrize("source_type", ["F16", "BF16"])
def test_equal_from_half_precision(source_type: str, recipe: str, tmp_path: Path) -> None:
    """As converters write them: matrices in half precision, the rest in F32."""
    model = Model("half", layers=4)
    number = gguf.GGMLQuantizationType[source_type]
    stored = {n: gguf.quantize(d, number) if d.ndim > 1 else d for n, d in _weights(model).items()}
    types = {name: int(number) for name, data in stored.items() if data.ndim > 1}
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    write(source, metadata(model), stored, types)
    llama_cpp_quantize(source, target, recipe)
    seen = {n: gguf.dequantize(d, number) if d.ndim > 1 else d for n, d in stored.items()}
    _assert_equal(conch_quantize(seen, recipe, metadata(model)), read(target))


@pytest.mark.parametrize("recipe", ["f16", "q5_1", "q3_K_L", "q6_K"])
@pytest.mark.parametrize("base", ["q8_0", "q4_1", "q4_K_M"])
def test_equal_from_a_quantised_base(base: str, recipe: str, tmp_path: Path) -> None:
    """A GGUF base, dequantised by the gguf package. llama.cpp copies a tensor that has its new type already."""
    model = Model("requantised", layers=4, tied=True)
    first, second, third = (tmp_path / f"{name}.gguf" for name in ("f32", base, "twice"))
    write(first, metadata(model), _weights(model), {})
    llama_cpp_quantize(first, second, base)
    llama_cpp_quantize(second, third, recipe, requantize=True)
    stored, wanted = read(second), read(third)
    seen = {}
    for tensor in gguf.GGUFReader(str(second)).tensors:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        seen[tensor.name] = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
    made = conch_quantize(seen, recipe, metadata(model))
    assert {name: type for name, (type, _) in made.items()} == {name: type for name, (type, _) in wanted.items()}
    changed = [name for name in made if stored[name][0] != wanted[name][0]]
    assert changed
    assert [name for name in changed if made[name] != wanted[name]] == []


def test_the_models_reach_every_type_and_mix() -> None:
    """A guard for the lists above: every written type occurs, and the mixes do mix."""
    types: set[int] = set()
    mixed: dict[str, set[str]] = {}
    for model, recipe in itertools.product(COMPLETE + CUT, FILE_TYPES):
        choices = choose_types(recipe, list(shapes(model).items()), metadata=metadata(model))
        types |= {choice.type for choice in choices}
        for kind in ("attn_v", "attn_output", "ffn_down"):
            if len({choice.wanted for choice in choices if f"{kind}.weight" in choice.name}) > 1:
                mixed.setdefault(recipe, set()).add(kind)
    assert types == set(GGML.values())
    assert mixed == {
        "q3_K_M": {"attn_v", "ffn_down"},
        "q4_K_S": {"attn_v", "ffn_down"},
        "q4_K_M": {"attn_v", "ffn_down"},
        "q5_K_M": {"attn_v", "ffn_down"},
    }


def test_the_golden_types_are_what_llama_cpp_gives_now() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == golden()
