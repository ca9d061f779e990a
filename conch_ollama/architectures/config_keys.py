"""Reading config.json: typed access to its keys, the values that are handled, and the keys that mean nothing here.

Knows the spellings of transformers 4 and 5. Does not know what an architecture makes of a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from conch_ollama.errors import BadConfigError, UnhandledConfigError

Config = Mapping[str, Any]

# fmt: off
#: Keys that change nothing in the weights or in how they are used for inference.
HARMLESS = frozenset({
    "_attn_implementation", "_attn_implementation_autoset", "_name_or_path", "architectures", "attention_dropout",
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cache_implementation", "chunk_size_feed_forward",
    "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "embd_pdrop", "encoder_no_repeat_ngram_size", "eos_token_id",
    "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
    "hidden_dropout", "id2label", "initializer_range", "is_decoder", "is_llama_config", "keys_to_ignore_at_inference",
    "label2id", "length_penalty", "max_length", "max_window_layers", "min_length", "model_type",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences", "output_attentions",
    "output_hidden_states", "output_scores", "pad_token_id", "prefix", "pretraining_tp", "problem_type",
    "remove_invalid_values", "repetition_penalty", "resid_pdrop", "return_dict", "return_dict_in_generate",
    "sep_token_id", "suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder",
    "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version",
    "transformers.js_config", "typical_p", "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache",
})
# fmt: on

#: Keys that other models of these families carry, and the values with which they change nothing.
HANDLED: Mapping[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "add_cross_attention": (False, None),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "is_causal": (True, None),
    "is_encoder_decoder": (False, None),
    "logit_scale": (1, None),
    "n_routed_experts": (0, None),
    "num_experts": (0, None),
    "num_local_experts": (0, None),
    "partial_rotary_factor": (1, None),
    "pruned_heads": ({}, None),
    "qk_layernorm": (False, None),
    "quantization": (None,),  # MLX
    "query_pre_attn_scalar": (None,),
    "rope_interleaved": (False, None),
    "text_config": (None,),
    "vision_config": (None,),
}

# fmt: off
#: Keys that `decoder` reads.
READ = frozenset({
    "head_dim", "hidden_size", "intermediate_size", "layer_types", "max_position_embeddings", "num_attention_heads",
    "num_hidden_layers", "num_key_value_heads", "original_max_position_embeddings", "quantization_config",
    "rms_norm_eps", "rope_parameters", "rope_scaling", "rope_theta", "tie_word_embeddings", "vocab_size",
})
# fmt: on


def present(config: Config, key: str) -> bool:
    """Whether the key has a value: null means "as if it were not there", as transformers reads it."""
    return config.get(key) is not None


def integer(config: Config, key: str, default: int | None = None, *, within: str = "") -> int:
    """A whole number of at least 1. `within` names the dictionary that holds the key, for messages.

    Raises `BadConfigError` where it is missing (and there is no default) or something else.
    """
    value = _value(config, key, default, within)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise BadConfigError(f"config.json: `{within}{key}` must be a whole number of at least 1, but is {value!r}")
    return value


def number(config: Config, key: str, default: float | None = None, *, within: str = "") -> float:
    """A finite number above 0; else `BadConfigError`."""
    value = _value(config, key, default, within)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BadConfigError(f"config.json: `{within}{key}` must be a number above 0, but is {value!r}")
    return float(value)


def flag(config: Config, key: str, default: bool = False) -> bool:
    """true or false; else `BadConfigError`."""
    value = _value(config, key, default, "")
    if not isinstance(value, bool):
        raise BadConfigError(f"config.json: `{key}` must be true or false, but is {value!r}")
    return value


def _value(config: Config, key: str, default: Any, within: str) -> Any:
    if present(config, key):
        return config[key]
    if default is None:
        raise BadConfigError(f"config.json: `{within}{key}` is missing")
    return default


def refuse(key: str, value: Any, *, known: Iterable[Any] = (), hint: str | None = None) -> UnhandledConfigError:
    """The error for a known key with a value that is not handled; `known` are the values that are."""
    listed = ", ".join(repr(item) for item in known if item is not None)
    handled = f" (handled: {listed})" if listed else ""
    return UnhandledConfigError(f"config.json: `{key}` is {_short(value)}, which is not handled{handled}", hint=hint)


def check_values(config: Config, handled: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise `UnhandledConfigError` for the first key of `handled` whose value is none of those listed."""
    for key, values in handled.items():
        if key in config and not any(_same(config[key], value) for value in values):
            raise refuse(key, config[key], known=values)
    layer_types = config.get("layer_types")
    if layer_types is not None and set(layer_types) - {"full_attention"}:
        raise refuse("layer_types", sorted(set(layer_types)), known=("full_attention",))
    quantization = config.get("quantization_config")
    # fp8 is not refused here: a source that reads it has already applied the scales.
    if quantization and (not isinstance(quantization, Mapping) or quantization.get("quant_method") != "fp8"):
        raise refuse("quantization_config", quantization, hint="Use the base before it was quantised.")


def unknown_keys(config: Config, known: Iterable[str]) -> list[str]:
    """Keys that are neither harmless, nor handled, nor read, nor `known`; those without a value are left out."""
    all_known = HARMLESS | READ | HANDLED.keys() | set(known)
    return sorted(key for key in config if key not in all_known and present(config, key))


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return bool(found == wanted)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
