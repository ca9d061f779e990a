"""config.json to metadata: what is read, what warns, what is refused, for published models."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.architectures.table import ARCHITECTURES
from conch_ollama.errors import BadConfigError, UnhandledConfigError
from conch_ollama.formats.metadata import u32
from tests.architectures.configs import LLAMA_3_1_8B, MISTRAL_7B_V01, PUBLISHED


def metadata(model_type: str, **changes: Any) -> dict[str, Any]:
    """Metadata of a published model with some keys changed; `...` takes a key away."""
    config = {key: value for key, value in {**PUBLISHED[model_type], **changes}.items() if value is not ...}
    return dict(ARCHITECTURES[model_type].metadata(config))


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_published_configurations_pass_without_a_warning(model_type: str) -> None:
    assert metadata(model_type)
    assert ARCHITECTURES[model_type].warnings(PUBLISHED[model_type]) == []


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_both_spellings_give_the_same_metadata(model_type: str) -> None:
    config = dict(PUBLISHED[model_type])
    scaling = config.pop("rope_scaling", None) or {"rope_type": "default"}
    newer = {
        **{key: value for key, value in config.items() if key not in ("rope_theta", "torch_dtype")},
        "dtype": config["torch_dtype"],
        "rope_parameters": {**scaling, "rope_theta": config["rope_theta"]},
    }
    architecture = ARCHITECTURES[model_type]
    assert architecture.metadata(newer) == architecture.metadata(PUBLISHED[model_type])
    assert architecture.warnings(newer) == []


def test_rope_parameters_nested_for_full_attention() -> None:
    nested = {"full_attention": {"rope_type": "default", "rope_theta": 5e6}}
    found = metadata("qwen3", rope_theta=..., rope_parameters=nested, layer_types=["full_attention"] * 28)
    assert found["qwen3.rope.freq_base"].data == 5e6


def test_unknown_keys_warn_and_null_ones_do_not() -> None:
    config = {**LLAMA_3_1_8B, "smell": "burger", "taste": None}
    (line,) = ARCHITECTURES["llama"].warnings(config)
    assert "`smell`" in line


def test_dynamic_rope_warns_of_what_llama_cpp_will_not_do() -> None:
    config = {**PUBLISHED["mistral"], "rope_scaling": {"type": "dynamic", "factor": 2.0}}
    found = ARCHITECTURES["mistral"].metadata(config)
    assert not [key for key in found if "scaling" in key]
    (line,) = ARCHITECTURES["mistral"].warnings(config)
    assert "dynamic" in line
    assert "32768" in line


def test_rope_keys_that_mean_nothing_warn() -> None:
    config = {**LLAMA_3_1_8B, "rope_scaling": {"rope_type": "linear", "factor": 2, "beta_slow": 1}}
    (line,) = ARCHITECTURES["llama"].warnings(config)
    assert "rope_scaling.beta_slow" in line


def test_old_llama_has_as_many_key_heads_as_heads() -> None:
    assert metadata("llama", num_key_value_heads=...)["llama.attention.head_count_kv"] == u32(32)


def test_qwen3s_heads_are_128_wide_unless_said() -> None:
    found = metadata("qwen3", head_dim=..., hidden_size=2560)
    assert found["qwen3.attention.key_length"] == found["qwen3.attention.value_length"] == u32(128)


def test_a_window_as_long_as_the_context_is_no_window() -> None:
    assert metadata("mistral", sliding_window=32768)["llama.context_length"] == u32(32768)


def test_fp8_is_left_to_the_source() -> None:
    assert metadata("llama", quantization_config={"quant_method": "fp8"})


REFUSED = [
    ("llama", "hidden_act", "gelu", "an activation other than SiLU"),
    ("llama", "partial_rotary_factor", 0.5, "partly rotated heads"),
    ("llama", "num_local_experts", 8, "mixture of experts"),
    ("qwen3", "num_experts", 128, "mixture of experts"),
    ("llama", "rope_interleaved", True, "interleaved rope"),
    ("llama", "is_causal", False, "attention to later tokens"),
    ("llama", "quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "quantised weights"),
    ("llama", "quantization", {"bits": 4, "group_size": 64}, "MLX's quantised weights"),
    ("qwen2", "use_sliding_window", True, "Qwen's sliding window"),
    ("qwen3", "layer_types", ["full_attention", "sliding_attention"], "layers of several kinds"),
    ("qwen3", "attention_bias", True, "Qwen3 with attention biases"),
]


@pytest.mark.bad_input("a known config key with a value that is not handled")
@pytest.mark.parametrize(("model_type", "key", "value", "what"), REFUSED, ids=[case[3] for case in REFUSED])
def test_unhandled_values_are_named(model_type: str, key: str, value: Any, what: str) -> None:
    with pytest.raises(UnhandledConfigError) as caught:
        metadata(model_type, **{key: value})
    assert caught.value.code == "unhandled-config"
    assert f"`{key}`" in caught.value.message


@pytest.mark.bad_input("a sliding window shorter than the context")
@pytest.mark.parametrize("change", [{}, {"sliding_window": ...}], ids=["given", "transformers' default"])
def test_mistrals_window_is_refused_with_a_way_out(change: dict[str, Any]) -> None:
    with pytest.raises(UnhandledConfigError) as caught:
        metadata("mistral", **{"sliding_window": MISTRAL_7B_V01["sliding_window"], **change})
    assert "`sliding_window` is 4096" in caught.value.message
    assert caught.value.hint is not None
    assert "null" in caught.value.hint


@pytest.mark.bad_input("config.json without a required key")
@pytest.mark.parametrize(
    ("model_type", "key"),
    [
        *(("llama", key) for key in ("hidden_size", "num_attention_heads", "vocab_size", "rms_norm_eps")),
        *(("qwen2", key) for key in ("intermediate_size", "num_hidden_layers", "max_position_embeddings")),
        ("qwen3", "num_key_value_heads"),
    ],
)
def test_a_missing_key_is_named(model_type: str, key: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        metadata(model_type, **{key: ...})
    assert caught.value.code == "bad-config"
    assert f"`{key}` is missing" in caught.value.message


@pytest.mark.bad_input("config.json with a value of a wrong type or an impossible one")
@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "4096"},
        {"hidden_size": 0},
        {"num_hidden_layers": True},
        {"num_attention_heads": 31, "num_key_value_heads": 31},
        {"num_key_value_heads": 5},
        {"head_dim": 127},
        {"rms_norm_eps": -1e-5},
        {"rope_theta": float("nan")},
        {"vocab_size": 128256.5},
        {"tie_word_embeddings": "false"},
        {"attention_bias": "no"},
        {"rope_scaling": ["llama3"]},
    ],
    ids=str,
)
def test_an_impossible_value_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(BadConfigError) as caught:
        metadata("llama", **changes)
    assert caught.value.code == "bad-config"
    assert f"`{next(iter(changes))}`" in caught.value.message
