"""Recipes against llama.cpp's own choices (golden_types.json, made by tests_ggml) and its published table of sizes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import gguf
import pytest

from conch_ollama.errors import BadConfigError, TensorError, UnknownTypeError
from conch_ollama.formats.metadata import ValueType, array, string, u32
from conch_ollama.quantize.recipes import ALIASES, FILE_TYPES, bits_per_weight, choose_types, normalise
from conch_ollama.quantize.types import GGML, type_name
from tests.quantize.models import PUBLISHED, Model, metadata, shapes, summary

GOLDEN = json.loads((Path(__file__).parent / "golden_types.json").read_text(encoding="utf-8"))
BY_ID = {model.id: model for model in PUBLISHED}


@pytest.mark.parametrize("recipe", FILE_TYPES)
@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.id)
def test_types_are_llama_cpps(model: Model, recipe: str) -> None:
    choices = choose_types(recipe, list(shapes(model).items()), metadata=metadata(model))
    assert summary({c.name: type_name(c.type) for c in choices}) == GOLDEN[f"{model.id} {recipe}"]


def test_golden_file_holds_nothing_else() -> None:
    assert set(GOLDEN) == {f"{model.id} {recipe}" for model in PUBLISHED for recipe in FILE_TYPES}


# The table "Llama 3.1 8B" of llama.cpp's tools/quantize/README.md.
@pytest.mark.parametrize(
    ("recipe", "bits"),
    [
        *(("q2_K", 3.1593), ("q3_K_S", 3.6429), ("q3_K_M", 3.9960), ("q3_K_L", 4.2979), ("q4_K_S", 4.6672)),
        *(("q4_K_M", 4.8944), ("q5_K_S", 5.5704), ("q5_K_M", 5.7036), ("q6_K", 6.5633), ("q8_0", 8.5008)),
        ("f16", 16.0005),
    ],
)
def test_bits_per_weight_are_the_published_ones(recipe: str, bits: float) -> None:
    model = BY_ID["Llama-3.1-8B"]
    choices = choose_types(recipe, list(shapes(model).items()), metadata=metadata(model))
    assert bits_per_weight(choices, list(shapes(model).values())) == pytest.approx(bits, abs=6e-5)


def test_file_types_are_llama_cpps() -> None:
    spelled = {"f32": "ALL_F32"} | {name: f"MOSTLY_{name.upper()}" for name in FILE_TYPES if name != "f32"}
    assert {name: int(gguf.LlamaFileType[spelled[name]]) for name in FILE_TYPES} == FILE_TYPES


def test_the_order_given_does_not_matter_and_is_kept() -> None:
    model = Model("shuffled", layers=12)
    tensors = list(shapes(model).items())
    wanted = {c.name: c for c in choose_types("q4_K_M", tensors, metadata=metadata(model))}
    random.Random(3).shuffle(tensors)
    again = choose_types("q4_K_M", tensors, metadata=metadata(model))
    assert [c.name for c in again] == [name for name, _ in tensors]
    assert {c.name: c for c in again} == wanted


def test_layers_are_counted_as_numbers_not_as_text() -> None:
    """By text blk.10 would come before blk.2, and other layers would get more bits."""
    choices = choose_types(
        "q3_K_M", list(shapes(Model("m", layers=12)).items()), metadata=metadata(Model("m", layers=12))
    )
    lifted = [c.name for c in choices if "attn_v" in c.name and c.type == GGML["Q5_K"]]
    assert sorted(lifted) == ["blk.0.attn_v.weight", "blk.1.attn_v.weight"]


def test_fall_backs_say_why() -> None:
    model = BY_ID["SmolLM2-135M"]
    choices = {c.name: c for c in choose_types("q4_K_M", list(shapes(model).items()), metadata=metadata(model))}
    query = choices["blk.5.attn_q.weight"]
    assert (query.type, query.wanted) == (GGML["Q5_0"], GGML["Q4_K"])
    assert query.reason == "576 columns are no multiple of 256: Q5_0 instead of Q4_K"
    assert choices["token_embd.weight"].reason == "576 columns are no multiple of 256: Q8_0 instead of Q6_K"
    assert choices["blk.5.ffn_down.weight"].reason is None
    assert choices["blk.5.attn_norm.weight"].reason is None


def test_fall_back_to_half_precision_says_why() -> None:
    model = Model("odd", width=272, layers=2)
    choices = {c.name: c for c in choose_types("q8_0", list(shapes(model).items()), metadata=metadata(model))}
    query = choices["blk.0.attn_q.weight"]
    assert (query.type, query.wanted) == (GGML["F16"], GGML["Q8_0"])
    assert query.reason == "272 columns are no multiple of 32: F16 instead of Q8_0"


@pytest.mark.parametrize(
    ("name", "shape", "type"),
    [
        ("blk.0.attn_q.weight", (2, 256), "Q4_K"),
        ("blk.0.attn_q.weight", (1, 256), "F32"),  # a vector to ggml
        ("blk.0.ffn_up_exps.weight", (8, 1, 256), "Q4_K"),
        ("blk.0.attn_q.bias", (2, 256), "F32"),
        ("blk.0.attn_q_norm.weight", (2, 256), "F32"),
        ("blk.0.ffn_gate_inp.weight", (8, 256), "F32"),
        ("position_embd.weight", (8, 256), "F32"),
        ("output_norm.weight", (256,), "F32"),
    ],
)
def test_what_takes_part(name: str, shape: tuple[int, ...], type: str) -> None:
    (choice,) = choose_types("q4_K_M", [(name, shape)], metadata=metadata(Model("one tensor")))
    assert (choice.name, type_name(choice.type), choice.reason) == (name, type, None)


def test_head_counts_may_be_arrays() -> None:
    """Then the first layer's counts decide, as in llama_hparams::n_gqa."""
    model = Model("arrays", kv_heads=8)
    keys = dict(metadata(model))
    keys["llama.attention.head_count_kv"] = array(ValueType.INT32, [1] * model.layers)
    choices = choose_types("q2_K", list(shapes(model).items()), metadata=keys)
    assert {c.type for c in choices if "attn_v" in c.name} == {GGML["Q4_K"]}


