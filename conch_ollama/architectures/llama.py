"""Llama: Llama 2 and 3.x, SmolLM, DeepSeek-R1-Distill-Llama, and what others publish under this model_type.

llama.cpp rotates neighbours where transformers rotates halves, so query and key rows are interleaved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures import decoder
from conch_ollama.architectures.config_keys import flag, integer, number
from conch_ollama.architectures.decoder import Traits
from conch_ollama.architectures.gguf_keys import PlainMetadata
from conch_ollama.architectures.rope import llama3_factors
from conch_ollama.architectures.rope_metadata import llama3_scaling
from conch_ollama.architectures.row_orders import interleave_halves
from conch_ollama.architectures.rules import Architecture, Config, Generated, Presence, Rule, Shapes
from conch_ollama.formats.metadata import Metadata, u32

TRAITS = Traits(
    name="llama",
    rope_types=frozenset({"default", "linear", "dynamic", "yarn", "llama3"}),
    key_value_heads="derived",
    known=frozenset({"attention_bias", "mlp_bias"}),
)


def query_rows(config: Config, rows: int) -> NDArray[np.int64]:
    """Row order of the query projection and its bias."""
    return interleave_halves(rows, integer(config, "num_attention_heads"))


def key_rows(config: Config, rows: int) -> NDArray[np.int64]:
    """Row order of the key projection and its bias: whole heads of head_dim rows."""
    sizes = decoder.read(config, TRAITS)
    return interleave_halves(rows, rows // sizes.head_dim)


def attention_bias(config: Config) -> Presence:
    """Of the biases of the four attention projections."""
    return "required" if flag(config, "attention_bias") else "absent"


def mlp_bias(config: Config) -> Presence:
    """Of the biases of the three feed-forward projections."""
    return "required" if flag(config, "mlp_bias") else "absent"


RULES = (
    Rule("model.embed_tokens.weight", "token_embd.weight", ("vocabulary", "hidden")),
    Rule("model.norm.weight", "output_norm.weight", ("hidden",)),
    Rule("lm_head.weight", "output.weight", ("vocabulary", "hidden"), presence=decoder.output_presence),
    Rule("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", ("queries", "hidden"), query_rows),
    Rule("model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", ("queries",), query_rows, attention_bias),
    Rule("model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", ("keys", "hidden"), key_rows),
    Rule("model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", ("keys",), key_rows, attention_bias),
    Rule("model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", ("keys", "hidden")),
    Rule("model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", ("keys",), presence=attention_bias),
    Rule("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", ("hidden", "queries")),
    Rule("model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", ("hidden",), presence=attention_bias),
    Rule("model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias", ("intermediate",), presence=mlp_bias),
    Rule("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias", ("intermediate",), presence=mlp_bias),
    Rule("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", ("hidden", "intermediate")),
    Rule("model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias", ("hidden",), presence=mlp_bias),
)


def metadata(config: Config, traits: Traits = TRAITS) -> Metadata:
    """The `llama.*` keys."""
    sizes = decoder.read(config, traits)
    for key in ("attention_bias", "mlp_bias"):
        flag(config, key)
    return {
        **decoder.metadata(sizes, "llama", head_dim=True),
        "llama.vocab_size": u32(sizes.vocabulary),
        "llama.rope.dimension_count": u32(sizes.head_dim),
    }


def config_from(data: PlainMetadata, shapes: Shapes | None = None) -> dict[str, Any]:
    """config.json's keys from a GGUF of this architecture, Mistral's too: the file doesn't say which it was."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **decoder.config_from(data, shapes, "llama"),
        "attention_bias": "blk.0.attn_q.bias" in (shapes or ()),
        "mlp_bias": "blk.0.ffn_gate.bias" in (shapes or ()),
    }


def rope_factors(config: Config) -> NDArray[np.float32] | None:
    """`rope_freqs.weight`, (head_dim/2,), where the rope is Llama 3's."""
    sizes = decoder.read(config, TRAITS)
    return llama3_factors(sizes.rope, sizes.head_dim)


def restore_rope(config: Config, factors: NDArray[np.float32]) -> dict[str, Any] | None:
    """The `rope_scaling` that a GGUF's factors stand for."""
    scaling = llama3_scaling(factors, number(config, "rope_theta"))
    return None if scaling is None else {"rope_scaling": scaling}


LLAMA = Architecture(
    name="llama",
    model_types=("llama",),
    rules=RULES,
    dimensions=lambda config: decoder.dimensions(decoder.read(config, TRAITS)),
    metadata=metadata,
    warnings=lambda config: decoder.warnings(config, TRAITS),
    config=config_from,
    generated=(Generated("rope_freqs.weight", ("frequencies",), rope_factors, restore_rope),),
    ignored=decoder.IGNORED,
)
