"""Rope configurations: types, their factors, what is refused, and the way back from a GGUF."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conch_ollama.architectures.rope import default_attention_factor, llama3_factors, read_rope
from conch_ollama.architectures.rope_metadata import llama3_scaling, rope_config, rope_metadata
from conch_ollama.errors import BadConfigError, UnhandledConfigError

TYPES = {"default", "linear", "yarn", "llama3", "dynamic"}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def config(**scaling: Any) -> dict[str, Any]:
    return {"max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": scaling}


def plain(**scaling: Any) -> dict[str, Any]:
    """Metadata with plain values, of a model with that scaling."""
    found = rope_metadata(read_rope(config(**scaling), TYPES), "m")
    return {"m.context_length": 131072, **{key: value.data for key, value in found.items()}}


def test_llama3_factors_by_the_formula_in_double_precision() -> None:
    factors = llama3_factors(read_rope(config(**LLAMA3), TYPES), 128)
    assert factors is not None
    assert factors.dtype == np.float32
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(0, 128, 2) / 128)
    smooth = (8192 / wavelengths - 1) / 3
    expected = np.where(wavelengths < 2048, 1, np.where(wavelengths > 8192, 8, 1 / ((1 - smooth) / 8 + smooth)))
    np.testing.assert_allclose(factors, expected, rtol=2e-6)
    assert (factors == 1).any()
    assert (factors == 8).any()
    assert ((factors > 1) & (factors < 8)).any()


@pytest.mark.parametrize(
    "changes",
    [{}, {"factor": 32.0}, {"original_max_position_embeddings": 64}, {"high_freq_factor": 2.5, "factor": 3.0}],
    ids=str,
)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_llama3_scaling_is_recognised_from_the_tensor(changes: dict[str, Any], head_dim: int) -> None:
    wanted = {**LLAMA3, **changes}
    factors = llama3_factors(read_rope(config(**wanted), TYPES), head_dim)
    assert factors is not None
    assert llama3_scaling(factors, 500000.0) == wanted


def test_meta_s_own_scaling_is_recognised_where_one_factor_lies_between() -> None:
    factors = llama3_factors(read_rope(config(**LLAMA3), TYPES), 8)
    assert factors is not None
    assert np.logical_and(factors > 1, factors < 8).sum() == 1
    assert llama3_scaling(factors, 500000.0) == LLAMA3


def test_other_factors_are_not_taken_for_llama3s() -> None:
    assert llama3_scaling(np.linspace(1, 8, 32, dtype=np.float32), 500000.0) is None
    assert llama3_scaling(np.ones(32, np.float32), 500000.0) is None


def test_other_types_have_no_factors() -> None:
    assert llama3_factors(read_rope(config(**YARN), TYPES), 64) is None


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 2.5},
        {**YARN, "rope_type": "yarn"},
        {**YARN, "rope_type": "yarn", "attention_factor": 1.25, "beta_fast": 32, "beta_slow": 1},
    ],
    ids=["linear", "yarn", "yarn with all"],
)
def test_there_and_back(scaling: dict[str, Any]) -> None:
    found = rope_config(plain(**scaling), "m")
    expected = {key: value for key, value in scaling.items() if key != "type"}
    assert found == {"rope_theta": 500000.0, "rope_scaling": expected}


def test_no_scaling_and_back() -> None:
    assert rope_config(plain(rope_type="default"), "m") == {"rope_theta": 500000.0}
    assert rope_config({}, "m") == {"rope_theta": 10000.0}


def test_scale_linear_of_old_files() -> None:
    found = rope_config({"m.rope.scale_linear": 4.0}, "m")
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    ("extra", "relative"),
    [
        ({}, None),
        ({"attention_factor": default_attention_factor(4.0)}, None),
        ({"attention_factor": 1.0}, 1 / default_attention_factor(4.0)),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1 / default_attention_factor(4.0)),
    ],
    ids=["default", "the default given", "given", "by mscale"],
)
def test_attention_factor_is_written_relative_to_llama_cpps(extra: dict[str, Any], relative: float | None) -> None:
    found = plain(**YARN, **extra).get("m.rope.scaling.attn_factor")
    assert found == (pytest.approx(relative) if relative else None)


def test_attention_factor_comes_back_from_the_relative_one() -> None:
    found = rope_config(plain(**YARN, mscale=1.0, mscale_all_dim=1.0), "m")
    assert found["rope_scaling"]["attention_factor"] == pytest.approx(1.0)


def test_original_context_defaults_to_the_context() -> None:
    assert plain(rope_type="yarn", factor=2.0)["m.rope.scaling.original_context_length"] == 131072


def test_original_context_beside_the_dictionary() -> None:
    rope = read_rope({**config(rope_type="yarn", factor=2.0), "original_max_position_embeddings": 4096}, TYPES)
    assert rope.original_context == 4096


@pytest.mark.bad_input("a rope type that is not known")
def test_unknown_type_is_named_with_the_known() -> None:
    with pytest.raises(UnhandledConfigError) as caught:
        read_rope(config(rope_type="longrope", factor=2.0), TYPES)
    assert caught.value.code == "unhandled-config"
    assert "`rope_type` is 'longrope'" in caught.value.message
    assert "'yarn'" in caught.value.message


@pytest.mark.bad_input("yarn parameters that llama.cpp has no key for")
@pytest.mark.parametrize(
    ("key", "value"),
    [("beta_fast", 16), ("beta_slow", 2.0), ("truncate", False), ("extrapolation_factor", 0.5), ("mrope_section", [8])],
)
def test_yarn_values_that_llama_cpp_would_not_use(key: str, value: Any) -> None:
    with pytest.raises(UnhandledConfigError) as caught:
        read_rope(config(**YARN, **{key: value}), TYPES)
    assert f"`rope_scaling.{key}`" in caught.value.message


@pytest.mark.bad_input("a rope scaling without its numbers")
@pytest.mark.parametrize(
    ("scaling", "key"),
    [
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "yarn", "factor": None}, "factor"),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}, "high_freq_factor"),
        ({**LLAMA3, "low_freq_factor": 4.0}, "high_freq_factor"),
        ({**YARN, "factor": -1}, "factor"),
        ({**YARN, "original_max_position_embeddings": "32768"}, "original_max_position_embeddings"),
    ],
)
def test_missing_or_impossible_numbers(scaling: dict[str, Any], key: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        read_rope(config(**scaling), TYPES)
    assert caught.value.code == "bad-config"
    assert f"rope_scaling.{key}`" in caught.value.message


@pytest.mark.bad_input("GGUF with a rope type that is not handled")
def test_unknown_type_in_a_gguf() -> None:
    with pytest.raises(UnhandledConfigError) as caught:
        rope_config({"m.rope.scaling.type": "longrope"}, "m")
    assert "'longrope'" in caught.value.message
