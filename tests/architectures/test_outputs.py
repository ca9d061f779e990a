"""Rules applied: complete, in the quantiser's order, with errors that name what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.architectures.outputs import Output, outputs, quantiser_order
from conch_ollama.architectures.table import architecture_for
from conch_ollama.errors import MissingTensorError, ShapeError, UnconsumedTensorError, UnhandledConfigError
from conch_ollama.formats.tensors import TensorInfo
from tests.architectures.checkpoints import CHECKPOINTS


def apply(name: str, changes: dict[str, tuple[int, ...] | None] | None = None, **config: Any) -> list[Output]:
    """Outputs of a checkpoint after changes to its tensors (None takes one away) and to its config."""
    checkpoint = CHECKPOINTS[name]
    shapes = {**checkpoint.shapes(), **(changes or {})}
    tensors = {key: TensorInfo(key, "BF16", shape) for key, shape in shapes.items() if shape is not None}
    merged = {**checkpoint.config, **config}
    return outputs(architecture_for(merged), merged, tensors)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_source_is_consumed_once(name: str) -> None:
    found = apply(name)
    sources = [output.source for output in found if output.source]
    assert sorted(sources) == sorted(CHECKPOINTS[name].shapes())
    assert len({output.name for output in found}) == len(found)
    assert all((output.source is None) != (output.values is None) for output in found)


def test_order_is_the_quantisers() -> None:
    names = [output.name for output in apply("llama-3.1", num_hidden_layers=2)]
    assert names[:5] == [
        "output.weight",
        "output_norm.weight",
        "rope_freqs.weight",
        "token_embd.weight",
        "blk.0.attn_k.weight",
    ]
    assert names[-1] == "blk.1.ffn_up.weight"
    # by number, not by text
    assert sorted(["blk.10.a", "blk.9.b", "output.weight"], key=quantiser_order) == [
        "output.weight",
        "blk.9.b",
        "blk.10.a",
    ]


def test_only_query_and_key_rows_of_llama_are_reordered() -> None:
    reordered = {output.name for output in apply("llama-biases-linear") if output.order is not None}
    assert reordered == {
        f"blk.{layer}.attn_{kind}.{part}" for layer in (0, 1) for kind in "qk" for part in ("weight", "bias")
    }
    assert not [output for output in apply("qwen2-tied") if output.order is not None]


def test_rope_factors_that_a_source_brings_are_carried_over() -> None:
    (generated,) = [output for output in apply("llama-3.1") if output.name == "rope_freqs.weight"]
    assert generated.values is not None
    assert generated.shape == generated.values.shape == (32,)
    brought = apply("llama-3.1", {"rope_freqs.weight": (32,)}, rope_scaling=None)
    (carried,) = [output for output in brought if output.name == "rope_freqs.weight"]
    assert carried.source == "rope_freqs.weight"
    assert carried.values is None


def test_a_copy_of_the_tied_output_is_written() -> None:
    shape = CHECKPOINTS["smollm"].shapes()["model.embed_tokens.weight"]
    names = {output.name for output in apply("smollm", {"lm_head.weight": shape})}
    assert names - {output.name for output in apply("smollm")} == {"output.weight"}


def test_rotary_buffers_are_ignored() -> None:
    assert apply("llama-2", {"model.layers.1.self_attn.rotary_emb.inv_freq": (4,)}) is not None


@pytest.mark.bad_input("an output without a source")
def test_missing_tensors_are_named_with_their_outputs() -> None:
    gone = [f"model.layers.{layer}.mlp.{part}.weight" for layer in (0, 1) for part in ("up_proj", "down_proj")]
    with pytest.raises(MissingTensorError) as caught:
        apply("qwen3", dict.fromkeys(gone))
    assert caught.value.code == "missing-tensor"
    assert "model.layers.0.mlp.up_proj.weight (for blk.0.ffn_up.weight)" in caught.value.message
    assert "and 1 more" in caught.value.message


@pytest.mark.bad_input("an untied model without lm_head")
def test_missing_output_says_how_to_tie() -> None:
    with pytest.raises(MissingTensorError) as caught:
        apply("llama-2", {"lm_head.weight": None})
    assert "lm_head.weight (for output.weight)" in caught.value.message
    assert "tie_word_embeddings" in (caught.value.hint or "")


@pytest.mark.bad_input("more layers in the weights than config.json says")
def test_a_layer_too_many() -> None:
    with pytest.raises(UnconsumedTensorError) as caught:
        apply("qwen2-tied", num_hidden_layers=1)
    assert caught.value.code == "unconsumed-tensor"
    assert "model.layers.1." in caught.value.message
    assert "and 9 more" in caught.value.message


@pytest.mark.bad_input("a tensor that nothing consumes")
@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("llama-2", "model.layers.0.self_attn.q_proj.bias"),
        ("llama-2", "score.weight"),
        ("qwen3", "model.layers.0.self_attn.q_proj.bias"),
        ("qwen2-tied", "model.layers.0.self_attn.o_proj.bias"),
        ("qwen2-tied", "model.layers.0.self_attn.q_norm.weight"),
        ("qwen2-tied", "rope_freqs.weight"),
        ("mistral-nemo", "model.layers.0.mlp.up_proj.weight_scale_inv"),
    ],
)
def test_a_foreign_tensor_is_named(name: str, tensor: str) -> None:
    with pytest.raises(UnconsumedTensorError) as caught:
        apply(name, {tensor: (32,)})
    assert tensor in caught.value.message


@pytest.mark.bad_input("a tensor of another shape than config.json says")
@pytest.mark.parametrize(
    ("name", "tensor", "shape", "wanted"),
    [
        ("qwen3", "model.layers.1.self_attn.k_norm.weight", (8,), "16"),
        ("llama-3.1", "model.layers.0.self_attn.k_proj.weight", (64, 32), "128 x 32"),
        ("mistral-nemo", "model.layers.0.self_attn.o_proj.weight", (32, 32), "32 x 24"),
        ("smollm", "model.embed_tokens.weight", (49152, 48), "128256 x 48"),
        ("llama-3.1", "rope_freqs.weight", (64,), "32"),
    ],
)
def test_a_wrong_shape_is_named(name: str, tensor: str, shape: tuple[int, ...], wanted: str) -> None:
    with pytest.raises(ShapeError) as caught:
        apply(name, {tensor: shape})
    assert caught.value.code == "shape"
    assert tensor in caught.value.message
    assert " x ".join(map(str, shape)) in caught.value.message
    assert f"must be {wanted} by" in caught.value.message


def test_an_unhandled_configuration_gives_no_outputs() -> None:
    with pytest.raises(UnhandledConfigError):
        apply("llama-2", hidden_act="gelu")
