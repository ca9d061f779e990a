"""Qwen3 (dense): normalised queries and keys, head_dim of its own, no biases."""

from __future__ import annotations

from typing import Any

from conch_ollama.architectures import decoder
from conch_ollama.architectures.decoder import Traits
from conch_ollama.architectures.gguf_keys import PlainMetadata
from conch_ollama.architectures.rules import Architecture, Config, Rule, Shapes
from conch_ollama.formats.metadata import Metadata

TRAITS = Traits(
    name="qwen3",
    rope_types=frozenset({"default", "linear", "dynamic", "yarn"}),
    head_dim=128,
    handled={"attention_bias": (False, None), "use_sliding_window": (False, None)},
    known=frozenset({"sliding_window"}),
)

RULES = (
    Rule("model.embed_tokens.weight", "token_embd.weight", ("vocabulary", "hidden")),
    Rule("model.norm.weight", "output_norm.weight", ("hidden",)),
    Rule("lm_head.weight", "output.weight", ("vocabulary", "hidden"), presence=decoder.output_presence),
    Rule("model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", ("queries", "hidden")),
    Rule("model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", ("keys", "hidden")),
    Rule("model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", ("keys", "hidden")),
    Rule("model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", ("hidden", "queries")),
    Rule("model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", ("head",)),
    Rule("model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", ("head",)),
    Rule("model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", ("hidden",)),
    Rule("model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", ("intermediate", "hidden")),
    Rule("model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", ("hidden", "intermediate")),
)


def metadata(config: Config) -> Metadata:
    """The `qwen3.*` keys."""
    return decoder.metadata(decoder.read(config, TRAITS), "qwen3", head_dim=True)


def config_from(data: PlainMetadata, shapes: Shapes | None = None) -> dict[str, Any]:
    """config.json's keys from a GGUF of this architecture."""
    found = decoder.config_from(data, shapes, "qwen3")
    # transformers' default is 128, whatever the hidden size
    found.setdefault("head_dim", found["hidden_size"] // found["num_attention_heads"])
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **found,
        "attention_bias": False,
        "use_sliding_window": False,
    }


QWEN3 = Architecture(
    name="qwen3",
    model_types=("qwen3",),
    rules=RULES,
    dimensions=lambda config: decoder.dimensions(decoder.read(config, TRAITS)),
    metadata=metadata,
    warnings=lambda config: decoder.warnings(config, TRAITS),
    config=config_from,
    ignored=decoder.IGNORED,
)