def test_key_value_heads_are_the_heads_where_not_given() -> None:
    model = Model("plain", kv_heads=1)
    keys = {key: value for key, value in metadata(model).items() if not key.endswith("head_count_kv")}
    choices = choose_types("q2_K", list(shapes(model).items()), metadata=keys)
    assert {c.type for c in choices if "attn_v" in c.name} == {GGML["Q3_K"]}


@pytest.mark.parametrize("name", FILE_TYPES)
def test_names_in_any_case(name: str) -> None:
    assert normalise(name) == normalise(name.upper()) == normalise(f" {name.lower()} ") == name


def test_aliases() -> None:
    named = {alias: normalise(alias) for alias in ("q2", "q3", "q4", "q5", "q6", "q8", "Q4", "Q4-K-M", "q4_K")}
    assert named == {
        **{"q2": "q2_K", "q3": "q3_K_M", "q4": "q4_K_M", "q5": "q5_K_M", "q6": "q6_K", "q8": "q8_0"},
        **{"Q4": "q4_K_M", "Q4-K-M": "q4_K_M", "q4_K": "q4_K_M"},
    }
    assert set(ALIASES.values()) <= set(FILE_TYPES)


@pytest.mark.bad_input("a quantisation that conch does not know")
@pytest.mark.parametrize(
    ("name", "nearest"), [("q4_km", "q4_K_M"), ("fp16", "f16"), ("q8_1", "q8_0"), ("iq4", "q4_K_M")]
)
def test_an_unknown_name(name: str, nearest: str) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        choose_types(name, [], metadata={})
    assert caught.value.code == "unknown-type"
    assert repr(name) in caught.value.message
    hint = caught.value.hint or ""
    assert f"did you mean {nearest}?" in hint
    assert all(known in hint for known in FILE_TYPES)


@pytest.mark.bad_input("a quantisation near to nothing")
def test_a_name_near_to_nothing() -> None:
    with pytest.raises(UnknownTypeError) as caught:
        normalise("gptq")
    assert "did you mean" not in (caught.value.hint or "")
    assert "q4_K_M" in (caught.value.hint or "")


@pytest.mark.bad_input("metadata without what a recipe depends on")
@pytest.mark.parametrize("key", ["general.architecture", "llama.block_count", "llama.attention.head_count"])
def test_metadata_without_a_key(key: str) -> None:
    model = Model("incomplete")
    keys = {name: value for name, value in metadata(model).items() if name != key}
    with pytest.raises(BadConfigError) as caught:
        choose_types("q4_K_M", list(shapes(model).items()), metadata=keys)
    assert caught.value.code == "bad-config"
    assert key in caught.value.message


@pytest.mark.bad_input("a tensor of experts outside the layers")
def test_a_tensor_of_experts_outside_the_layers() -> None:
    keys = {"general.architecture": string("llama"), "llama.expert_count": u32(8)}
    keys |= {"llama.block_count": u32(2), "llama.attention.head_count": u32(8)}
    with pytest.raises(TensorError) as caught:
        choose_types("q4_K_M", [("mtp.ffn_down_exps.weight", (8, 4, 256))], metadata=keys)
    assert caught.value.code == "tensor"
    assert "mtp.ffn_down_exps.weight" in caught.value.message
